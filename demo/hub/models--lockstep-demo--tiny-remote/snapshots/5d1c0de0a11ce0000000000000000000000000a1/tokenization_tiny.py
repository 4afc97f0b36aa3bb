"""One token to a character; the characters stand in characters.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizer

SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>")


class TinyTokenizer(PreTrainedTokenizer):
    """A tokenizer in plain Python with a vocabulary file of its own."""

    vocab_files_names = {"vocab_file": "characters.json"}  # noqa: RUF012 (transformers' own form)
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(self, vocab_file: str, **kwargs: Any) -> None:
        self.vocab_file = vocab_file
        characters = json.loads(Path(vocab_file).read_text(encoding="utf-8"))
        # Before super().__init__, which asks for the vocabulary since transformers 4.34.
        self.ids = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *characters])}
        self.tokens = list(self.ids)
        names = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), SPECIAL_TOKENS))
        super().__init__(**{**names, "clean_up_tokenization_spaces": False, **kwargs})

    @property
    def vocab_size(self) -> int:
        return len(self.ids)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.ids)

    def _tokenize(self, text: str, **kwargs: Any) -> list[str]:
        return list(text)

    def _convert_token_to_id(self, token: str) -> int:
        return self.ids.get(token, 0)

    def _convert_id_to_token(self, index: int) -> str:
        return self.tokens[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        prefix = f"{filename_prefix}-" if filename_prefix else ""
        target = Path(save_directory) / f"{prefix}characters.json"
        if target.resolve() != Path(self.vocab_file).resolve():
            shutil.copyfile(self.vocab_file, target)
        return (str(target),)
