"""Muon's update beside a singular value decomposition, as JSON on the last line: checkOptimizers.py"""

from __future__ import annotations

import json

import torch

from optimizers import ADAM_SIZE, Muon, orthogonalized

RATE, DECAY = 0.01, 0.1


def matrices(count: int, rows: int, columns: int) -> torch.Tensor:
    """Singular values from 1 down to 0.1: what the iterations bring near 1."""
    u, _, v = torch.linalg.svd(torch.randn(count, rows, columns), full_matrices=False)
    return u * torch.linspace(1, 0.1, rows) @ v


def first_step(gradient: torch.Tensor) -> torch.Tensor:
    """What one step of Muon takes from a matrix of ones."""
    one = torch.nn.Parameter(torch.ones_like(gradient))
    one.grad = gradient.clone()
    Muon([one], RATE, DECAY).step()
    return 1 - one.detach()


def main() -> None:
    torch.manual_seed(0)
    given = matrices(5, 48, 160)
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    found = orthogonalized(given)
    values = torch.linalg.svdvals(found)
    cosines = torch.cosine_similarity(found.flatten(1), (u @ v).flatten(1))
    step = first_step(given[0])
    expected = RATE * (DECAY + ADAM_SIZE * 160**0.5 * orthogonalized(given[:1])[0])
    report = {
        "least": values.min().item(),
        "largest": values.max().item(),
        "cosine": cosines.min().item(),
        "step": (step - expected).abs().max().item(),
        "tall": (first_step(given[0].mT) - step.mT).abs().max().item(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
