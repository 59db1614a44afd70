"""An independent PyTorch twin of the policy: baseline of the CPU benchmarks, oracle of variants without goldens.

It computes what the reference computes on every call, in the reference's flow: one camera after the other, the text
tower once per camera and sampler, FiLM and the mean prompt embedding every time, logits over the whole vocabulary.
Stage names and shapes are those of test/golden/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from checkpoint import Checkpoint, read_checkpoint, read_json, vit_heads
from model import (
    Llama,
    Recorder,
    Vit,
    Weights,
    at_least_float32,
    attention_mask,
    exchange,
    ignore,
    mlp_res_net,
    sample,
    text_tower,
)

TOWERS = (("featurizer", "dinov2"), ("fused_featurizer", "siglip"))
STOP_ID = 2


@dataclass(frozen=True)
class Sampler:
    """ID-Pruner on one tower: its settings and the text tower that steers it."""

    name: str
    vision_topk: int
    text_topk: int
    temperature: float
    heads: int
    eps: float


def exchange_pairs(config: dict) -> list[list[int]] | None:
    """Blocks after which the towers exchange patches; None without the exchange."""
    if not config.get("enable_cross_vit_interact", False):
        return None
    pairs = config.get("cross_vit_target_pairs")
    return [[1, 1], [-2, -2]] if pairs is None else pairs


class Policy:
    """One loaded policy. `chunk` (C) is the caller's; `discrete` ignores an action head that is there.

    lean=True leaves out what the reference computes and does not use: the logits under a regression head, the last
    blocks where the second-to-last are taken, the text tower of a sentence that it has seen.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        chunk: int,
        discrete: bool = False,
        action_dim: int | None = None,
        lean: bool = False,
    ) -> None:
        config = checkpoint.config
        weights = Weights(checkpoint.tensors)
        self.checkpoint, self.weights, self.chunk = checkpoint, weights, chunk
        self.discrete = discrete or not any(name.startswith("action_head.") for name in checkpoint.tensors)
        self._lean = lean
        # Files made for tests may lack the output layer where the head is a regression.
        has_output_layer = "language_model.lm_head.weight" in weights
        self.computes_logits = self.discrete or (has_output_layer and not lean)
        self._texts: dict[tuple[str, tuple[int, ...]], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

        # The absence of the SemanticVLA keys is what marks OpenVLA-OFT (docs/model.md, Variants).
        self.is_oft = "featurizer_cfg" not in config
        settings = [config.get(f"{tower}_cfg", {}) for tower, _ in TOWERS]
        self.vits = tuple(
            Vit(
                weights=weights,
                name=f"vision_backbone.{tower}",
                label=label,
                heads=vit_heads(config, index),
                queries=weights.get(f"vision_backbone.vision_queries{'_fused' if index else ''}"),
            )
            for index, (tower, label) in enumerate(TOWERS)
        )
        self.samplers = tuple(
            self._sampler(f"vision_backbone.{tower}_mm_sampler", tower_settings)
            for (tower, _), tower_settings in zip(TOWERS, settings, strict=True)
        )
        self.exchange_pairs = exchange_pairs(config)
        self.aggregation: str = config.get("vision_aggregate_type", "concat")

        text = config["text_config"]
        self.llama = Llama(
            weights=weights,
            heads=text.get("num_attention_heads", 32),
            kv_heads=text.get("num_key_value_heads") or text.get("num_attention_heads", 32),
            eps=text.get("rms_norm_eps", 1e-6),
            theta=text.get("rope_theta", 10000.0),
        )
        self.token_vocabulary: int = text["vocab_size"] - config["pad_to_multiple_of"]
        self.bins: int = config.get("n_action_bins", 256)
        self.action_dim = action_dim or self._head_outputs()
        tokens = config.get("num_action_tokens", -1)
        self.tokens_per_step: int = self.action_dim if tokens == -1 else tokens

    @property
    def dtype(self) -> torch.dtype:
        return self.weights["language_model.model.norm.weight"].dtype

    def _sampler(self, name: str, settings: dict) -> Sampler | None:
        if not settings.get("use_mm_sampler"):
            return None
        assert self.checkpoint.text_folder is not None
        text = read_json(self.checkpoint.text_folder / "config.json")["text_config"]
        return Sampler(
            name=name,
            vision_topk=settings["vision_topk"],
            text_topk=settings["text_topk"],
            temperature=settings.get("temp", 1.0),
            heads=text.get("num_attention_heads", 12),
            eps=text.get("layer_norm_eps", 1e-6),
        )

    def _head_outputs(self) -> int:
        heads = ("model", "model_trans", "model_rot", "model_grip")
        biases = (self.weights.get(f"action_head.{head}.fc2.bias") for head in heads)
        outputs = sum(bias.shape[0] for bias in biases if bias is not None)
        if outputs == 0:
            raise ValueError("a policy without an action head needs action_dim: the statistics tell it")
        return outputs

    def forward(
        self,
        images: np.ndarray,
        proprio: np.ndarray | None,
        prompt_ids: Sequence[int],
        siglip_ids: Sequence[int] | None,
        record: Recorder = ignore,
    ) -> np.ndarray:
        """Normalized actions [C, A].

        images: uint8 [I, S, S, 3], RGB, cropped, of the towers' input size; proprio: normalized [d] or None for no
        token; prompt_ids: P ids; siglip_ids: 64 ids or None; record: called with every stage, batch dimension dropped.
        """
        return self.run([self.pixels(image) for image in images], proprio, prompt_ids, siglip_ids, record)

    @torch.inference_mode()
    def run(
        self,
        pixels: Sequence[tuple[torch.Tensor, torch.Tensor]],
        proprio: np.ndarray | None,
        prompt_ids: Sequence[int],
        siglip_ids: Sequence[int] | None,
        record: Recorder = ignore,
    ) -> np.ndarray:
        """`forward` from normalized pixels on, one pair (DINOv2, SigLIP) a camera."""
        dtype = self.dtype
        action_tokens = self.chunk * self.tokens_per_step
        prompt = len(prompt_ids)
        # Which id the placeholders have does not matter: their embeddings are zeroed.
        ids = torch.tensor([[*prompt_ids, *[STOP_ID] * action_tokens, STOP_ID]])
        embeddings = self.llama.embed(ids)
        language = torch.cat([embeddings[:, :prompt], embeddings[:, -1:]], dim=1)
        embeddings = embeddings.clone()
        embeddings[:, prompt:-1] = 0
        e_avg = language.mean(dim=1)
        record("prompt.ids", ids[0, :prompt])
        record("e_avg", e_avg[0])

        text_ids = None if siglip_ids is None else torch.tensor([list(siglip_ids)])
        tokens = []
        for index, pair in enumerate(pixels):

            def named(name: str, tensor: torch.Tensor, prefix: str = f"image{index}.") -> None:
                shared = name.startswith(("film.", "siglip_text.", "dinov2.siglip_text."))
                record(name if shared else prefix + name, tensor)

            tokens.append(self._camera(pair, e_avg, text_ids, named))
        if self.is_oft:
            record("vision_tokens", torch.cat(tokens, dim=1)[0])
        if proprio is not None:
            state = torch.from_numpy(np.asarray(proprio, dtype=np.float32)).to(dtype)[None]
            record("proprio.normalized", state[0])
            token = self.weights.mlp(state, "proprio_projector.fc1", "proprio_projector.fc2")
            record("proprio.token", token[0])
            tokens.append(token[:, None])

        sequence = torch.cat([embeddings[:, :1], *tokens, embeddings[:, 1:]], dim=1)
        record("llm.inputs_embeds", sequence[0])
        length = sequence.shape[1]
        allowed = None if self.is_oft else attention_mask(length, action_tokens + 1)
        record("llm.attention_mask", torch.ones(length, length) if allowed is None else allowed)
        hidden = self.llama.forward(sequence, allowed, record)
        # The window starts at the last prompt token: a row predicts what comes after it.
        start = length - embeddings.shape[1] + prompt - 1
        window = hidden[:, start : start + action_tokens]
        record("llm.window", window[0])
        logits = self.weights.linear("language_model.lm_head", hidden).float() if self.computes_logits else None
        if self.discrete:
            assert logits is not None
            rows = logits[0, start : start + action_tokens]
            record("logits_sorted", rows.sort(dim=-1, descending=True).values[:, :2])
            return self._decode(rows)
        actions = self._actions(window.reshape(1, self.chunk, -1), record)[0]
        record("actions.normalized", actions)
        return actions.to(at_least_float32(actions.dtype)).numpy()

    def pixels(self, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """[S, S, 3] uint8 -> the two towers' pixel values [1, 3, S, S]."""
        unit = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous().float().div(255)
        out = []
        settings = self.checkpoint.preprocessor
        for mean, std in zip(settings["means"], settings["stds"], strict=True):
            mean, std = (torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std))
            out.append(((unit - mean) / std).to(self.dtype)[None])
        return out[0], out[1]

    def _camera(
        self,
        pixels: tuple[torch.Tensor, torch.Tensor],
        e_avg: torch.Tensor,
        text_ids: torch.Tensor | None,
        record: Recorder,
    ) -> torch.Tensor:
        """One image through both towers, pruners and fusers -> [1, n, D] tokens for the language model."""
        for vit, values in zip(self.vits, pixels, strict=True):
            record(f"pixel_values.{vit.label}", values[0])
        features = self._towers(pixels, e_avg, record)
        pooled: list[torch.Tensor] = []
        for index, (sampler, vit) in enumerate(zip(self.samplers, self.vits, strict=True)):
            if sampler is None:
                continue
            assert text_ids is not None
            chosen, kept = self._sample(sampler, vit, features[index], text_ids, record)
            features[index] = kept
            if sampler.text_topk > 0:
                name = f"{TOWERS[index][0]}_sampler_proj"
                projected = self.weights.mlp(chosen, f"{name}.fc1", f"{name}.fc2")
                pooled.insert(0, projected)  # SigLIP's stand before DINOv2's
                record(self._sampler_stage(vit) + "pooled_tokens", projected[0])
        fused = self._fuse(features, e_avg)
        if not self.is_oft:
            record("fused_tokens", fused[0])
        return torch.cat([*pooled, fused], dim=1)

    def _towers(
        self, pixels: tuple[torch.Tensor, torch.Tensor], e_avg: torch.Tensor, record: Recorder
    ) -> list[torch.Tensor]:
        """Rows that leave the towers: last block with the exchange, second-to-last without; no final norm."""
        x = [vit.embed(values) for vit, values in zip(self.vits, pixels, strict=True)]
        for vit, tokens in zip(self.vits, x, strict=True):
            record(f"{vit.label}.embedded", tokens[0])
        start, out, is_kept = [0, 0], [None, None], [False, False]
        crosses = self.exchange_pairs is not None
        ran = [[0] * vit.depth for vit in self.vits]

        def advance(i: int, end: int) -> None:
            """Blocks start[i] .. end - 1 as a Python range of indices: none, or the last ones first, where they are negative."""
            vit = self.vits[i]
            for index in range(start[i], end):
                block = range(vit.depth)[index]
                x[i] = vit.block(block, x[i], e_avg, record)
                ran[i][block] += 1
                again = f"_run{ran[i][block]}" if ran[i][block] > 1 else ""
                record(f"{vit.label}.block{block}{again}", x[i][0])
                # the tokens that leave are those of the first time; an exchange right after writes into them
                is_kept[i] = out[i] is None and index == vit.depth - (1 if crosses else 2)
                if is_kept[i]:
                    out[i] = x[i]
            start[i] = end

        for pair, blocks in enumerate(self.exchange_pairs or []):
            for i in range(2):
                advance(i, blocks[i] + 1)
            x = exchange(self.weights, self.vits, x, pair)
            for i, vit in enumerate(self.vits):
                if is_kept[i]:
                    out[i] = x[i]
                record(f"{vit.label}.patches_after_exchange{pair}", x[i][0, vit.prefix : vit.prefix + vit.patches])
        for i, vit in enumerate(self.vits):
            # Without the exchange the reference runs the last block too and drops what comes out.
            advance(i, vit.depth - (1 if self._lean and not crosses else 0))
        out = [vit.output(tokens) for vit, tokens in zip(self.vits, out, strict=True)]
        for vit, tokens in zip(self.vits, out, strict=True):
            record(f"{vit.label}.final", tokens[0])
        return out

    def _sample(
        self, sampler: Sampler, vit: Vit, vision: torch.Tensor, text_ids: torch.Tensor, record: Recorder
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Text tower and ID-Pruner of one tower -> pooled [1, text_topk, w] and kept [1, vision_topk, w] rows."""
        mark = self._sampler_stage(vit)
        hidden, mask, text = self._text(sampler, text_ids)
        record(f"{mark}siglip_text.ids", text_ids[0])
        record(f"{mark}siglip_text.mask", mask[0])
        record(f"{mark}siglip_text.hidden", hidden[0])
        record(f"{mark}siglip_text.projected", text[0])
        selection = sample(vision[0], text[0], mask[0], sampler.vision_topk, sampler.text_topk, sampler.temperature)
        record(f"{mark}similarity", selection.similarity)
        record(f"{mark}kept_patches", selection.kept_patches)
        record(f"{mark}kept_text", selection.kept_text)
        record(f"{mark}patches_scores_sorted", selection.patch_scores.sort(descending=True).values)
        record(f"{mark}text_scores_sorted", selection.text_scores.sort(descending=True).values)
        record(f"{mark}sampler.output", torch.cat([selection.pooled, selection.patches]))
        return selection.pooled[None], selection.patches[None]

    def _text(self, sampler: Sampler, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Last hidden state, mask and projected tokens of the sentence."""
        key = (sampler.name, tuple(ids[0].tolist()))
        if self._lean and key in self._texts:
            return self._texts[key]
        name = f"{sampler.name}.text_encoder.text_model"
        hidden, mask = text_tower(self.weights, name, ids, sampler.heads, sampler.eps)
        projector = f"{sampler.name}.text_post_projector"
        out = (hidden, mask, self.weights.mlp(hidden, f"{projector}.0", f"{projector}.2"))
        if self._lean:
            self._texts[key] = out
        return out

    def _sampler_stage(self, vit: Vit) -> str:
        """Stages of DINOv2's sampler are marked where SigLIP has one too; the reference's names tell no tower."""
        return "dinov2." if vit.label == "dinov2" and self.samplers[1] is not None else ""

    def _fuse(self, features: list[torch.Tensor], e_avg: torch.Tensor) -> torch.Tensor:
        w = self.weights
        if self.aggregation == "concat":
            return w.mlp(torch.cat(features, dim=-1), "projector.fc1", "projector.fc2", "projector.fc3")
        if self.aggregation != "moe":
            raise ValueError(f"vision_aggregate_type: expected concat or moe, found {self.aggregation}")
        ratios = torch.softmax(w.mlp(e_avg, "moe_router.router.0", "moe_router.router.2"), dim=-1)
        experts = [
            w.mlp(tokens, f"{tower}_proj.fc1", f"{tower}_proj.fc2")
            for (tower, _), tokens in zip(TOWERS, features, strict=True)
        ]
        return ratios[:, 0].view(-1, 1, 1) * experts[0] + ratios[:, 1].view(-1, 1, 1) * experts[1]

    def _actions(self, rows: torch.Tensor, record: Recorder) -> torch.Tensor:
        """[1, C, H * D] -> [1, C, A]"""
        w = self.weights
        if "action_head.model.fc1.weight" in w:
            out = mlp_res_net(w, "action_head.model", rows)
            record("head.model", out[0])
            return out
        parts = {
            name: mlp_res_net(w, f"action_head.{name}", rows) for name in ("model_trans", "model_rot", "model_grip")
        }
        for name, part in parts.items():
            record(f"head.{name}", part[0])
        arms = parts["model_grip"].shape[-1]
        by_arm = [part.chunk(arms, dim=-1) for part in parts.values()]
        return torch.cat([piece for arm in zip(*by_arm, strict=True) for piece in arm], dim=-1)

    def _decode(self, logits: torch.Tensor) -> np.ndarray:
        """Discrete tokens [C * A, vocabulary] -> bin centres [C, A], float64."""
        edges = np.linspace(-1, 1, self.bins)
        centres = (edges[:-1] + edges[1:]) / 2
        bins = np.clip(self.token_vocabulary - logits.argmax(dim=-1).numpy() - 1, 0, len(centres) - 1)
        return centres[bins].reshape(self.chunk, self.action_dim)


def load(
    folder: Path | str,
    *,
    chunk: int,
    dtype: torch.dtype = torch.float32,
    discrete: bool = False,
    action_dim: int | None = None,
    lean: bool = False,
    rounding: str = "bfloat16",
) -> Policy:
    """Reads a trained policy folder; weights and activations are `dtype`. `rounding`: see read_checkpoint."""
    checkpoint = read_checkpoint(folder, dtype, rounding)
    return Policy(checkpoint, chunk=chunk, discrete=discrete, action_dim=action_dim, lean=lean)
