"""The tiny LLaVA: transformers' own classes with small numbers, and a tokenizer of the demo's own words."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlamaTokenizerFast,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from demo import questions
from demo.drawing import GRID
from demo.scenes import ALL_THINGS, COLOURS, SHAPES

IMAGE_SIDE, PATCH_SIDE, WIDTH = 8 * GRID, 8, 96
TOKEN_PATTERN = r"\d| ?[A-Za-z]+|\n|<image>|[^\sA-Za-z\d]| "
SPECIAL_TOKENS = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
UNKNOWN, BEGIN, END, PAD, IMAGE = range(len(SPECIAL_TOKENS))


def words_of(text: str) -> list[str]:
    return re.findall(TOKEN_PATTERN, text)


def vocabulary() -> dict[str, int]:
    """Every word that the demo's wording can hold, with its token id."""
    texts = ["0123456789", "Yes", "No", *questions.LETTERS, *COLOURS, *SHAPES, " yes no"]
    asked = [questions.CAPTION_QUESTION, questions.short_answer(questions.NUMBER_QUESTION)]
    for thing in ALL_THINGS:
        asked += [questions.yes_no(thing), *(form.format(thing.colour) for form in questions.BAR_QUESTIONS)]
        asked += [questions.multiple_choice(q.text, q.pool[:4]) for q in questions.attribute_questions([thing])]
        asked += [questions.multiple_choice(questions.which_option(word), [word] * 4) for word in thing]
    texts += [questions.chat_prompt(question) for question in asked]
    texts += [" " + questions.caption([thing, other, thing]) for thing in ALL_THINGS for other in ALL_THINGS]
    words = sorted({word for text in texts for word in words_of(text)} - set(SPECIAL_TOKENS))
    return {word: number for number, word in enumerate((*SPECIAL_TOKENS, *words))}


def make_processor(vocab: dict[str, int]) -> LlavaProcessor:
    """Image processor to IMAGE_SIDE pixels, tokenizer by words and single digits."""
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(TOKEN_PATTERN), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(f"{folder}/tokenizer.json")
        fast = LlamaTokenizerFast(
            tokenizer_file=f"{folder}/tokenizer.json",
            unk_token="<unk>",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            model_max_length=512,
            padding_side="left",
            model_input_names=["input_ids", "attention_mask"],
            clean_up_tokenization_spaces=False,
        )
    side = {"height": IMAGE_SIDE, "width": IMAGE_SIDE}
    images = CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIDE}, crop_size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return LlavaProcessor(images, fast)


def make_model(vocab_size: int) -> LlavaForConditionalGeneration:
    """Random weights, with starting sizes that let so small a model learn (found by trying)."""
    token_ids = {"bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": PAD}
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=IMAGE_SIDE,
        patch_size=PATCH_SIDE,
        projection_dim=WIDTH,
    )
    text = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.06,
        rms_norm_eps=1e-5,
        **token_ids,
    )
    config = LlavaConfig(
        vision,
        text,
        image_token_index=IMAGE,
        vocab_size=vocab_size,
        pad_token_id=PAD,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
    )
    model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        model.vision_tower.vision_model.embeddings.position_embedding.weight.normal_(0, 0.3)
        for layer in (model.multi_modal_projector.linear_1, model.multi_modal_projector.linear_2):
            torch.nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
            layer.bias.zero_()
    model.generation_config = GenerationConfig(**token_ids, max_new_tokens=16)
    return model


def save(model: LlavaForConditionalGeneration, processor: LlavaProcessor, folder: Path) -> None:
    """Half-precision safetensors and all that `from_pretrained` reads."""
    model.half().save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
