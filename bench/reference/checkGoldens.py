"""Compares the twin with the reference's own outputs: `checkGoldens.py GOLDEN_FOLDER...` (each with case.json).

Prints the largest difference by kind of stage, exits 1 when a stage is off by more than 1e-4, an action by more than
2e-5, or an index, id or mask differs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from checkpoint import read_json
from inputs import (
    NumpyImages,
    Tokenizers,
    choose_cameras,
    normalize_state,
    prompt_text,
    read_observation,
    to_input_size,
    unnormalize_actions,
)
from policy import Policy, load

STAGE_TOLERANCE = 1e-4
ACTION_TOLERANCE = 2e-5
NORMALIZATION = {"bounds_q99": "q99", "bounds": "minmax"}


def cropped_frames(folder: Path, case: dict, observation: str) -> np.ndarray:
    """The reference's own crops of one observation, from the sample that holds all its stages."""
    full = next(s for s in case["samples"] if s["observation"] == observation and s.get("stages"))
    golden = load_file(folder / full["golden"])
    keys = [f"image{i}.cropped" for i in range(case["num_images_in_input"])]
    if all(key in golden for key in keys):
        return np.stack([golden[key].numpy() for key in keys])
    frames, _ = read_observation(folder / observation)
    return np.stack([NumpyImages().crop(frames[name]) for name in choose_cameras(list(frames), len(keys))])


def check_sample(policy: Policy, folder: Path, case: dict, sample: dict, tokenizers: Tokenizers) -> bool:
    golden = load_file(folder / sample["golden"])
    statistics = policy.checkpoint.statistics[sample["unnorm_key"]]
    normalization = NORMALIZATION[case["normalization"]]
    _, state = read_observation(folder / sample["observation"])
    prompt = prompt_text(sample["instruction"])
    stages: dict[str, torch.Tensor] = {}
    actions = policy.forward(
        to_input_size(cropped_frames(folder, case, sample["observation"]), policy.checkpoint.preprocessor),
        normalize_state(state, statistics["proprio"], normalization),
        tokenizers.prompt_ids(prompt),
        tokenizers.siglip_ids(prompt),
        lambda name, tensor: stages.__setitem__(name, tensor.clone()),
    )

    worst: dict[str, float] = {}
    missing, unequal = [], []
    for name, expected in golden.items():
        if name.startswith(("bf16", "actions.unnormalized")) or name.endswith((".cropped", ".resized", ".decoded")):
            continue
        if name not in stages:
            missing.append(name)
        elif expected.is_floating_point():
            kind = ".".join(part for part in name.split(".") if not part.startswith("image"))
            worst[kind] = max(worst.get(kind, 0.0), (stages[name].float() - expected.float()).abs().max().item())
        elif not torch.equal(stages[name].long(), expected.long()):
            unequal.append(name)
    unnormalized = unnormalize_actions(actions, statistics["action"], normalization)
    real = np.abs(unnormalized - np.array(sample["actions_fp32"])).max()
    error = np.abs(actions - np.array(sample["normalized_fp32"])).max()
    top = sorted(worst.items(), key=lambda item: -item[1])[:3]
    print(
        f"{folder.name} {sample['golden']}: actions {error:.1e}, un-normalized {real:.1e}, "
        f"{len(worst)} kinds of stage, worst {top}"
    )
    for what, names in (("not computed", missing), ("unequal", unequal)):
        if names:
            print(f"  {what}: {names}")
    return error <= ACTION_TOLERANCE and not unequal and not missing and max(worst.values()) <= STAGE_TOLERANCE


def check_discrete(folder: Path, case: dict, sample: dict, tokenizers: Tokenizers) -> bool:
    policy = load(folder / "checkpoint", chunk=case["chunk"], discrete=True)
    prompt = prompt_text(sample["instruction"])
    frames = to_input_size(cropped_frames(folder, case, sample["observation"]), policy.checkpoint.preprocessor)
    actions = policy.forward(frames, None, tokenizers.prompt_ids(prompt), tokenizers.siglip_ids(prompt))
    statistics = policy.checkpoint.statistics[sample["unnorm_key"]]["action"]
    expected = np.array(sample["discrete"]["actions_fp32"])
    error = np.abs(unnormalize_actions(actions, statistics, NORMALIZATION[case["normalization"]]) - expected).max()
    print(f"{folder.name} {sample['golden']}: discrete actions {error:.1e}")
    return error <= 1e-12


def tokenizers_of(folder: Path, policy: Policy) -> Tokenizers:
    """The case's own, or libero-tiny's, which the repository's other cases share."""
    checkpoint, text = folder / "checkpoint", policy.checkpoint.text_folder
    shared = folder.resolve().parent / "libero-tiny" / "checkpoint"
    if not (checkpoint / "tokenizer.json").exists():
        checkpoint = shared
    if text is not None and not (text / "spiece.model").exists():
        text = shared / text.name
    return Tokenizers(checkpoint, text)


def main(folders: list[str]) -> int:
    good = True
    for name in folders:
        folder = Path(name)
        case = read_json(folder / "case.json")
        policy = load(folder / "checkpoint", chunk=case["chunk"])
        tokenizers = tokenizers_of(folder, policy)
        for sample in case["samples"]:
            good &= check_sample(policy, folder, case, sample, tokenizers)
            if "discrete" in sample:
                good &= check_discrete(folder, case, sample, tokenizers)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
