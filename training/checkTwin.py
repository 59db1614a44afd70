"""Compares the twin with bench/reference/policy.py on random weights: checkTwin.py SCRATCH --task pick

Images and states are random too. Prints a line of JSON: `actions` and `patches`, the largest difference of normalized
actions and whether all kept patches are equal; `merged`, what is left of the trained weights where an export with
adapters (export.py --adapter-from) was merged: the largest difference in units of 2^-8 of the tensor's largest weight.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from export import export
from reference import inputs, policy, read_checkpoint
from runs import make_run, sentences_of
from tasks import read_task
from twin import Twin
from variant import Tensors, initial_weights, task_variant
from vocabulary import Vocabulary, tokenizers

OBSERVATIONS = 5


def random_weights(variant: object, seed: int) -> Tensors:
    """Initial weights, everything in them moved a little, as training leaves nothing at 0 or 1; exact in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    weights = initial_weights(variant, seed)
    for name, tensor in weights.items():
        used = tensor != 0 if "embed_tokens" in name else torch.ones_like(tensor)
        weights[name] = (tensor + 0.1 * used * torch.randn(tensor.shape, generator=generator)).bfloat16().float()
    return weights


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--task", default="pick")
    given = parser.parse_args()
    torch.set_num_threads(1)
    task = read_task(given.task)
    known = sentences_of(task)
    vocabulary = Vocabulary(known)
    variant = task_variant(task.content, vocabulary.rows)
    weights, earlier = random_weights(variant, 1), random_weights(variant, 2)
    count = max(variant.action_dim, variant.proprio_dim)
    limits = {"q01": [-1.0] * count, "q99": [1.0] * count, "mask": [True] * count}
    bounds = {"action": limits, "proprio": limits, "num_transitions": 1, "num_trajectories": 1}
    run = make_run(given.scratch / "run", {"taskFile": str(task.file), "task": task.content})

    # the shortest and the longest prompt among them
    by_length = sorted(known, key=lambda sentence: int(vocabulary.lengths[vocabulary.index[sentence]]))
    said = [by_length[int(at)] for at in np.linspace(0, len(by_length) - 1, OBSERVATIONS)]
    generator = torch.Generator().manual_seed(3)
    side, cameras = variant.image_size, len(variant.cameras)
    images = torch.randint(0, 256, (OBSERVATIONS, cameras, side, side, 3), generator=generator, dtype=torch.uint8)
    states = torch.rand(OBSERVATIONS, variant.proprio_dim, generator=generator) * 2 - 1
    twin = Twin(variant, vocabulary, weights, len(task.content["objects"])).eval()
    with torch.no_grad():
        actions, looked = twin(images, states, torch.tensor([vocabulary.index[sentence] for sentence in said]))

    export(run, given.scratch / "plain", weights, bounds, None, 4)
    one_by_one = policy.load(given.scratch / "plain", chunk=variant.chunk)
    worst, is_equal = 0.0, True
    for at, sentence in enumerate(said):
        kept: dict[int, list[int]] = {}

        def keep(name: str, tensor: torch.Tensor, kept: dict[int, list[int]] = kept) -> None:
            if name.endswith(".kept_patches"):
                kept[len(kept)] = sorted(tensor.tolist())

        prompt = inputs.prompt_text(sentence)
        ids = tokenizers().prompt_ids(prompt), tokenizers().siglip_ids(prompt)
        expected = one_by_one.forward(images[at].numpy(), states[at].numpy(), *ids, keep)
        worst = max(worst, float(np.abs(expected - actions[at].numpy()).max()))
        is_equal = is_equal and [kept[camera] for camera in range(cameras)] == looked.kept[at].tolist()

    export(run, given.scratch / "adapters", weights, bounds, earlier, 8)
    merged = read_checkpoint(given.scratch / "adapters").tensors
    plain = one_by_one.checkpoint.tensors
    steps = {name: float(((merged[name] - value).abs() / _resolution(value)).max()) for name, value in plain.items()}
    moved = [name for name, most in steps.items() if most > 0]
    print(
        json.dumps(
            {
                "observations": OBSERVATIONS,
                "actions": worst,
                "patches": is_equal,
                "merged": max(steps.values()),
                "mergedTensors": len(moved),
                "onlyAdapted": all(".attn." in name or ".mlp." in name for name in moved),
            }
        )
    )
    return 0


def _resolution(value: torch.Tensor) -> torch.Tensor:
    """The largest weight of the tensor decides: base and adapter are of its size where they cancel."""
    return value.abs().max() * 2.0**-8


if __name__ == "__main__":
    sys.exit(main())
