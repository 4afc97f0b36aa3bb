"""Trains demo/models/tiny-llava from nothing: python -m demo.train_llava  (transformers 4.37.2, two CPU cores).

Steps, not seconds, so the same number of threads makes the same weights again. Two heads that are thrown away afterwards make
training this short: what stands in each patch, and whether an option is the right one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy
import PIL
import torch
import torch.nn.functional as F
import transformers
from torch import nn

from demo import lessons, score_llava, tiny_llava
from demo.drawing import IGNORED, TARGET_CLASSES
from demo.lessons import Batch

FOLDER = Path(__file__).parent / "models" / "tiny-llava"
STEPS, SEED, THREADS = 1200, 1, 1
TEXT_FIRST_SHARE, TEXT_EVERY = 0.2, 4
LEARNING_RATE, WARM_UP_STEPS, DECAY_SHARE, WEIGHT_DECAY = 2e-3, 100, 0.35, 0.05
HEADS_WEIGHT = 0.5
IMAGE_LESSONS = ((lessons.things_lesson, 20), (lessons.number_lesson, 12), (lessons.bars_lesson, 8))
TEXT_LESSONS = 64


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Of one batch: answers (mean over tokens), heads (sum of means); and the share of answer tokens guessed right."""

    answers: torch.Tensor
    heads: torch.Tensor
    right: float


class Learner:
    """The model with the two heads for training."""

    def __init__(self, model: transformers.LlavaForConditionalGeneration) -> None:
        self.model = model.train()
        self.patch_head = nn.Linear(tiny_llava.WIDTH, sum(TARGET_CLASSES))
        self.option_head = nn.Linear(tiny_llava.WIDTH, 2)

    def look(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Patch embeddings (images x patches x WIDTH) and the patch head's loss."""
        assert batch.pixels is not None
        assert batch.targets is not None
        pixels = batch.pixels.float() / 127.5 - 1
        patches = self.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1][:, 1:]
        features = self.model.multi_modal_projector(patches)
        guesses = self.patch_head(features).split(TARGET_CLASSES, dim=-1)
        wanted = batch.targets.flatten(2).unbind(1)
        losses = [_cross_entropy(guess, want) for guess, want in zip(guesses, wanted, strict=True)]
        return features, torch.stack(losses).sum()

    def answer(self, batch: Batch, features: torch.Tensor | None) -> Losses:
        """Losses of the answers and of the option head, after the image if there is one."""
        embed = self.model.get_input_embeddings()
        count = len(batch.tokens)
        before = [embed(batch.prefix).expand(count, -1, -1)] + ([] if features is None else [features])
        embedded = torch.cat([*before, embed(batch.tokens)], dim=1)
        prefix_length = embedded.shape[1] - batch.tokens.shape[1]
        positions = torch.cat([torch.arange(prefix_length).expand(count, -1), batch.positions], dim=1)
        states = self.model.language_model.model(
            inputs_embeds=embedded,
            attention_mask=_mask(batch.segments, prefix_length),
            position_ids=positions,
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
        before_last, last = states[-2][:, prefix_length:], states[-1][:, prefix_length:]
        asked = batch.labels != IGNORED
        scores, labels = self.model.language_model.lm_head(last[asked]), batch.labels[asked]
        return Losses(
            answers=F.cross_entropy(scores, labels),
            heads=_cross_entropy(self.option_head(before_last), batch.right_option),
            right=float((scores.argmax(-1) == labels).float().mean()),
        )


def _cross_entropy(guess: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Mean over what is not ignored; 0 where all is."""
    if not (want != IGNORED).any():
        return torch.zeros(())
    return F.cross_entropy(guess.flatten(0, 1), want.flatten(), ignore_index=IGNORED)


def _mask(segments: torch.Tensor, prefix_length: int) -> torch.Tensor:
    """1 where a token may look: at the prefix and at its own segment, never ahead. lessons x 1 x length x length."""
    padded = F.pad(segments, (prefix_length, 0))
    length = padded.shape[1]
    same = padded[:, :, None] == padded[:, None, :]
    in_prefix = torch.arange(length) < prefix_length
    return ((same | in_prefix) & torch.ones(length, length).tril().bool())[:, None].float()


def learning_rate(step: int, steps: int) -> float:
    """Warm-up, plateau, straight down to nothing."""
    return LEARNING_RATE * min(1, (step + 1) / WARM_UP_STEPS, (1 - step / steps) / DECAY_SHARE)


def train(steps: int, seed: int) -> tuple[transformers.LlavaForConditionalGeneration, transformers.LlavaProcessor]:
    """Prints one line every 50 steps."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    vocab = tiny_llava.vocabulary()
    learner = Learner(tiny_llava.make_model(len(vocab)))
    matrices = [p for p in learner.model.parameters() if p.dim() > 1]
    decayed = {id(p) for p in matrices}
    others = [p for p in learner.model.parameters() if id(p) not in decayed]
    others += [*learner.patch_head.parameters(), *learner.option_head.parameters()]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    started = time.monotonic()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps)
        report = _one_step(learner, rng, vocab, step, text_first=step < TEXT_FIRST_SHARE * steps)
        nn.utils.clip_grad_norm_(learner.model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if step % 50 == 49:
            print(f"{time.monotonic() - started:6.0f} s  step {step + 1}  {report}", flush=True)
    return learner.model.eval(), tiny_llava.make_processor(vocab)


def _one_step(learner: Learner, rng: random.Random, vocab: dict[str, int], step: int, *, text_first: bool) -> str:
    """Adds up the gradients of a step's batches; returns what they showed, for the log."""
    shown = []
    if text_first or step % TEXT_EVERY == 0:
        losses = learner.answer(lessons.make_batch(rng, lessons.text_lesson, TEXT_LESSONS, vocab), None)
        (losses.answers + HEADS_WEIGHT * losses.heads).backward()
        shown.append(f"text {losses.answers:.3f} right {losses.right:.2f}")
    for lesson, size in IMAGE_LESSONS:
        batch = lessons.make_batch(rng, lesson, size, vocab)
        features, patch_loss = learner.look(batch)
        total = HEADS_WEIGHT * patch_loss
        shown.append(f"{lesson.__name__.removesuffix('_lesson')} patches {patch_loss:.3f}")
        if not text_first:
            losses = learner.answer(batch, features)
            total = total + losses.answers + HEADS_WEIGHT * losses.heads
            shown.append(f"{losses.answers:.3f} options {losses.heads:.3f} right {losses.right:.2f}")
        total.backward()
    return "  ".join(shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--threads", type=int, default=THREADS, help="more change the last bits, and were no faster")
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    started = time.monotonic()
    model, processor = train(arguments.steps, arguments.seed)
    seconds = time.monotonic() - started
    facts: dict[str, object] = {
        "made_by": "python -m demo.train_llava",
        "steps": arguments.steps,
        "seed": arguments.seed,
        "seconds": round(seconds),
        "cpu_seconds": round(time.process_time()),
        "threads": arguments.threads,
        "parameters": sum(p.numel() for p in model.parameters()),
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, transformers, numpy, PIL)},
        },
    }
    tiny_llava.save(model, processor, arguments.output)
    facts["scores"] = score_llava.score(score_llava.ask_all(arguments.output))
    (arguments.output / "training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {arguments.output}: {json.dumps(facts['scores'], indent=1)}")


if __name__ == "__main__":
    main()
