"""Reads a trained policy folder into one flat dict of tensors, LoRA merged (docs/model.md, "Checkpoint on disk").

Names are the shards' spelling, the one that lib/checkpoint/policyTensors.ts documents: a vision archive's `.block` is
dropped and its keys get the `vision_backbone.` prefix where they lack it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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


def read_checkpoint(
    folder: Path | str, dtype: torch.dtype = torch.float32, rounding: str = "bfloat16"
) -> Checkpoint:
    """Reads the folder, converting tensor by tensor: the peak is the converted weights plus one tensor.

    rounding "bfloat16": every weight goes through bfloat16, and LoRA is merged, as the authors' loaders do it; "none":
    weights as on disk, LoRA merged in float32.
    """
    folder = Path(folder)
    config = read_json(folder / "config.json")
    rounded = {"bfloat16": True, "none": False}[rounding]

    def narrow(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.bfloat16() if rounded else tensor

    tensors: dict[str, torch.Tensor] = {}

    vision_archive = _only(folder, "vision_backbone--*_checkpoint.pt")
    index = read_json(folder / "model.safetensors.index.json")["weight_map"]
    for shard in sorted(set(index.values())):
        for name, tensor in _shard(folder / shard):
            superseded = vision_archive is not None and name.startswith("vision_backbone.")
            if not superseded and not _unused(name):
                tensors[name] = narrow(tensor).to(dtype)

    if vision_archive is not None:
        state = _archive(vision_archive)
        split = any(name.endswith(LORA_A) for name in state)
        # OpenVLA-OFT's loader leaves the adapters in place: W x + scale * B (A x), nothing merged is rounded
        merge = _merge_float32 if not rounded or "featurizer_cfg" not in config else _merge_bfloat16
        scale = _lora_scale(folder) if split else 1.0
        tensors |= {name: value.to(dtype) for name, value in _merged_vision(state, scale, narrow, merge)}
    for stem in ("action_head", "proprio_projector"):
        archive = _only(folder, f"{stem}--*_checkpoint.pt")
        if archive is not None:
            tensors |= {f"{stem}.{name}": narrow(tensor).to(dtype) for name, tensor in _archive(archive).items()}

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


Merge = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]


def _merge_float32(base: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """`W + scale * B A` in float32. A 1x1 convolution B is a matrix too."""
    return base.float() + scale * (b.float().flatten(1) @ a.float().flatten(1)).reshape(base.shape)


def _merge_bfloat16(base: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float) -> torch.Tensor:
    """The same as PEFT 0.11.1 does it on bfloat16 tensors: the product, its multiple and the sum are each rounded."""
    return base + ((b.flatten(1) @ a.flatten(1)) * scale).reshape(base.shape)


def _merged_vision(
    state: dict[str, torch.Tensor], scale: float, narrow: Callable[[torch.Tensor], torch.Tensor], merge: Merge
) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight of the archive, split layers merged, by its canonical name."""
    for name, tensor in state.items():
        if name.endswith((LORA_A, LORA_B)) or _unused(name):
            continue
        value = narrow(tensor)
        if name.endswith(f"{BASE}weight"):
            stem = name.removesuffix(f"{BASE}weight")
            value = merge(value, narrow(state[stem + LORA_A]), narrow(state[stem + LORA_B]), scale)
        canonical = name.replace(BASE, ".").replace(".block.", ".")
        yield (canonical if canonical.startswith("vision_backbone.") else f"vision_backbone.{canonical}"), value


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
