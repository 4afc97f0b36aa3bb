"""Models that bring their own code and answer by `model.chat(tokenizer, image, question, **options)`.

The repository comes from the hub cache or a folder; its modules are copied to HF_MODULES_CACHE, which is on the scratch
disk. `chat` gets the path of the image (a list where there are several, None where there is none) and returns the
answer, or a tuple that begins with it. A `chat` with a parameter `batch_size` is given the registry's.
"""

from __future__ import annotations

import inspect
from typing import Any

from lockstep_runner.adapters import Part, Sample, asked, images_of, settings_of, text_of
from lockstep_runner.adapters.placement import PLACEMENT, placed, placement
from lockstep_runner.contract import ContractError, Model

VERSION = "1"


def load(model: Model) -> RemoteCodeModel:
    """Raises ContractError where running the repository's code was not allowed, or it has no `chat`."""
    import transformers

    settings = settings_of(model, PLACEMENT)
    if not model.trust_remote_code:
        raise ContractError(
            f"model {model.name}: its repository brings its own code; read it, "
            "then set `trust_remote_code: true` in the registry"
        )
    common = {"trust_remote_code": True, "revision": model.revision or "main"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(model.source, **common)
    network = transformers.AutoModelForCausalLM.from_pretrained(model.source, **common, **placement(settings))
    network = placed(network, settings)
    if not callable(getattr(network, "chat", None)):
        name = type(network).__name__
        raise ContractError(f"model {model.name}: its class {name} has no `chat` method; use another adapter")
    return RemoteCodeModel(model, network, tokenizer)


class RemoteCodeModel:
    """A network with a `chat` method and its tokenizer."""

    def __init__(self, model: Model, network: Any, tokenizer: Any) -> None:
        self._model = model
        self._network = network
        self._tokenizer = tokenizer
        parameters = inspect.signature(network.chat).parameters
        open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        offered = {"max_new_tokens": model.max_new_tokens, "do_sample": False}
        self._options = {name: value for name, value in offered.items() if open_ended or name in parameters}
        # only where it is named: an open-ended `chat` would hand it on to generate, which does not know it
        self.batch_size = model.batch_size if "batch_size" in parameters else None
        if self.batch_size is not None:
            self._options["batch_size"] = self.batch_size

    def prompt(self, sample: Sample) -> list[Part]:
        return asked(self._model, sample)

    def answer(self, parts: list[Part], sample: Sample) -> str:
        import torch

        images = images_of(parts)
        shown = images if len(images) > 1 else next(iter(images), None)
        with torch.no_grad():
            said = self._network.chat(self._tokenizer, shown, text_of(parts), **self._options)
        answer: str = said[0] if isinstance(said, tuple) else said
        return answer
