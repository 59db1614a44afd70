"""A task's policy: its sizes, the names and shapes of its tensors, the weights that training begins with.

Names are canonical, as bench/reference/checkpoint.py reads them: blocks unwrapped, nothing split by LoRA.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F

from reference import Variant, randomPolicy

EMBEDDING = "language_model.model.embed_tokens.weight"
Tensors = dict[str, torch.Tensor]


def task_variant(task: dict[str, Any], token_rows: Iterable[int], rank: int = 4) -> Variant:
    """`task`: the content of a task's file. `token_rows`: ids with an embedding of their own."""
    model = task["model"]
    text, pool = model["text"], randomPolicy.Sampler(model["keep"], model["pool"], model["temperature"])
    depth = min(model["dinov2"]["depth"], model["siglip"]["depth"])
    return Variant(
        name=task["name"],
        about="",
        dinov2=randomPolicy.Tower(**model["dinov2"], film=True, queries=model["keep"]),
        siglip=randomPolicy.Tower(**model["siglip"], sampler=pool),
        language=randomPolicy.Language(**model["language"]),
        text=randomPolicy.Text(text["width"], text["layers"], text["heads"], text.get("mlp", 2 * text["width"])),
        cameras=tuple(task["cameras"]),
        chunk=model["chunk"],
        action_dim=model["actionDim"],
        proprio_dim=model["proprioDim"],
        exchange=tuple((block, block) for block in range(depth)),
        image_size=model["imageSize"],
        unnorm_key=task["unnormKey"],
        step=1000,
        rank=rank,
        alpha=2 * rank,
        token_rows=tuple(sorted(token_rows)),
    )


def canonical(name: str) -> str:
    """Of a key of the vision archive."""
    name = name.replace(".base_layer.", ".").replace(".block.", ".")
    return name if name.startswith("vision_backbone.") else f"vision_backbone.{name}"


def shapes(variant: Variant) -> dict[str, torch.Size]:
    """Of everything that is trained, by canonical name."""
    unsplit = dataclasses.replace(
        variant,
        dinov2=dataclasses.replace(variant.dinov2, freeze=True),
        siglip=dataclasses.replace(variant.siglip, freeze=True),
    )
    make = randomPolicy.Maker(0)
    width = variant.language.width
    state = {canonical(name): tensor for name, tensor in randomPolicy.vision_state(make, unsplit).items()}
    state |= randomPolicy.projector_weights(make, variant) | randomPolicy.language_weights(make, variant)
    state |= {f"action_head.{name}": tensor for name, tensor in randomPolicy.head_weights(make, variant).items()}
    projector = make.mlp(("fc1", "fc2"), (variant.proprio_dim, width, width), 0.7)
    state |= {f"proprio_projector.{name}": tensor for name, tensor in projector.items()}
    unused = ("lm_head", "featurizer.norm.", "text_model.head.")
    return {name: tensor.shape for name, tensor in state.items() if not any(part in name for part in unused)}


def initial_weights(variant: Variant, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes(variant).items():
        if name == EMBEDDING:
            out[name] = torch.zeros(shape)
            add_token_rows(out, variant, generator)
        else:
            out[name] = _initial(name, shape, generator)
    return out


def add_token_rows(weights: Tensors, variant: Variant, generator: torch.Generator) -> int:
    """Embeddings for the ids that have none yet, in place; how many. Small ones would hide the sentence: the mean of
    the prompt's embeddings steers FiLM."""
    table = weights[EMBEDDING]
    missing = [row for row in variant.token_rows if not table[row].any()]
    table[missing] = torch.randn(len(missing), table.shape[1], generator=generator) * 0.5
    return len(missing)


def _initial(name: str, shape: torch.Size, generator: torch.Generator) -> torch.Tensor:
    kind = name.rpartition(".")[2]

    def normal(std: float) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * std

    if "pos_embed" in name:
        return _positions(math.isqrt(shape[1]), shape[2])[None] * 0.7
    for part, std in (
        ("cls_token", 0.3),
        ("reg_token", 0.3),
        ("vision_queries", 0.7),
        ("token_embedding", 0.5),
        ("position_embedding", 0.2),
    ):
        if part in name:
            return normal(std)
    if "scale_factor" in name:
        return torch.ones(shape)
    if "norm" in name or ".ffn.0." in name:
        return torch.ones(shape) if kind == "weight" else torch.zeros(shape)
    if kind == "bias":
        return torch.zeros(shape)
    return normal(_gain(name) / math.sqrt(math.prod(shape[1:])))


def _gain(name: str) -> float:
    if ".scale." in name or ".shift." in name:
        return 0.3
    if name.startswith("action_head") and "fc2" in name:
        return 0.1
    halved = ("attn.proj", "mlp.fc2", "o_proj", "down_proj", "out_proj")
    last_of_exchange = "aggregate_proj" in name and ".2." in name
    return 0.5 if last_of_exchange or any(part in name for part in halved) else 1.0


def _positions(side: int, width: int) -> torch.Tensor:
    """[side * side, width]: sines and cosines of x and y."""
    quarter = width // 4
    frequency = math.pi / 20 ** (torch.arange(quarter) / max(quarter - 1, 1))
    y, x = torch.meshgrid(torch.arange(side) / side, torch.arange(side) / side, indexing="ij")
    waves = [wave(place.reshape(-1, 1) * frequency * side / 8) for place in (x, y) for wave in (torch.sin, torch.cos)]
    table = torch.cat(waves, dim=1)
    return F.pad(table, (0, width - table.shape[1]))
