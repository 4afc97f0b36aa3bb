"""Makes the two repositories of the remote-code demo in a real hub cache layout, in demo/hub.

The Python files there are written by hand and stay; this adds weights, configurations and the tokenizer's files. As
with real models (XComposer2, Qwen-VL), the code in the first repository loads the second one by its name.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import torch
import transformers
from safetensors.torch import save_file

HUB = Path(__file__).parent / "hub"
NAMESPACE = "lockstep-demo"
# Stand in for commits: a hub cache names each snapshot's folder by one.
REVISIONS = {
    "tiny-remote": "5d1c0de0a11ce0000000000000000000000000a1",
    "tiny-vision": "5d1c0de0b0b00000000000000000000000000b01",
}
AUTO_MAP = {
    "AutoConfig": "configuration_tiny.TinyRemoteConfig",
    "AutoModelForCausalLM": "modeling_tiny.TinyRemoteForCausalLM",
}
REACTION = 12.0  # as in make_models: default starting weights hardly react to the input


def snapshot(hub: Path, name: str) -> Path:
    """The snapshot's folder; points refs/main at it."""
    repository = hub / f"models--{NAMESPACE}--{name}"
    folder = repository / "snapshots" / REVISIONS[name]
    folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(REVISIONS[name])
    return folder


def make(hub: Path) -> None:
    """Writes both repositories; the Python files must already be there."""
    make_vision(snapshot(hub, "tiny-vision"))
    make_language(snapshot(hub, "tiny-remote"))


def make_vision(folder: Path) -> None:
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        projection_dim=32,
    )
    model = transformers.CLIPVisionModel(config)
    _save(model, folder)
    side = {"height": 32, "width": 32}
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=side).save_pretrained(folder)


def make_language(folder: Path) -> None:
    package = _package(folder)
    characters = [chr(code) for code in range(32, 127)] + ["\n"]
    (folder / "characters.json").write_text(json.dumps(characters, indent=0) + "\n")
    config = package["configuration_tiny"].TinyRemoteConfig(
        vision_name=f"{NAMESPACE}/tiny-vision", vocab_size=4 + len(characters), auto_map=AUTO_MAP
    )
    config.architectures = ["TinyRemoteForCausalLM"]
    layers = package["modeling_tiny"].language_and_bridge(config)
    with torch.no_grad():
        for parameter in layers.parameters():
            if parameter.dim() > 1:
                parameter.mul_(REACTION)
    save_file(
        {name: value.half().contiguous() for name, value in layers.state_dict().items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    config.torch_dtype = "float16"
    config.save_pretrained(folder)
    tokenizer = {
        "tokenizer_class": "TinyTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]},
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=2) + "\n")


def _save(model: transformers.PreTrainedModel, folder: Path) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(REACTION)
    model.half().save_pretrained(folder, safe_serialization=True)


def _package(folder: Path) -> dict[str, ModuleType]:
    """The repository's modules, imported as a package of its own, as transformers does."""
    package = ModuleType("tiny_remote")
    package.__path__ = [str(folder)]
    sys.modules["tiny_remote"] = package
    return {name: importlib.import_module(f"tiny_remote.{name}") for name in ("configuration_tiny", "modeling_tiny")}
