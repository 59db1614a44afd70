"""The policy once more, batched and trainable: a twin of bench/reference/policy.py, which is one observation at a time.

What differs from it: sentences of different lengths share a batch (prompts padded on the left, the padding masked, with
its own positions), the pruner reads the text tokens in use only, and linear layers can multiply in bfloat16. What is
pruned is pruned from the first step on: top-k, gradients flow through the patches that stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from reference import Variant
from variant import EMBEDDING, Tensors
from vocabulary import PADDING, POSITIONS, Vocabulary

MEANS = ((0.484375, 0.455078125, 0.40625), (0.5, 0.5, 0.5))
STDS = ((0.228515625, 0.2236328125, 0.224609375), (0.5, 0.5, 0.5))
PATCH = 14
PREFIX = (5, 0)
"""cls and register tokens of the two towers."""
LEAST = torch.finfo(torch.float32).min


class _Half(torch.autograd.Function):
    """A linear layer whose products are bfloat16 and whose values and gradients are float32."""

    @staticmethod
    def forward(ctx, x, weight, bias):  # noqa: ANN001, ANN205
        rows, narrow = x.flatten(0, -2).bfloat16(), weight.bfloat16()
        ctx.save_for_backward(rows, narrow)
        ctx.shape, ctx.has_bias = x.shape, bias is not None
        y = (rows @ narrow.t()).float()
        return (y if bias is None else y.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, gradient):  # noqa: ANN001, ANN205
        rows, narrow = ctx.saved_tensors
        gradient = gradient.flatten(0, -2)
        half = gradient.bfloat16()
        for_x = (half @ narrow).float().view(ctx.shape) if ctx.needs_input_grad[0] else None
        return for_x, (half.t() @ rows).float(), gradient.sum(0) if ctx.has_bias else None


@dataclass
class Looked:
    """What the auxiliary losses and the evaluation look at, for B observations of I images."""

    scores: torch.Tensor
    """[B, I, patches]: the pruner's."""
    kept: torch.Tensor
    """[B, I, keep], ascending."""
    position: torch.Tensor
    """[B, 3]: where the named object is, relative to the gripper."""
    pixels: torch.Tensor
    """[B, I, objects + 1, 2]: where the objects and, last, the named one are in the image."""


class Twin(nn.Module):
    """Weights by canonical name, of the embedding table the vocabulary's rows; `objects`: of the auxiliary head."""

    def __init__(self, variant: Variant, vocabulary: Vocabulary, weights: Tensors, objects: int) -> None:
        super().__init__()
        self.variant, self.vocabulary = variant, vocabulary
        self.half = False
        self._table = weights[EMBEDDING].shape
        self.names = list(weights)
        rows = torch.tensor(vocabulary.rows)
        self._parameters_in_order = nn.ParameterList(
            [
                nn.Parameter((value[rows] if name == EMBEDDING else value).float().clone())
                for name, value in weights.items()
            ]
        )
        self.to_position = nn.Linear(variant.language.width, 3)
        self.to_pixels = nn.Linear(variant.dinov2.width * variant.dinov2.queries, 2 * (objects + 1))
        self.w: Tensors = dict(zip(self.names, self._parameters_in_order, strict=True))

    def tensors(self) -> Tensors:
        """Copies of the policy's weights, the embedding table whole."""
        out = {name: parameter.detach().clone() for name, parameter in self.w.items()}
        table = torch.zeros(self._table)
        table[self.vocabulary.rows] = out[EMBEDDING]
        return out | {EMBEDDING: table}

    def forward(
        self, images: torch.Tensor, states: torch.Tensor, sentences: torch.Tensor
    ) -> tuple[torch.Tensor, Looked]:
        """Normalized actions [B, C, A] of images [B, I, S, S, 3] in 0..255, normalized states [B, d], sentences [B]."""
        batch, cameras = images.shape[:2]
        length = int(self.vocabulary.lengths[sentences].max())
        prompt = self.vocabulary.prompts[sentences][:, -length:]
        real = torch.arange(length - 1, -1, -1) < self.vocabulary.lengths[sentences][:, None]
        table = self.w[EMBEDDING]
        first, stop = table[self.vocabulary.first], table[self.vocabulary.stop]
        words = F.embedding(prompt, table) * real[..., None]
        mean = (words.sum(1) + first + stop) / (real.sum(1, keepdim=True) + 2)

        queries, patches = self._towers(images.flatten(0, 1).float() / 255, mean.repeat_interleave(cameras, 0))
        pooled, kept_rows, scores, kept = self._prune(patches, sentences, cameras)
        fused = self._mlp(torch.cat([queries, kept_rows], -1), "projector.fc1", "projector.fc2", "projector.fc3")
        seen = torch.cat([pooled, fused], 1).unflatten(0, (batch, cameras)).flatten(1, 2)
        state = self._mlp(states, "proprio_projector.fc1", "proprio_projector.fc2")[:, None]

        actions = self.variant.chunk * self.variant.steps_tokens
        begin, blank = first.expand(batch, 1, -1), torch.zeros(batch, actions, table.shape[1])
        sequence = torch.cat([begin, seen, state, words, blank, stop.expand(batch, 1, -1)], 1)
        there = torch.ones(sequence.shape[:2], dtype=torch.bool)
        there[:, 2 + seen.shape[1] : 2 + seen.shape[1] + length] = real
        hidden = self._language(sequence, there, actions + 1)
        # The window starts at the last prompt token: a row predicts what comes after it.
        window = hidden[:, -actions - 2 : -2]
        looked = Looked(
            scores=scores.unflatten(0, (batch, cameras)),
            kept=kept.unflatten(0, (batch, cameras)),
            position=self.to_position(window.mean(1)),
            pixels=self.to_pixels(queries.flatten(1)).view(batch, cameras, -1, 2),
        )
        return self._heads(window.unflatten(1, (self.variant.chunk, -1)).flatten(2)), looked

    def _linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return _Half.apply(x, weight, bias) if self.half else F.linear(x, weight, bias)

    def _layer(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return self._linear(x, self.w[f"{name}.weight"], self.w.get(f"{name}.bias"))

    def _mlp(self, x: torch.Tensor, *names: str) -> torch.Tensor:
        for index, name in enumerate(names):
            x = self._layer(F.gelu(x) if index else x, name)
        return x

    def _norm(self, x: torch.Tensor, name: str, eps: float = 1e-6) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], self.w[f"{name}.weight"], self.w[f"{name}.bias"], eps)

    def _towers(self, images: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[N, S, S, 3] in 0..1 -> DINOv2's queries [N, Q, w], SigLIP's patches [N, P, w]."""
        count = images.shape[1] // PATCH
        pieces = images.unflatten(2, (count, PATCH)).unflatten(1, (count, PATCH))
        pieces = pieces.permute(0, 1, 3, 5, 2, 4).flatten(1, 2)
        number = count * count
        x = [self._embed(pieces, 0), self._embed(pieces, 1)]
        done = [0, 0]
        for pair, ends in enumerate([*self.variant.exchange, (-1, -1)]):
            for tower, end in enumerate(ends):
                for block in range(done[tower], end + 1 if end >= 0 else self.variant.towers[tower][1].depth):
                    x[tower] = self._block(x[tower], tower, block, mean)
                done[tower] = end + 1
            if pair < len(self.variant.exchange):
                spans = [tokens[:, start : start + number] for tokens, start in zip(x, PREFIX, strict=True)]
                both = torch.cat(spans, -1)
                for tower, start in enumerate(PREFIX):
                    name = f"vision_backbone.cross_vit_model.aggregate_proj.{2 * pair + tower}"
                    mixed = spans[tower] + self._mlp(both, f"{name}.0", f"{name}.2")
                    x[tower] = torch.cat([x[tower][:, :start], mixed, x[tower][:, start + number :]], 1)
        return x[0][:, PREFIX[0] + number :], x[1]

    def _embed(self, pieces: torch.Tensor, tower: int) -> torch.Tensor:
        """[N, P, 3, 14, 14] -> all tokens of one tower."""
        name = f"vision_backbone.{self.variant.towers[tower][0]}"
        mean, std = (torch.tensor(values[tower]).view(3, 1, 1) for values in (MEANS, STDS))
        kernel = self.w[f"{name}.patch_embed.proj.weight"].flatten(1)
        x = self._linear(((pieces - mean) / std).flatten(2), kernel, self.w[f"{name}.patch_embed.proj.bias"])
        x = x + self.w[f"{name}.pos_embed"]
        if tower == 1:
            return x
        wide = (len(x), -1, -1)
        prefix = [self.w[f"{name}.{part}_token"].expand(wide) for part in ("cls", "reg")]
        return torch.cat([*prefix, x, self.w["vision_backbone.vision_queries"].expand(wide)], 1)

    def _block(self, x: torch.Tensor, tower: int, index: int, mean: torch.Tensor) -> torch.Tensor:
        label, sizes = self.variant.towers[tower]
        name = f"vision_backbone.{label}.blocks.{index}"
        qkv = self._layer(self._norm(x, f"{name}.norm1"), f"{name}.attn.qkv")
        q, k, v = (_split(part, sizes.heads) for part in qkv.chunk(3, -1))
        x = x + self._scaled(
            self._layer(_join(F.scaled_dot_product_attention(q, k, v)), f"{name}.attn.proj"), f"{name}.ls1"
        )
        if sizes.film:
            gamma, beta = self._layer(mean, f"{name}.scale"), self._layer(mean, f"{name}.shift")
            x = x * (1 + gamma[:, None]) + beta[:, None]
        hidden = self._mlp(self._norm(x, f"{name}.norm2"), f"{name}.mlp.fc1", f"{name}.mlp.fc2")
        return x + self._scaled(hidden, f"{name}.ls2")

    def _scaled(self, x: torch.Tensor, name: str) -> torch.Tensor:
        factor = self.w.get(f"{name}.scale_factor")
        return x if factor is None else x * factor

    def _text(self, sentences: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Projected text tokens [B, T, w] and which of them are words [B, T]."""
        ids = self.vocabulary.words[sentences]
        mask = ids != PADDING
        text = self.variant.text
        assert text is not None
        name = "vision_backbone.fused_featurizer_mm_sampler"
        stem = f"{name}.text_encoder.text_model"
        x = self.w[f"{stem}.embeddings.token_embedding.weight"][ids]
        x = x + self.w[f"{stem}.embeddings.position_embedding.weight"][: ids.shape[1]]
        bias = torch.zeros(mask.shape).masked_fill(~mask, LEAST)[:, None, None]
        for index in range(text.layers):
            layer = f"{stem}.encoder.layers.{index}"
            hidden = self._norm(x, f"{layer}.layer_norm1")
            q, k, v = (_split(self._layer(hidden, f"{layer}.self_attn.{part}_proj"), text.heads) for part in "qkv")
            weight = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias, -1)
            x = x + self._layer(_join(weight @ v), f"{layer}.self_attn.out_proj")
            hidden = self._layer(self._norm(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1")
            x = x + self._layer(F.gelu(hidden, approximate="tanh"), f"{layer}.mlp.fc2")
        x = self._norm(x, f"{stem}.final_layer_norm")
        return self._mlp(x, f"{name}.text_post_projector.0", f"{name}.text_post_projector.2"), mask

    def _prune(
        self, patches: torch.Tensor, sentences: torch.Tensor, cameras: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """ID-Pruner: pooled rows [N, pool, D], kept patches [N, keep, w], patch scores [N, P], kept [N, keep]."""
        sampler = self.variant.siglip.sampler
        assert sampler is not None
        text, mask = (part.repeat_interleave(cameras, 0) for part in self._text(sentences))
        similarity = F.normalize(patches, dim=-1) @ F.normalize(text, dim=-1).transpose(1, 2)
        similarity = similarity.masked_fill(~mask[:, None], -1.0)
        # The mean over all positions, of which those that were cut off are -1.
        scores = (similarity.sum(2) - (POSITIONS - text.shape[1])) / POSITIONS
        kept = scores.topk(sampler.vision_topk, 1).indices.sort(1).values
        kept_text = similarity.mean(1).topk(sampler.text_topk, 1).indices.sort(1).values
        chosen = similarity.transpose(1, 2).gather(1, kept_text[..., None].expand(-1, -1, patches.shape[1]))
        pooled = torch.softmax(chosen / (sampler.temperature or 1.0), -1) @ patches
        rows = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[2]))
        name = "fused_featurizer_sampler_proj"
        return self._mlp(pooled, f"{name}.fc1", f"{name}.fc2"), rows, scores, kept

    def _language(self, x: torch.Tensor, there: torch.Tensor, free: int) -> torch.Tensor:
        """[B, L, D] -> hidden states after the final RMSNorm; causal but for the last `free` rows, padding masked."""
        language = self.variant.language
        length = x.shape[1]
        allowed = torch.ones(length, length, dtype=torch.bool).tril()
        allowed[-free:, -free:] = True
        # A padded row attends to itself, so that its softmax has something to sum.
        allowed = (allowed & there[:, None]) | torch.eye(length, dtype=torch.bool)
        bias = torch.zeros(allowed.shape).masked_fill(~allowed, LEAST)[:, None]
        cos, sin = _rotary(there.long().cumsum(1) - 1, language.width // language.heads)
        eps = language.eps or 1e-6
        for index in range(language.layers):
            layer = f"language_model.model.layers.{index}"
            hidden = _rms(x, self.w[f"{layer}.input_layernorm.weight"], eps)
            q, k, v = (_split(self._layer(hidden, f"{layer}.self_attn.{part}_proj"), language.heads) for part in "qkv")
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
            x = x + self._layer(_join(attended), f"{layer}.self_attn.o_proj")
            hidden = _rms(x, self.w[f"{layer}.post_attention_layernorm.weight"], eps)
            gated = F.silu(self._layer(hidden, f"{layer}.mlp.gate_proj")) * self._layer(hidden, f"{layer}.mlp.up_proj")
            x = x + self._layer(gated, f"{layer}.mlp.down_proj")
        return _rms(x, self.w["language_model.model.norm.weight"], eps)

    def _heads(self, rows: torch.Tensor) -> torch.Tensor:
        """SA-Coupler: [B, C, H * D] -> [B, C, A]"""
        parts = []
        for head in ("model_trans", "model_rot", "model_grip"):
            name = f"action_head.{head}"
            x = F.relu(self._layer(self._norm(rows, f"{name}.layer_norm1", 1e-5), f"{name}.fc1"))
            for index in range(2):
                block = f"{name}.mlp_resnet_blocks.{index}.ffn"
                x = x + F.relu(self._layer(self._norm(x, f"{block}.0", 1e-5), f"{block}.1"))
            parts.append(self._layer(self._norm(x, f"{name}.layer_norm2", 1e-5), f"{name}.fc2"))
        return torch.cat(parts, -1)


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _join(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


def _rms(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def _rotary(positions: torch.Tensor, width: int, theta: float = 10000.0) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [B, 1, L, width] of the half-split layout."""
    inverse = 1.0 / theta ** (torch.arange(0, width, 2, dtype=torch.int64).float() / width)
    angles = positions.float()[..., None] * inverse
    angles = torch.cat([angles, angles], -1)[:, None]
    return angles.cos(), angles.sin()


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin
