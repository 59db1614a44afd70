"""Random weights of tiny policies, by the names that training leaves on disk; policyFiles.py writes them.

Every weight is exactly representable in bfloat16, also after the LoRA merge, so precision of storage and of merging
cannot show in a comparison; with `off_grid` none of the archives' is, as training leaves them. Widths are tiny, the
vocabulary is not: token ids are real ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

VOCABULARY = 32064
PADDED = 64
GRID = 2.0**-9
"""Weights under a LoRA adapter are multiples of this, at most 255 of them: sums of a few stay exact in bfloat16."""


@dataclass(frozen=True)
class Sampler:
    vision_topk: int
    text_topk: int
    temperature: float | None = None


@dataclass(frozen=True)
class Tower:
    width: int
    depth: int
    heads: int
    film: bool = False
    freeze: bool = False
    queries: int = 0
    sampler: Sampler | None = None


@dataclass(frozen=True)
class Text:
    """SigLIP text tower; the vocabulary is that of the tiny tokenizer."""

    width: int
    layers: int
    heads: int
    mlp: int
    vocabulary: int = 304
    positions: int = 64


@dataclass(frozen=True)
class Language:
    width: int
    layers: int
    heads: int
    mlp: int
    eps: float | None = None


@dataclass(frozen=True)
class Variant:
    """One tiny policy and the options that its checkpoint does not hold."""

    name: str
    about: str
    dinov2: Tower
    siglip: Tower
    language: Language
    cameras: tuple[str, ...]
    chunk: int = 8
    action_dim: int = 7
    proprio_dim: int = 8
    normalization: str = "q99"
    center_crop: bool = True
    oft: bool = False
    head: str | None = "split"
    tokens_per_step: int = 3
    image_size: int = 224
    exchange: tuple[tuple[int, int], ...] = ()
    aggregation: str = "concat"
    text: Text | None = None
    text_path: str = "siglip-text"
    rank: int = 4
    alpha: int = 8
    lora_convolution: bool = False
    vision_archive: bool = True
    module_prefix: tuple[str, ...] = ("action_head", "proprio_projector")
    archive_style: str = "dict"
    mask: bool = True
    second_dataset: bool = False
    step: int = 30000
    unnorm_key: str = "libero_spatial_no_noops"
    off_grid: bool = False
    """Archives in float32, nothing in them exact in bfloat16."""
    null_pairs: bool = False
    """config.json says null for the pairs; `exchange` is what the reference makes of it."""
    token_rows: tuple[int, ...] = field(default=())
    """Token ids with an embedding; every other row of the table is zero."""

    @property
    def towers(self) -> tuple[tuple[str, Tower], tuple[str, Tower]]:
        return ("featurizer", self.dinov2), ("fused_featurizer", self.siglip)

    @property
    def patches(self) -> int:
        return (self.image_size // 14) ** 2

    @property
    def steps_tokens(self) -> int:
        return self.action_dim if self.tokens_per_step == -1 else self.tokens_per_step


class Maker:
    """Seeded random layers."""

    def __init__(self, seed: int, off_grid: bool = False) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.off_grid = off_grid

    def normal(self, *shape: int, std: float) -> torch.Tensor:
        """float32 values, which bfloat16 holds exactly unless they are to be off its grid."""
        values = torch.randn(*shape, generator=self._generator) * std
        return values if self.off_grid else values.bfloat16().float()

    def linear(self, name: str, rows: int, columns: int, gain: float) -> dict[str, torch.Tensor]:
        weight = self.normal(rows, columns, std=gain / math.sqrt(columns))
        return {f"{name}.weight": weight, f"{name}.bias": self.normal(rows, std=0.05)}

    def norm(self, name: str, width: int, bias: bool = True) -> dict[str, torch.Tensor]:
        out = {f"{name}.weight": (1 + self.normal(width, std=0.1)).bfloat16().float()}
        return out | ({f"{name}.bias": self.normal(width, std=0.05)} if bias else {})

    def mlp(self, names: tuple[str, ...], widths: tuple[int, ...], gain: float) -> dict[str, torch.Tensor]:
        out: dict[str, torch.Tensor] = {}
        for name, columns, rows in zip(names, widths[:-1], widths[1:], strict=True):
            out |= self.linear(name, rows, columns, gain)
        return out

    def signs(self, *shape: int) -> torch.Tensor:
        """-1, 0 or 1."""
        return torch.randint(-1, 2, shape, generator=self._generator).float()


def on_grid(weight: torch.Tensor) -> torch.Tensor:
    return (weight / GRID).round().clamp(-200, 200) * GRID


def split_lora(make: Maker, state: dict[str, torch.Tensor], layer: str, rank: int, alpha: int) -> None:
    """Replaces X.weight by X.base_layer.* and the two LoRA factors, as peft leaves an unmerged layer."""
    weight = state.pop(f"{layer}.weight")
    factor = weight.shape[0], rank, *[1] * (weight.ndim - 2)
    if make.off_grid:
        a, b = make.normal(rank, *weight.shape[1:], std=0.1), make.normal(*factor, std=0.2)
    else:
        weight = on_grid(weight)
        # scale * B A is a multiple of GRID: the factors are -1, 0, 1 times powers of two.
        a = make.signs(rank, *weight.shape[1:]) * 2.0**-4
        b = make.signs(*factor) * (GRID * 2.0**4 * rank / alpha)
    state[f"{layer}.base_layer.weight"] = weight
    state[f"{layer}.base_layer.bias"] = state.pop(f"{layer}.bias")
    state[f"{layer}.lora_A.default.weight"] = a
    state[f"{layer}.lora_B.default.weight"] = b


def tower_weights(make: Maker, variant: Variant, name: str, tower: Tower) -> dict[str, torch.Tensor]:
    """One ViT by its shard names, FiLM included."""
    width, is_dino = tower.width, name == "featurizer"
    mlp = 4 * width if is_dino else int(width * 3.7362)
    stem = f"vision_backbone.{name}"
    state = {f"{stem}.pos_embed": make.normal(1, variant.patches, width, std=0.3)}
    if is_dino:
        state[f"{stem}.cls_token"] = make.normal(1, 1, width, std=0.3)
        state[f"{stem}.reg_token"] = make.normal(1, 4, width, std=0.3)
    state[f"{stem}.patch_embed.proj.weight"] = make.normal(width, 3, 14, 14, std=0.8 / math.sqrt(588))
    state[f"{stem}.patch_embed.proj.bias"] = make.normal(width, std=0.05)
    for index in range(tower.depth):
        block = f"{stem}.blocks.{index}"
        state |= make.norm(f"{block}.norm1", width) | make.norm(f"{block}.norm2", width)
        state |= make.linear(f"{block}.attn.qkv", 3 * width, width, 0.8)
        state |= make.linear(f"{block}.attn.proj", width, width, 0.6)
        state |= make.linear(f"{block}.mlp.fc1", mlp, width, 0.8)
        state |= make.linear(f"{block}.mlp.fc2", width, mlp, 0.6)
        if is_dino:
            for scale in ("ls1", "ls2"):
                state[f"{block}.{scale}.scale_factor"] = (0.7 + make.normal(width, std=0.1)).bfloat16().float()
        if tower.film:
            state |= make.linear(f"{block}.scale", width, variant.language.width, 1.5)
            state |= make.linear(f"{block}.shift", width, variant.language.width, 1.5)
    return state | make.norm(f"{stem}.norm", width)


def sampler_weights(make: Maker, text: Text, name: str, width: int) -> dict[str, torch.Tensor]:
    stem = f"{name}_mm_sampler.text_encoder.text_model"
    state = {
        f"{stem}.embeddings.token_embedding.weight": make.normal(text.vocabulary, text.width, std=0.5),
        f"{stem}.embeddings.position_embedding.weight": make.normal(text.positions, text.width, std=0.2),
    }
    for index in range(text.layers):
        layer = f"{stem}.encoder.layers.{index}"
        for part in ("k", "v", "q", "out"):
            state |= make.linear(f"{layer}.self_attn.{part}_proj", text.width, text.width, 0.8)
        state |= make.norm(f"{layer}.layer_norm1", text.width) | make.norm(f"{layer}.layer_norm2", text.width)
        state |= make.mlp((f"{layer}.mlp.fc1", f"{layer}.mlp.fc2"), (text.width, text.mlp, text.width), 0.8)
    state |= make.norm(f"{stem}.final_layer_norm", text.width)
    state |= make.linear(f"{stem}.head", text.width, text.width, 0.8)
    projector = f"{name}_mm_sampler.text_post_projector"
    return state | make.mlp((f"{projector}.0", f"{projector}.2"), (text.width, width, width), 1.2)


def vision_state(make: Maker, variant: Variant) -> dict[str, torch.Tensor]:
    """`vision_backbone--*.pt`: blocks wrapped, Linear layers split into base and LoRA, additions of the policy."""
    state: dict[str, torch.Tensor] = {}
    for tower, suffix in ((variant.dinov2, ""), (variant.siglip, "_fused")):
        if tower.queries:
            state[f"vision_queries{suffix}"] = make.normal(1, tower.queries, tower.width, std=0.5)
    for name, tower in variant.towers:
        weights = tower_weights(make, variant, name, tower)
        for layer in [key.removesuffix(".weight") for key in weights if key.endswith(".weight")]:
            linear = ".attn." in layer or ".mlp." in layer
            if not tower.freeze and (linear or (variant.lora_convolution and layer.endswith("patch_embed.proj"))):
                split_lora(make, weights, layer, variant.rank, variant.alpha)
        for key, tensor in weights.items():
            head, _, rest = key.partition(".blocks.")
            index, _, part = rest.partition(".")
            wrapped = rest and not part.startswith(("scale.", "shift."))
            state[f"{head}.blocks.{index}.block.{part}" if wrapped else key] = tensor
    for name, tower in variant.towers:
        if tower.sampler is not None:
            assert variant.text is not None
            state |= sampler_weights(make, variant.text, name, tower.width)
    both = variant.dinov2.width + variant.siglip.width
    for pair in range(len(variant.exchange)):
        for index, (_, tower) in enumerate(variant.towers):
            stem = f"cross_vit_model.aggregate_proj.{2 * pair + index}"
            state |= make.mlp((f"{stem}.0", f"{stem}.2"), (both, both, tower.width), 0.7)
    return state


def projector_weights(make: Maker, variant: Variant) -> dict[str, torch.Tensor]:
    width = variant.language.width
    both = variant.dinov2.width + variant.siglip.width
    state: dict[str, torch.Tensor] = {}
    if variant.aggregation == "concat":
        names = ("projector.fc1", "projector.fc2", "projector.fc3")
        state |= make.mlp(names, (both, 4 * both, width, width), 0.7)
    else:
        router = ("moe_router.router.0", "moe_router.router.2")
        # e_avg is small (embeddings are), the ratios should not be 0.5 : 0.5
        state |= make.linear(router[0], width, width, 8.0) | make.linear(router[1], 2, width, 2.0)
        for name, tower in variant.towers:
            state |= make.mlp((f"{name}_proj.fc1", f"{name}_proj.fc2"), (tower.width, width, width), 0.7)
    for name, tower in variant.towers:
        if tower.sampler is not None:
            stem = f"{name}_sampler_proj"
            state |= make.mlp((f"{stem}.fc1", f"{stem}.fc2"), (tower.width, width, width), 0.7)
    return state


def language_weights(make: Maker, variant: Variant) -> dict[str, torch.Tensor]:
    language, stem = variant.language, "language_model.model"
    rows = torch.zeros(VOCABULARY, language.width)
    used = list(variant.token_rows)
    # Small, so that the eps of the RMSNorm shows.
    rows[used] = make.normal(len(used), language.width, std=0.03)
    state = {f"{stem}.embed_tokens.weight": rows, f"{stem}.norm.weight": make.norm("n", language.width)["n.weight"]}
    for index in range(language.layers):
        layer = f"{stem}.layers.{index}"
        for part in ("q", "k", "v", "o"):
            weight = make.linear("x", language.width, language.width, 0.8)["x.weight"]
            state[f"{layer}.self_attn.{part}_proj.weight"] = weight
        for part, shape in (("gate", 1), ("up", 1), ("down", 0)):
            size = (language.mlp, language.width) if shape else (language.width, language.mlp)
            state[f"{layer}.mlp.{part}_proj.weight"] = make.linear("x", *size, 0.8)["x.weight"]
        for part in ("input_layernorm", "post_attention_layernorm"):
            state |= make.norm(f"{layer}.{part}", language.width, bias=False)
    output = torch.zeros(VOCABULARY, language.width)
    if variant.head is None:
        # The 256 ids that stand for actions and, now and then winning, some that do not.
        ids = [*range(VOCABULARY - PADDED - 256, VOCABULARY - PADDED), *used]
        output[ids] = make.normal(len(ids), language.width, std=0.3)
    return state | {"language_model.lm_head.weight": output}


def head_weights(make: Maker, variant: Variant) -> dict[str, torch.Tensor]:
    width, arms = variant.language.width, 2 if variant.action_dim == 14 else 1
    outputs = {"model_trans": 3 * arms, "model_rot": 3 * arms, "model_grip": arms}
    if variant.head == "single":
        outputs = {"model": variant.action_dim}
    rows = width * variant.steps_tokens
    state: dict[str, torch.Tensor] = {}
    for name, count in outputs.items():
        state |= make.norm(f"{name}.layer_norm1", rows) | make.linear(f"{name}.fc1", width, rows, 0.9)
        for index in range(2):
            block = f"{name}.mlp_resnet_blocks.{index}.ffn"
            state |= make.norm(f"{block}.0", width) | make.linear(f"{block}.1", width, width, 0.7)
        state |= make.norm(f"{name}.layer_norm2", width) | make.linear(f"{name}.fc2", count, width, 0.4)
    return state
