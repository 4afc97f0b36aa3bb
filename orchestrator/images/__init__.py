"""Images: built by `make images` from hash-locked inputs, found by a tag that is the hash of all of them, run by id.

`build` and `build_base_image` make them, `find` and `require` look them up, `prune` removes old ones.
"""

from __future__ import annotations

from orchestrator.images.building import build, build_base_image
from orchestrator.images.info import ImageInfo, by_id, find, image_tags, prune, require

__all__ = ["ImageInfo", "build", "build_base_image", "by_id", "find", "image_tags", "prune", "require"]
