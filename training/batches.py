"""Batches of stored episodes: what a step of training reads is a function of seed, process and step alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from episodes import EpisodeFile
from tasks import Task

NOWHERE = -1e3
"""A pixel that lies in no image."""


@dataclass
class Batch:
    """B observations of I images; pixels are (x, y) in the cropped image."""

    images: torch.Tensor
    """[B, I, S, S, 3] in 0..255"""
    states: torch.Tensor
    """[B, D] normalized"""
    sentences: torch.Tensor
    """[B] indices of the vocabulary"""
    actions: torch.Tensor
    """[B, C, A] normalized"""
    named: torch.Tensor
    """[B, I, 2]: the named object"""
    goals: torch.Tensor
    """[B, I, 2]: what it is brought to"""
    objects: torch.Tensor
    """[B, I, objects of the task, 2]"""
    position: torch.Tensor
    """[B, 3]: the named object relative to the gripper, metres"""


def statistics(episodes: Sequence[EpisodeFile], task: dict[str, Any]) -> dict[str, Any]:
    """1 % and 99 % quantiles, in the form of a checkpoint's dataset_statistics.json."""

    def bounds(rows: np.ndarray, least: float) -> dict[str, list[float]]:
        low, high = np.quantile(rows, 0.01, 0), np.quantile(rows, 0.99, 0)
        middle, constant = (low + high) / 2, high - low < least
        low, high = np.where(constant, middle - least / 2, low), np.where(constant, middle + least / 2, high)
        own = {"mean": rows.mean(0), "std": rows.std(0), "max": rows.max(0), "min": rows.min(0)}
        return {name: value.tolist() for name, value in (own | {"q01": low, "q99": high}).items()}

    actions = np.concatenate([one.arrays["actions"] for one in episodes]).astype(np.float64)
    states = np.concatenate([one.arrays["states"] for one in episodes]).astype(np.float64)
    return {
        "action": bounds(actions, task["leastActionRange"]) | {"mask": task["actionMask"]},
        "proprio": bounds(states, 0.0),
        "num_transitions": len(actions),
        "num_trajectories": len(episodes),
    }


class Batches:
    """The frames of some episodes. `templates`: "train" or "test"; `index`: of the vocabulary."""

    def __init__(
        self,
        files: Sequence[Path],
        task: Task,
        bounds: dict[str, Any] | None,
        index: dict[str, int],
        templates: str,
        shares: dict[str, float],
    ) -> None:
        every = [EpisodeFile(file) for file in files]
        self._episodes = [one for one in every if one.failed is None]
        if not self._episodes:
            raise SystemExit(
                f"no episodes in {files[0].parent if files else 'the folders given'}: collect.py makes them"
            )
        content = task.content
        self._task, self._index, self._templates = content, index, templates
        self._said = task.module("sentences")
        self.bounds = statistics(self._episodes, content) if bounds is None else bounds
        self._places: list[tuple[int, int]] = [
            (number, frame) for number, one in enumerate(self._episodes) for frame in range(one.frames)
        ]
        self.failed = len(every) - len(self._episodes)
        self._fitting(shares)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def episodes(self) -> int:
        return len(self._episodes)

    def _sentences(self, place: int) -> dict[str, list[str]]:
        number, frame = self._places[place]
        one = self._episodes[number]
        places, named = one.arrays["places"][frame], int(one.arrays["named"][frame])
        return self._said.fitting(one.head["objects"], places, named, one.head["notes"], self._templates)

    def _fitting(self, shares: dict[str, float]) -> None:
        """By family with a share, the frames that have a sentence of it."""
        found: dict[str, list[int]] = {family: [] for family, share in shares.items() if share > 0}
        for place in range(len(self)):
            fitting = self._sentences(place)
            for family, places in found.items():
                if fitting.get(family):
                    places.append(place)
        self.by_family = {family: np.array(places) for family, places in found.items() if places}
        weights = np.array([shares[family] for family in self.by_family])
        self._shares = weights / weights.sum()

    def draw(self, generator: np.random.Generator, count: int) -> list[tuple[int, int]]:
        """(frame, sentence) pairs: the family first, then a frame that fits it, then one of its sentences."""
        families = list(self.by_family)
        out = []
        for choice in generator.choice(len(families), count, p=self._shares):
            place = int(generator.choice(self.by_family[families[choice]]))
            sentences = self._sentences(place)[families[choice]]
            out.append((place, self._index[sentences[generator.integers(len(sentences))]]))
        return out

    def make(self, drawn: Sequence[tuple[int, int]], generator: np.random.Generator | None) -> Batch:
        """`generator`: for the random crop, light and state noise of training; None: the center, as it is."""
        model, side = self._task["model"], self._task["model"]["imageSize"]
        stored = self._task["storedSide"]
        cameras, count = len(self._task["cameras"]), len(drawn)
        room = stored - side
        offsets = np.full((count, cameras, 2), room // 2)  # x, y
        if generator is not None:
            offsets = generator.integers(0, room + 1, offsets.shape)
        known = {name: slot for slot, name in enumerate(self._task["objects"])}
        images = np.empty((count, cameras, side, side, 3), np.uint8)
        states, actions, hands, named_at = [], [], [], []
        pixels = {name: np.full((count, cameras, 2), NOWHERE) for name in ("named", "goals")}
        objects = np.full((count, cameras, len(known), 2), NOWHERE)
        for row, (place, _) in enumerate(drawn):
            number, frame = self._places[place]
            one = self._episodes[number]
            a, stack = one.arrays, one.images(frame)
            for camera, (x, y) in enumerate(offsets[row]):
                images[row, camera] = stack[camera, y : y + side, x : x + side]
            chunk = np.arange(a["steps"][frame], a["steps"][frame] + model["chunk"])
            actions.append(a["actions"][np.minimum(chunk, a["ends"][frame] - 1)])
            states.append(a["states"][frame])
            hands.append(a["hands"][frame])
            named, goal = int(a["named"][frame]), int(a["goals"][frame])
            named_at.append(a["places"][frame, named])
            at = np.nan_to_num(a["pixels"][frame] * stored - 0.5 - offsets[row][:, None], nan=NOWHERE)
            pixels["named"][row] = at[:, named]
            if goal >= 0:
                pixels["goals"][row] = at[:, goal]
            for slot, name in enumerate(one.head["objects"]):
                if name in known:
                    objects[row, :, known[name]] = at[:, slot]
        light, shift, noise = np.ones(1), np.zeros(1), 0.0
        if generator is not None:
            light = generator.uniform(0.9, 1.1, (count, cameras, 1, 1, 1))
            shift = generator.uniform(-8, 8, (count, cameras, 1, 1, 1))
            noise = generator.normal(0, self._task["training"]["stateNoise"], (count, len(states[0])))
        return Batch(
            images=torch.from_numpy(images).float().mul(_tensor(light)).add(_tensor(shift)).clamp(0, 255),
            states=_tensor(normalized(np.stack(states), self.bounds["proprio"]) + noise),
            sentences=torch.tensor([sentence for _, sentence in drawn]),
            actions=_tensor(normalized(np.stack(actions), self.bounds["action"])),
            named=_tensor(pixels["named"]),
            goals=_tensor(pixels["goals"]),
            objects=_tensor(objects),
            position=_tensor(np.stack(named_at) - np.stack(hands)),
        )


def normalized(values: np.ndarray, bounds: dict[str, Any]) -> np.ndarray:
    """To -1..1 where the mask says so (docs/normalization.md, q99)."""
    low, high = np.array(bounds["q01"]), np.array(bounds["q99"])
    mask = np.array(bounds.get("mask", [True] * len(low)))
    return np.clip(np.where(mask, 2 * (values - low) / (high - low + 1e-8) - 1, values), -1, 1)


def parts(batch: Batch, size: int) -> list[Batch]:
    """The batch in pieces of at most `size`."""
    split = [getattr(batch, one.name).split(size) for one in fields(Batch)]
    return [Batch(*piece) for piece in zip(*split, strict=True)]


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32)
