"""A vision-language model as model repositories ship them: own classes, and a second repository loaded by name.

The same code runs under transformers 4.33 to 4.42. Its weights are random: it answers with printable nonsense that
depends on the image and on the question.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import nn
from transformers import (
    CLIPImageProcessor,
    CLIPVisionModel,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizer,
)

from .configuration_tiny import TinyRemoteConfig


def language_and_bridge(config: TinyRemoteConfig) -> nn.ModuleDict:
    """The part of the model whose weights are in this repository."""
    bridge = nn.Linear(config.vision_width, config.hidden_size)
    return nn.ModuleDict({"language": LlamaForCausalLM(config.language_config()), "bridge": bridge})


class TinyRemoteForCausalLM(PreTrainedModel):
    """CLIP vision tower from another repository, a linear bridge, a Llama."""

    config_class = TinyRemoteConfig
    _keys_to_ignore_on_load_missing = [r"^vision\."]  # noqa: RUF012 (transformers' own form)

    def __init__(self, config: TinyRemoteConfig) -> None:
        super().__init__(config)
        layers = language_and_bridge(config)
        self.language = layers["language"]
        self.bridge = layers["bridge"]
        self.vision = CLIPVisionModel.from_pretrained(config.vision_name)
        self.image_processor = CLIPImageProcessor.from_pretrained(config.vision_name)

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: transformers calls this for weights that this checkpoint lacks, which are the vision tower's."""

    def look(self, image_path: str) -> torch.Tensor:
        """The image as embeddings, 1 x patches x hidden size."""
        with Image.open(image_path) as image:
            pixels = self.image_processor(images=image.convert("RGB"), return_tensors="pt")["pixel_values"]
        states = self.vision(pixels.to(self.vision.device, self.vision.dtype)).last_hidden_state
        return self.bridge(states[:, 1:].to(self.bridge.weight.dtype))

    @torch.no_grad()
    def chat(
        self, tokenizer: PreTrainedTokenizer, image_path: str | None, question: str, **generate_kwargs: Any
    ) -> str:
        """The answer to a question about an image (or about none); `generate_kwargs` go to `generate`."""
        embed = self.language.get_input_embeddings()
        tokens = tokenizer(f"Question: {question} Answer:", return_tensors="pt")["input_ids"].to(self.device)
        parts = [embed(tokens)] if image_path is None else [self.look(image_path), embed(tokens)]
        embedded = torch.cat(parts, dim=1)
        never = tokenizer.all_special_ids  # an answer is always text
        output = self.language.generate(
            inputs_embeds=embedded,
            attention_mask=torch.ones(embedded.shape[:2], dtype=torch.long, device=self.device),
            **{"max_new_tokens": 12, "do_sample": False, "suppress_tokens": never, **generate_kwargs},
        )
        return str(tokenizer.decode(output[0], skip_special_tokens=True))
