"""Writes a run's policy as training leaves one on disk: export.py RUN OUT [--weights stepN.pt] [--adapter-from FROM]

The vision weights are split as LoRA leaves them. Without --adapter-from the adapters add nothing. With it (the folder
of an earlier run or of a checkpoint) each adapter holds what of the way from there to here fits into --rank, and the
base weights the rest, so that what the program merges is what was trained, to within the rounding of bfloat16 sums.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import torch

from reference import Variant, policyFiles, randomPolicy
from runs import Run, begin_with, sentences_of
from variant import Tensors, canonical, task_variant
from vocabulary import TEXT_TOKENIZER, TOKENIZERS, Vocabulary

LLAMA_FILES = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json")
SIGLIP_FILES = ("spiece.model", "tokenizer_config.json", "special_tokens_map.json")
BASE = ".base_layer.weight"


def adapter(
    trained: torch.Tensor, earlier: torch.Tensor, rank: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Base, A and B in bfloat16 with base + scale * B A = trained, each step rounded as the merge does it."""
    u, s, v = torch.linalg.svd((trained - earlier).double(), full_matrices=False)
    root = s[:rank].clamp(min=0).sqrt()
    a = (root[:, None] * v[:rank]).float().bfloat16()
    b = (u[:, :rank] * root / scale).float().bfloat16()
    return (trained - ((b @ a) * scale).float()).bfloat16(), a, b


def vision_archive(variant: Variant, weights: Tensors, earlier: Tensors | None) -> Tensors:
    """By the archive's keys."""
    state = randomPolicy.vision_state(randomPolicy.Maker(0), variant)
    scale = variant.alpha / variant.rank
    for name in state:
        if "lora_" not in name:
            known = weights.get(canonical(name))
            # what the forward pass never reads is not trained
            state[name] = torch.zeros_like(state[name]) if known is None else known
        elif ".lora_B." in name:
            state[name] = torch.zeros_like(state[name])
    if earlier is None:
        return state
    for name in [name for name in state if name.endswith(BASE)]:
        stem, key = name.removesuffix(BASE), canonical(name)
        split = adapter(weights[key], earlier[key], variant.rank, scale)
        keys = name, f"{stem}.lora_A.default.weight", f"{stem}.lora_B.default.weight"
        # contiguous: the program reads no other tensor of an archive
        state |= dict(zip(keys, (part.float().contiguous() for part in split), strict=True))
    return state


def export(run: Run, out: Path, weights: Tensors, bounds: dict, earlier: Tensors | None, rank: int) -> None:
    task = run.task
    variant = task_variant(task.content, Vocabulary(sentences_of(task)).rows, rank)
    out.mkdir(parents=True)
    policyFiles.write_archive(variant, out, "vision_backbone", vision_archive(variant, weights, earlier))
    policyFiles.write_shards(out, shards(variant, weights), full=True)
    for stem in ("action_head", "proprio_projector"):
        own = {name.removeprefix(f"{stem}."): value for name, value in weights.items() if name.startswith(f"{stem}.")}
        policyFiles.write_archive(variant, out, stem, own)
    lora = {"peft_type": "LORA", "r": variant.rank, "lora_alpha": variant.alpha, "use_rslora": False}
    policyFiles.write_json(out / "lora_adapter" / "adapter_config.json", lora)
    policyFiles.write_json(out / "config.json", policyFiles.config(variant))
    policyFiles.write_json(out / "preprocessor_config.json", policyFiles.preprocessor(variant))
    policyFiles.write_json(out / "dataset_statistics.json", {variant.unnorm_key: bounds})
    text = out / Path(variant.text_path).name
    assert variant.text is not None
    policyFiles.write_json(text / "config.json", policyFiles.text_config(variant.text))
    for source, names, folder in ((TOKENIZERS, LLAMA_FILES, out), (TEXT_TOKENIZER, SIGLIP_FILES, text)):
        for name in names:
            shutil.copy(source / name, folder / name)


def shards(variant: Variant, weights: Tensors) -> Tensors:
    """Projectors and language model, and the towers from before training, which the archive supersedes: zero."""
    make = randomPolicy.Maker(0)
    out = randomPolicy.projector_weights(make, variant) | randomPolicy.language_weights(make, variant)
    out = {name: weights.get(name, torch.zeros_like(tensor)) for name, tensor in out.items()}
    for name, tower in variant.towers:
        plain = randomPolicy.tower_weights(make, variant, name, tower)
        kept = {key: value for key, value in plain.items() if ".scale." not in key and ".shift." not in key}
        out |= {key: torch.zeros_like(value) for key, value in kept.items()}
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="of an earlier step (train.py --keep); else the last state's")
    parser.add_argument("--adapter-from", type=Path)
    parser.add_argument("--rank", type=int, default=4)
    given = parser.parse_args()
    if given.out.exists():
        raise SystemExit(f"{given.out} is there already")
    weights, bounds, _ = begin_with(given.run)
    if given.weights is not None:
        weights = torch.load(given.weights, weights_only=True)
    earlier = None if given.adapter_from is None else begin_with(given.adapter_from)[0]
    partial = given.out.with_name(given.out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    export(Run(given.run), partial, weights, bounds, earlier, given.rank)
    partial.rename(given.out)
    size = sum(file.stat().st_size for file in given.out.rglob("*") if file.is_file())
    print(f"{given.out}: {size / 1e6:.1f} MB; semanticvla serve {given.out} opens it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
