"""A dataset with VLMEvalKit's prompts and without VLMEvalKit, for what that can show but not score here."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from lockstep_runner.cells import texts

# vlmeval/dataset/image_caption.py, where the file has no questions
CAPTION_QUESTION = (
    "Please describe this image in general. Directly provide the description, "
    'do not include prefix like "This image depicts". '
)


class PlainDataset:
    """The four names that adapters read of a VLMEvalKit dataset: data, dataset_name, dump_image, build_prompt."""

    def __init__(self, dataset: str, frame: Any, scratch: Path) -> None:
        self.dataset_name = dataset
        self.img_root = str(scratch)
        if "image" in frame:
            frame = frame[frame["image"].notna()]
            found = {str(name): str(image) for name, image in zip(frame["index"], frame["image"])}
            frame = frame.assign(image=[found.get(str(image), str(image)) for image in frame["image"]])
        self.data = frame

    def dump_image(self, line: Any) -> list[str]:
        if "image" not in line:
            return texts(line["image_path"])
        folder = Path(self.img_root)
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for place, image in enumerate(texts(line["image"])):
            path = folder / f"{line['index']}_{place}.png"
            path.write_bytes(base64.b64decode(image))
            paths.append(str(path))
        return paths

    def build_prompt(self, line: Any) -> list[dict[str, str]]:
        images = [{"type": "image", "value": path} for path in self.dump_image(line)]
        return [*images, {"type": "text", "value": str(line["question"])}]
