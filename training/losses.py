"""What training minimizes: the L1 loss of the actions, and three auxiliary ones that teach where to look."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from batches import Batch
from twin import PATCH, Twin

SPREAD = 10.0
"""Pixels: standard deviation of the wanted patch scores about an object."""
SHARPNESS = 0.05
"""Temperature of the patch scores in their loss."""
NAMED_WEIGHT = 3.0
"""Of the named object among the objects in the image."""


@dataclass
class Losses:
    action: torch.Tensor
    patch: torch.Tensor
    """Cross entropy of the pruner's patch scores against the named object's place, and its goal's."""
    position: torch.Tensor
    pixels: torch.Tensor
    kept: torch.Tensor
    """Not a loss: the share of images that show the named object and in which its patch is kept."""
    by_dimension: torch.Tensor
    """[A]: of the actions, detached."""

    def total(self, weights: dict[str, float]) -> torch.Tensor:
        auxiliary = (weights[name] * getattr(self, name) for name in ("patch", "position", "pixels"))
        return self.action + sum(auxiliary)


def losses(twin: Twin, batch: Batch) -> Losses:
    actions, looked = twin(batch.images, batch.states, batch.sentences)
    error = (actions - batch.actions).abs()
    side = batch.images.shape[2]
    shows_named, shows_goal = _inside(batch.named, side), _inside(batch.goals, side)

    centers = _patch_centers(side)
    wanted = shows_named[..., None] * _about(batch.named, centers) + shows_goal[..., None] * _about(
        batch.goals, centers
    )
    wanted = wanted / (wanted.sum(-1, keepdim=True) + 1e-6)
    entropy = -(wanted * F.log_softmax(looked.scores / SHARPNESS, -1)).sum(-1)

    places = torch.cat([batch.objects, batch.named[:, :, None]], 2)
    there = _inside(places, side)
    there = torch.cat([there[:, :, :-1], NAMED_WEIGHT * there[:, :, -1:]], 2)[..., None]
    away = (looked.pixels - (places / side * 4 - 2)).abs() * there

    cell = (batch.named / PATCH).long().clamp(0, side // PATCH - 1)
    patch = cell[..., 1] * (side // PATCH) + cell[..., 0]
    kept = (looked.kept == patch[..., None]).any(-1).float()
    return Losses(
        action=error.mean(),
        patch=_mean(entropy, torch.maximum(shows_named, shows_goal)),
        position=(looked.position - 8 * batch.position).abs().mean(),
        pixels=away.sum() / there.sum().clamp(min=1) / 2,
        kept=_mean(kept, shows_named),
        by_dimension=error.detach().mean((0, 1)),
    )


def _inside(pixels: torch.Tensor, side: int) -> torch.Tensor:
    return ((pixels > 0) & (pixels < side)).all(-1).float()


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return (values * where).sum() / where.sum().clamp(min=1)


def _patch_centers(side: int) -> torch.Tensor:
    """[patches, 2] (x, y)"""
    at = torch.arange(side // PATCH)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], -1).float() * PATCH + (PATCH - 1) / 2


def _about(pixels: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """[B, I, patches]: a bump at the pixel, of sum 1."""
    bump = torch.exp(-((centers - pixels[:, :, None]) ** 2).sum(-1) / (2 * SPREAD**2))
    return bump / (bump.sum(-1, keepdim=True) + 1e-6)
