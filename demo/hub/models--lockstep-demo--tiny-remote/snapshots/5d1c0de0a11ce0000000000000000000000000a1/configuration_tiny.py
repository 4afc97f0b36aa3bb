"""Configuration of the remote-code demo model."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig, PretrainedConfig


class TinyRemoteConfig(PretrainedConfig):
    """`vision_name` is the repository of the vision tower, loaded by name when the model is made."""

    model_type = "tiny_remote"

    def __init__(
        self,
        vision_name: str = "lockstep-demo/tiny-vision",
        vision_width: int = 32,
        vocab_size: int = 100,
        hidden_size: int = 32,
        num_hidden_layers: int = 2,
        **kwargs: Any,
    ) -> None:
        self.vision_name = vision_name
        self.vision_width = vision_width
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        super().__init__(**{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3, **kwargs})

    def language_config(self) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=2 * self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=4,
            max_position_embeddings=1024,
            bos_token_id=self.bos_token_id,
            eos_token_id=self.eos_token_id,
            pad_token_id=self.pad_token_id,
        )
