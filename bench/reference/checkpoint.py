"""Reads a trained policy folder into one flat dict of tensors, LoRA merged (spec, "Checkpoint on disk").

Names are the shards' spelling, the one that lib/checkpoint/policyTensors.ts documents: a vision archive's `.block` is
dropped and its keys get the `vision_backbone.` prefix where they lack it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

# Head counts cannot be read from weights; these are the timm models that the reference builds.
TIMM_HEADS = {"vit_large_patch14_reg4_dinov2": 16, "vit_so400m_patch14_siglip_224": 16}
# In the files, but the forward pass never touches them.
UNUSED = (".attn_pool.", "featurizer.norm.", "text_encoder.text_model.head.", "text_encoder.logit_")

LORA_A, LORA_B, BASE = ".lora_A.default.weight", ".lora_B.default.weight", ".base_layer."


@dataclass(frozen=True)
class Checkpoint:
    """A policy folder in memory."""

    folder: Path
    config: dict[str, Any]
    preprocessor: dict[str, Any]
    statistics: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    """By canonical name, in the dtype asked for."""
    text_folder: Path | None
    """Folder with the SigLIP tokenizer and text config; None when no tower has a sampler."""


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def read_checkpoint(folder: Path | str, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """Reads the folder, converting tensor by tensor: the peak is the converted weights plus one tensor."""
    folder = Path(folder)
    config = read_json(folder / "config.json")
    tensors: dict[str, torch.Tensor] = {}

    vision_archive = _only(folder, "vision_backbone--*_checkpoint.pt")
    index = read_json(folder / "model.safetensors.index.json")["weight_map"]
    for shard in sorted(set(index.values())):
        for name, tensor in _shard(folder / shard):
            superseded = vision_archive is not None and name.startswith("vision_backbone.")
            if not superseded and not _unused(name):
                tensors[name] = tensor.to(dtype)

    if vision_archive is not None:
        state = _archive(vision_archive)
        split = any(name.endswith(LORA_A) for name in state)
        tensors |= _merged_vision(state, _lora_scale(folder) if split else 1.0, dtype)
    for stem in ("action_head", "proprio_projector"):
        archive = _only(folder, f"{stem}--*_checkpoint.pt")
        if archive is not None:
            tensors |= {f"{stem}.{name}": tensor.to(dtype) for name, tensor in _archive(archive).items()}

    return Checkpoint(
        folder=folder,
        config=config,
        preprocessor=read_json(folder / "preprocessor_config.json"),
        statistics=read_json(folder / "dataset_statistics.json"),
        tensors=tensors,
        text_folder=_text_folder(folder, config),
    )


def _shard(path: Path) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors of a shard; of its `.sparse` form (policyFiles.py, write_shards) where only that is there."""
    if not path.exists():
        path = path.with_suffix(".sparse.safetensors")
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        sparse: dict[str, list[int]] = json.loads((file.metadata() or {}).get("sparse", "{}"))
        for name, shape in sparse.items():
            table = torch.zeros(shape, dtype=torch.bfloat16)
            parts = {f"{name}.rows", f"{name}.values"}
            if parts <= names:
                table[file.get_tensor(f"{name}.rows").long()] = file.get_tensor(f"{name}.values")
            names -= parts
            yield name, table
        for name in sorted(names):
            yield name, file.get_tensor(name)


def _only(folder: Path, pattern: str) -> Path | None:
    found = sorted(folder.glob(pattern))
    if len(found) > 1:
        raise ValueError(f"{folder}: expected at most one {pattern}, found {[file.name for file in found]}")
    return found[0] if found else None


def _archive(path: Path) -> dict[str, torch.Tensor]:
    """State dict of a `.pt` file, without the `module.` that DistributedDataParallel leaves in the keys."""
    state = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _unused(name: str) -> bool:
    return any(part in name for part in UNUSED)


def _lora_scale(folder: Path) -> float:
    adapter = read_json(folder / "lora_adapter" / "adapter_config.json")
    return adapter["lora_alpha"] / adapter["r"]


def _merged_vision(state: dict[str, torch.Tensor], scale: float, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """`W + scale * B A` in float32 for every split layer, canonical names. A 1x1 convolution B is a matrix too."""
    merged: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if name.endswith((LORA_A, LORA_B)) or _unused(name):
            continue
        value = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        if name.endswith(f"{BASE}weight"):
            stem = name.removesuffix(f"{BASE}weight")
            a, b = state[stem + LORA_A].float(), state[stem + LORA_B].float()
            value = value + scale * (b.flatten(1) @ a.flatten(1)).reshape(value.shape)
        canonical = name.replace(BASE, ".").replace(".block.", ".")
        if not canonical.startswith("vision_backbone."):
            canonical = f"vision_backbone.{canonical}"
        merged[canonical] = value.to(dtype)
    return merged


def _text_folder(folder: Path, config: dict[str, Any]) -> Path | None:
    for tower in ("featurizer_cfg", "fused_featurizer_cfg"):
        settings = config.get(tower, {})
        if settings.get("use_mm_sampler"):
            named = Path(settings["text_encoder_path"])
            return named if named.is_absolute() and named.exists() else folder / named.name
    return None


def vit_heads(config: dict[str, Any], index: int) -> int:
    """Attention heads of ViT `index` (0 = DINOv2)."""
    override = (config.get("timm_override_args") or [{}, {}])[index]
    return override.get("num_heads") or TIMM_HEADS[config["timm_model_ids"][index].split(".")[0]]
