"""What a number format does to a policy, before anything is built for it: roundedPrecision.py FOLDER CHECKPOINT

The language model's linear layers compute in float32 from rounded operands, as an engine would round them
(docs/precision.md): weights by output channel, activations by token, `nvfp4` also by blocks of 16. Prints the
figures of `compare-precision` over the observations of FOLDER/observations.json as one line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from inputs import NumpyImages, Tokenizers, normalize_state, prompt_text, to_input_size
from model import Weights
from policy import load

ROUNDED = "language_model.model.layers."
BLOCK = 16


def e4m3(x: torch.Tensor) -> torch.Tensor:
    return x.clamp(-448, 448).to(torch.float8_e4m3fn).float()


def e2m1(x: torch.Tensor) -> torch.Tensor:
    """To 0, 0.5, 1, 1.5, 2, 3, 4, 6, ties to even."""
    size = x.abs().clamp(max=6)
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.copysign(torch.round(size / step) * step, x)


def by_row(x: torch.Tensor, top: float, levels: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    scale = x.abs().amax(-1, keepdim=True).clamp(min=1e-30) / top
    return levels(x / scale) * scale


def blocks(x: torch.Tensor) -> torch.Tensor:
    """Each 16 numbers by an E4M3 scale; `x` is scaled so that the largest of these is 448."""
    parts = x.unflatten(-1, (-1, BLOCK))
    scale = e4m3(parts.abs().amax(-1, keepdim=True) / 6)
    return torch.where(scale > 0, e2m1(parts / scale.clamp(min=2**-9)) * scale, 0).flatten(-2)


def hadamard(x: torch.Tensor) -> torch.Tensor:
    width = min(64, x.shape[-1] & -x.shape[-1])
    matrix = torch.ones(1, 1)
    while matrix.shape[0] < width:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return (x.unflatten(-1, (-1, width)) @ matrix / math.sqrt(width)).flatten(-2)


FORMATS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "int8": lambda x: by_row(hadamard(x), 127, torch.round),
    "fp8": lambda x: by_row(x, 448, e4m3),
    "nvfp4": lambda x: by_row(x, 6 * 448, blocks),
}


class RoundedWeights(Weights):
    """`rounds` is None: as they are."""

    def __init__(self, weights: Weights) -> None:
        self.__dict__.update(weights.__dict__)
        self.rounds: Callable[[torch.Tensor], torch.Tensor] | None = None
        self.decibels: dict[str, list[torch.Tensor]] = {}
        self._rounded: dict[str, torch.Tensor] = {}

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        exact = super().linear(name, x)
        if self.rounds is None or not name.startswith(ROUNDED):
            return exact
        if name not in self._rounded:
            self._rounded[name] = self.rounds(self[f"{name}.weight"])
        rounded = F.linear(self.rounds(x), self._rounded[name])
        self.decibels.setdefault(name, []).append(torch.stack([exact.square().sum(), (exact - rounded).square().sum()]))
        return rounded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--precision", choices=FORMATS, default="nvfp4")
    parser.add_argument("--unnorm-key", default="five_cubes")
    parser.add_argument("--count", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    policy = load(given.checkpoint, chunk=8)
    weights = RoundedWeights(policy.weights)
    policy.llama = dataclasses.replace(policy.llama, weights=weights)
    tokenizers = Tokenizers(given.checkpoint, policy.checkpoint.text_folder)
    statistics = policy.checkpoint.statistics[given.unnorm_key]
    crop = NumpyImages().crop
    observations = json.loads((given.folder / "observations.json").read_text(encoding="utf-8"))["observations"]
    every = len(observations) // (given.count or len(observations))
    cosines, changes, grippers = [], [], []
    for one in observations[::every]:
        opened = [Image.open(given.folder / file).convert("RGB") for file in one["images"].values()]
        pictures = [picture.resize((224, 224), Image.Resampling.LANCZOS) for picture in opened]
        prompt = prompt_text(one["instruction"])
        inputs = (
            to_input_size(np.stack([crop(np.array(picture)) for picture in pictures]), policy.checkpoint.preprocessor),
            normalize_state(np.array(one["state"]), statistics["proprio"], "q99"),
            tokenizers.prompt_ids(prompt),
            tokenizers.siglip_ids(prompt),
        )
        weights.rounds = None
        exact = np.asarray(policy.forward(*inputs))
        weights.rounds = FORMATS[given.precision]
        rounded = np.asarray(policy.forward(*inputs))
        cosines.append((exact * rounded).sum() / math.sqrt((exact**2).sum() * (rounded**2).sum()))
        changes.append(np.abs(exact - rounded))
        grippers.append(np.stack([exact[:, -1], rounded[:, -1]]))
    first, second = np.concatenate(grippers, 1)
    middle = (first.min() + first.max()) / 2
    sums = [torch.stack(pairs).sum(0) for pairs in weights.decibels.values()]
    noise = [10 * math.log10(signal / noise) for signal, noise in sums]
    figures = {
        "precision": given.precision,
        "observations": len(cosines),
        "actionCosine": round(float(np.mean(cosines)), 5),
        "lowestCosine": round(float(np.min(cosines)), 4),
        "meanChange": float(f"{np.mean(changes):.3g}"),
        "largestChange": float(f"{np.max(changes):.3g}"),
        "gripperFlips": float(f"{np.mean((first > middle) != (second > middle)):.3g}"),
        "medianDecibels": round(float(np.median(noise)), 1),
        "worstDecibels": round(min(noise), 1),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
