"""The parts of the policy as plain functions over a flat dict of weights, batch 1, eager (docs/model.md).

Written from the specification. Arithmetic choices that move float32 bits follow the libraries the reference runs on:
timm and Llama attend through `scaled_dot_product_attention`, the SigLIP text tower through explicit matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F

Recorder = Callable[[str, torch.Tensor], None]


def ignore(_name: str, _tensor: torch.Tensor) -> None:
    """Recorder that keeps nothing."""


class Weights:
    """Layers by name: `linear("projector.fc1", x)` uses `projector.fc1.weight` and, where it is there, `.bias`."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensors[name]

    def get(self, name: str) -> torch.Tensor | None:
        return self._tensors.get(name)

    def count(self, pattern: str) -> int:
        """How many of pattern.format(0), pattern.format(1), ... are there without a gap."""
        n = 0
        while pattern.format(n) in self._tensors:
            n += 1
        return n

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self._tensors[f"{name}.weight"], self._tensors.get(f"{name}.bias"))

    def layer_norm(self, name: str, x: torch.Tensor, eps: float) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"], eps)

    def mlp(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        """Linear layers with the exact GELU between them."""
        for i, name in enumerate(names):
            x = self.linear(name, F.gelu(x) if i else x)
        return x


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """What statistics, scores and softmax are computed in: float32, or float64 in a float64 policy."""
    return torch.promote_types(dtype, torch.float32)


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[1, n, heads * d] -> [1, heads, n, d]"""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Vit:
    """One vision transformer. `name` is the weights' prefix, `label` its name in the recorded stages."""

    weights: Weights
    name: str
    label: str
    heads: int
    queries: torch.Tensor | None
    """[1, Q, width], appended after the patches without position."""

    eps = 1e-6

    @property
    def depth(self) -> int:
        return self.weights.count(f"{self.name}.blocks.{{}}.norm1.weight")

    @property
    def width(self) -> int:
        return self.weights[f"{self.name}.pos_embed"].shape[-1]

    @property
    def patches(self) -> int:
        return self.weights[f"{self.name}.pos_embed"].shape[1]

    @property
    def prefix(self) -> int:
        """cls and register tokens before the patches."""
        cls, reg = (self.weights.get(f"{self.name}.{part}_token") for part in ("cls", "reg"))
        return sum(token.shape[1] for token in (cls, reg) if token is not None)

    @property
    def film(self) -> bool:
        return f"{self.name}.blocks.0.scale.weight" in self.weights

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """[1, 3, S, S] -> [1, prefix + patches + Q, width]: position is added to the patches only."""
        w, name = self.weights, self.name
        kernel = w[f"{name}.patch_embed.proj.weight"]
        x = F.conv2d(pixels, kernel, w[f"{name}.patch_embed.proj.bias"], stride=kernel.shape[-1])
        x = x.flatten(2).transpose(1, 2) + w[f"{name}.pos_embed"]
        prefix = [token for part in ("cls", "reg") if (token := w.get(f"{name}.{part}_token")) is not None]
        suffix = [] if self.queries is None else [self.queries]
        return torch.cat([*prefix, x, *suffix], dim=1)

    def block(self, index: int, x: torch.Tensor, e_avg: torch.Tensor, record: Recorder) -> torch.Tensor:
        w, name = self.weights, f"{self.name}.blocks.{index}"
        qkv = w.linear(f"{name}.attn.qkv", w.layer_norm(f"{name}.norm1", x, self.eps))
        q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, dim=-1))
        attended = w.linear(f"{name}.attn.proj", join_heads(F.scaled_dot_product_attention(q, k, v)))
        x = x + self._scaled(f"{name}.ls1", attended)
        if self.film:
            gamma, beta = w.linear(f"{name}.scale", e_avg), w.linear(f"{name}.shift", e_avg)
            if index in (0, self.depth - 1):
                which = "0" if index == 0 else str(index)
                record(f"film.{self.label}.block{which}.gamma", gamma[0])
                record(f"film.{self.label}.block{which}.beta", beta[0])
            x = x * (1 + gamma.unsqueeze(1)) + beta.unsqueeze(1)
        hidden = w.layer_norm(f"{name}.norm2", x, self.eps)
        return x + self._scaled(f"{name}.ls2", w.mlp(hidden, f"{name}.mlp.fc1", f"{name}.mlp.fc2"))

    def _scaled(self, name: str, x: torch.Tensor) -> torch.Tensor:
        factor = self.weights.get(f"{name}.scale_factor")
        return x if factor is None else x * factor

    def output(self, x: torch.Tensor) -> torch.Tensor:
        """The rows that leave the tower: the learned queries where there are some, else the patches."""
        return x[:, self.prefix :] if self.queries is None else x[:, self.prefix + self.patches :]


def exchange(weights: Weights, vits: tuple[Vit, Vit], x: list[torch.Tensor], pair: int) -> list[torch.Tensor]:
    """Adds to both towers' patches an MLP of the patches of both (dense part of the SH-Fuser)."""
    spans = [slice(vit.prefix, vit.prefix + vit.patches) for vit in vits]
    z = torch.cat([tokens[:, span] for tokens, span in zip(x, spans, strict=True)], dim=-1)
    out = []
    for i, (tokens, span) in enumerate(zip(x, spans, strict=True)):
        name = f"vision_backbone.cross_vit_model.aggregate_proj.{2 * pair + i}"
        tokens = tokens.clone()
        tokens[:, span] += weights.mlp(z, f"{name}.0", f"{name}.2")
        out.append(tokens)
    return out


def text_tower(
    weights: Weights, name: str, ids: torch.Tensor, heads: int, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """SigLIP text ids [1, 64] -> last hidden state [1, 64, width] and mask (`id != 1`) [1, 64]."""
    mask = ids != 1
    embedding = weights[f"{name}.embeddings.token_embedding.weight"]
    x = embedding[ids] + weights[f"{name}.embeddings.position_embedding.weight"][: ids.shape[1]]
    bias = torch.zeros(mask.shape, dtype=x.dtype).masked_fill(~mask, torch.finfo(x.dtype).min)[:, None, None]
    for index in range(weights.count(f"{name}.encoder.layers.{{}}.layer_norm1.weight")):
        layer = f"{name}.encoder.layers.{index}"
        hidden = weights.layer_norm(f"{layer}.layer_norm1", x, eps)
        q, k, v = (split_heads(weights.linear(f"{layer}.self_attn.{p}_proj", hidden), heads) for p in "qkv")
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
        attended = torch.softmax(scores, dim=-1, dtype=at_least_float32(x.dtype)).to(x.dtype) @ v
        x = x + weights.linear(f"{layer}.self_attn.out_proj", join_heads(attended))
        hidden = weights.linear(f"{layer}.mlp.fc1", weights.layer_norm(f"{layer}.layer_norm2", x, eps))
        x = x + weights.linear(f"{layer}.mlp.fc2", F.gelu(hidden, approximate="tanh"))
    return weights.layer_norm(f"{name}.final_layer_norm", x, eps), mask


@dataclass(frozen=True)
class Selection:
    """What the ID-Pruner makes of one image; batch dimension dropped."""

    pooled: torch.Tensor
    """[text_topk, width]"""
    patches: torch.Tensor
    """[vision_topk, width]"""
    similarity: torch.Tensor
    kept_patches: torch.Tensor
    kept_text: torch.Tensor
    patch_scores: torch.Tensor
    text_scores: torch.Tensor


def sample(
    vision: torch.Tensor,
    text: torch.Tensor,
    mask: torch.Tensor,
    vision_topk: int,
    text_topk: int,
    temperature: float,
) -> Selection:
    """ID-Pruner: `vision` [patches, width], `text` [64, width], `mask` [64]. Scores and selection are float32."""
    wide, words = (x.to(at_least_float32(x.dtype)) for x in (vision, text))
    similarity = F.normalize(wide, dim=-1) @ F.normalize(words, dim=-1).T
    similarity = similarity.masked_fill(~mask, -1.0)
    patch_scores, text_scores = similarity.mean(dim=1), similarity.mean(dim=0)
    kept_patches = torch.argsort(patch_scores, descending=True)[:vision_topk].sort().values
    kept_text = torch.argsort(text_scores, descending=True)[: max(text_topk, 0)].sort().values
    # As the reference does it: pool for every text position, then keep the selected rows.
    pooled = torch.softmax(similarity.T / temperature, dim=-1) @ wide if text_topk > 0 else wide[:0]
    return Selection(
        pooled=pooled[kept_text].to(vision.dtype),
        patches=vision[kept_patches],
        similarity=similarity,
        kept_patches=kept_patches,
        kept_text=kept_text,
        patch_scores=patch_scores,
        text_scores=text_scores,
    )


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.to(at_least_float32(x.dtype))
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * wide.to(x.dtype)


def rotary_tables(length: int, head_dim: int, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [length, head_dim] of the half-split layout, float32."""
    inverse = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim)
    angles = torch.outer(torch.arange(length).float(), inverse)
    angles = torch.cat([angles, angles], dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


@dataclass(frozen=True)
class Llama:
    weights: Weights
    heads: int
    kv_heads: int
    eps: float
    theta: float

    name = "language_model.model"

    @property
    def depth(self) -> int:
        return self.weights.count(f"{self.name}.layers.{{}}.input_layernorm.weight")

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids, self.weights[f"{self.name}.embed_tokens.weight"])

    def forward(self, x: torch.Tensor, allowed: torch.Tensor | None, record: Recorder) -> torch.Tensor:
        """[1, L, D] -> hidden states after the final RMSNorm. `allowed` [L, L]: who may attend; None = everybody."""
        length, w = x.shape[1], self.weights
        head_dim = w[f"{self.name}.layers.0.self_attn.q_proj.weight"].shape[0] // self.heads
        cos, sin = (table.to(x.dtype) for table in rotary_tables(length, head_dim, self.theta))
        bias = None
        if allowed is not None:
            bias = torch.zeros(length, length, dtype=x.dtype).masked_fill(~allowed, torch.finfo(x.dtype).min)
        for index in range(self.depth):
            layer = f"{self.name}.layers.{index}"
            hidden = rms_norm(x, w[f"{layer}.input_layernorm.weight"], self.eps)
            q = rotate(split_heads(w.linear(f"{layer}.self_attn.q_proj", hidden), self.heads), cos, sin)
            k = rotate(split_heads(w.linear(f"{layer}.self_attn.k_proj", hidden), self.kv_heads), cos, sin)
            v = split_heads(w.linear(f"{layer}.self_attn.v_proj", hidden), self.kv_heads)
            if self.kv_heads != self.heads:
                k, v = (part.repeat_interleave(self.heads // self.kv_heads, dim=1) for part in (k, v))
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            x = x + w.linear(f"{layer}.self_attn.o_proj", join_heads(attended))
            hidden = rms_norm(x, w[f"{layer}.post_attention_layernorm.weight"], self.eps)
            gate = F.silu(w.linear(f"{layer}.mlp.gate_proj", hidden))
            x = x + w.linear(f"{layer}.mlp.down_proj", gate * w.linear(f"{layer}.mlp.up_proj", hidden))
            if index + 1 < self.depth:
                record(f"llm.hidden{index + 1}", x[0])
        x = rms_norm(x, w[f"{self.name}.norm.weight"], self.eps)
        record(f"llm.hidden{self.depth}", x[0])
        return x


def attention_mask(length: int, free: int) -> torch.Tensor:
    """[L, L] bool: causal, and the last `free` rows attend to each other whatever their order."""
    allowed = torch.ones(length, length, dtype=torch.bool).tril()
    allowed[-free:, -free:] = True
    return allowed


def mlp_res_net(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    """One head of the SA-Coupler: LN - fc1 - ReLU - residual blocks (LN - fc - ReLU) - LN - fc2; LN eps 1e-5."""
    x = F.relu(weights.linear(f"{name}.fc1", weights.layer_norm(f"{name}.layer_norm1", x, 1e-5)))
    for index in range(weights.count(f"{name}.mlp_resnet_blocks.{{}}.ffn.0.weight")):
        block = f"{name}.mlp_resnet_blocks.{index}.ffn"
        x = x + F.relu(weights.linear(f"{block}.1", weights.layer_norm(f"{block}.0", x, 1e-5)))
    return weights.linear(f"{name}.fc2", weights.layer_norm(f"{name}.layer_norm2", x, 1e-5))
