"""What takes a step: Muon for the hidden matrices, AdamW for everything else.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by about the nearest
matrix of orthonormal rows, so that no direction of it learns much faster than another. Its update is scaled to the size
of AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both share a learning rate but for `hiddenRate` of the task.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch

from twin import Twin

MOMENTUM = 0.95
ITERATIONS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)
"""Brings singular values from 0..1 to 0.7..1.2 in five iterations: fast at 0 rather than exact at 1."""
ADAM_SIZE = 0.2
"""Root mean square of AdamW's updates."""


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """[N, a, b], a <= b: the same singular vectors, singular values near 1, but for those below 0.01 of the norm."""
    first, second, third = QUINTIC
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=second, alpha=third), x, beta=first)
    return x


class Muon(torch.optim.Optimizer):
    """Of matrices only; those of one shape are orthogonalized together."""

    def __init__(self, parameters: list[torch.nn.Parameter], rate: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": rate, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = defaultdict(list)
            for one in group["params"]:
                if one.grad is None:
                    continue
                state = self.state[one]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(one)
                momentum = state["momentum"].lerp_(one.grad, 1 - MOMENTUM)
                ahead = one.grad.lerp(momentum, MOMENTUM)
                is_tall = one.shape[0] > one.shape[1]
                by_shape[one.shape if not is_tall else one.shape[::-1]].append(
                    (one.mT if is_tall else one, ahead.mT if is_tall else ahead)
                )
            for shape, pairs in by_shape.items():
                updates = orthogonalized(torch.stack([ahead for _, ahead in pairs]))
                for (wide, _), update in zip(pairs, updates, strict=True):
                    wide.mul_(1 - group["lr"] * group["weight_decay"])
                    wide.add_(update, alpha=-group["lr"] * ADAM_SIZE * max(shape) ** 0.5)


def optimizers_of(twin: Twin, training: dict[str, Any]) -> list[torch.optim.Optimizer]:
    """Embeddings, positions and tokens are tables of vectors, not maps between spaces: AdamW has them too."""

    def is_hidden(name: str, one: torch.nn.Parameter) -> bool:
        return one.ndim == 2 and not any(word in name for word in ("embed", "embeddings", "_token", "queries"))

    hidden = [one for name, one in twin.w.items() if is_hidden(name, one)]
    taken = {id(one) for one in hidden}
    rest = [one for one in twin.parameters() if id(one) not in taken]
    decay = training["weightDecay"]
    groups = [
        {"params": [one for one in rest if one.ndim > 1], "weight_decay": decay},
        {"params": [one for one in rest if one.ndim <= 1], "weight_decay": 0.0},
    ]
    rate = training["learningRate"]
    adam = torch.optim.AdamW(groups, lr=rate, betas=tuple(training["betas"]))
    return [Muon(hidden, rate * training["hiddenRate"], decay), adam]


def set_rate(optimizers: list[torch.optim.Optimizer], rate: float, training: dict[str, Any]) -> None:
    muon, adam = optimizers
    for optimizer, factor in ((muon, training["hiddenRate"]), (adam, 1.0)):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
