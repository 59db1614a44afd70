"""Token ids of a task's sentences, by the reference's tokenizers, as tensors that a batch picks rows from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from reference import REPOSITORY, inputs

TOKENIZERS = REPOSITORY / "test" / "golden" / "libero-tiny" / "checkpoint"
TEXT_TOKENIZER = TOKENIZERS / "siglip-text-tiny"
FIRST, STOP, PADDING = 1, 2, 1
"""Llama's first and last token; SigLIP's padding."""
POSITIONS = 64
"""Of SigLIP's text tower."""


@lru_cache(maxsize=1)
def tokenizers(folder: Path = TOKENIZERS, text_folder: Path = TEXT_TOKENIZER) -> inputs.Tokenizers:
    return inputs.Tokenizers(folder, text_folder)


class Vocabulary:
    """Sentences by index. The padding that no sentence reaches is cut off, which changes no result of the text tower:
    what is masked weighs nothing (the pruner's mean over 64 tokens counts it, and the twin does)."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self.index = {sentence: index for index, sentence in enumerate(sentences)}
        tokens = tokenizers()
        prompts = [tokens.prompt_ids(inputs.prompt_text(sentence)) for sentence in sentences]
        words = [tokens.siglip_ids(inputs.prompt_text(sentence)) for sentence in sentences]
        if any(prompt[0] != FIRST for prompt in prompts):
            raise ValueError(f"expected every prompt to begin with token {FIRST}")
        self.rows = sorted({row for prompt in prompts for row in prompt} | {FIRST, STOP})
        self.lengths = torch.tensor([len(prompt) - 1 for prompt in prompts])
        longest = int(self.lengths.max())
        place = {row: at for at, row in enumerate(self.rows)}
        # without the first token, padded on the left
        self.prompts = torch.tensor(
            [[0] * (longest - len(prompt) + 1) + [place[row] for row in prompt[1:]] for prompt in prompts]
        )
        self.first, self.stop = place[FIRST], place[STOP]
        long = [sentence for sentence, ids in zip(sentences, words, strict=True) if len(ids) > POSITIONS]
        if long:
            raise SystemExit(
                f"the text tower reads {POSITIONS} tokens; too long: {long[0]!r} and {len(long) - 1} others"
            )
        used = max(sum(word != PADDING for word in sentence) for sentence in words)
        self.words = torch.tensor([sentence[:used] for sentence in words])
