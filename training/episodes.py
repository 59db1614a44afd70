"""The files of episodes to train on: one safetensors file an episode, written by collect.py and read by train.py.

Tensors, for F frames of I cameras and S pixels a side, O objects, T actions of A numbers:

    images   uint8   [F, I, S, S, 3]  RGB, cameras in the task's order, turned as the policy gets them
    states   float32 [F, D]           proprioception in the robot's units
    steps    int32   [F]              the frame was taken before action `steps[f]`
    ends     int32   [F]              actions from this one on belong to another sentence, or are not there
    hands    float32 [F, 3]           the gripper's position, metres
    places   float32 [F, O, 3]        the objects' positions, metres
    pixels   float32 [F, I, O, 2]     (x, y) of the objects in each image as fractions of its side; NaN behind a camera
    named    int32   [F]              the object that the sentence names
    goals    int32   [F]              the object that it is brought to, -1 where there is none
    actions  float32 [T, A]           the demonstrator's own, without noise, in the environment's units

The metadata entry `episode` is JSON: format, task, seed, cameras, objects (names), notes (what the task's sentences
need to know beside places), failed (why there is no episode of this seed; then there are no tensors).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

FORMAT = 1
SUFFIX = ".safetensors"


class FailedEpisodeError(Exception):
    """The demonstrator did not do it: the seed is written off, and collecting goes on."""


@dataclass
class Episode:
    """What a recorder hands over; lists grow with the frames, and `ends` may be left out where all is one sentence."""

    objects: Sequence[str]
    notes: dict[str, Any] = field(default_factory=dict)
    actions: list[np.ndarray] = field(default_factory=list)
    images: list[np.ndarray] = field(default_factory=list)
    states: list[np.ndarray] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    hands: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    pixels: list[np.ndarray] = field(default_factory=list)
    named: list[int] = field(default_factory=list)
    goals: list[int] = field(default_factory=list)

    def tensors(self) -> dict[str, np.ndarray]:
        """Stacked and checked: every frame has everything, steps lie inside the actions."""
        count, actions = len(self.images), len(self.actions)
        ends = self.ends or [actions] * count
        goals = self.goals or [-1] * count
        wide = {"states": self.states, "hands": self.hands, "places": self.places, "pixels": self.pixels}
        whole = {"steps": self.steps, "ends": ends, "named": self.named, "goals": goals}
        for name, values in (wide | whole).items():
            if len(values) != count:
                raise ValueError(f"{name}: expected one a frame ({count}), found {len(values)}")
        if count == 0 or not all(step < end <= actions for step, end in zip(self.steps, ends, strict=True)):
            raise ValueError(f"expected frames with step < end <= {actions}, found steps {self.steps}, ends {ends}")
        out = {name: np.stack(values).astype(np.float32) for name, values in wide.items()}
        out |= {name: np.array(values, dtype=np.int32) for name, values in whole.items()}
        out["images"] = np.ascontiguousarray(np.stack(self.images))
        out["actions"] = np.stack(self.actions).astype(np.float32)
        images = out["images"]
        if images.dtype != np.uint8 or images.ndim != 5:
            raise ValueError(f"images: expected uint8 [F, I, S, S, 3], found {images.dtype} {images.shape}")
        return out


def episode_file(folder: Path, seed: int) -> Path:
    return folder / f"{seed:08d}{SUFFIX}"


def write_episode(
    folder: Path, task: str, seed: int, cameras: Sequence[str], episode: Episode | None, failed: str | None = None
) -> Path:
    """Whole or not at all. `episode` None: the seed was tried, `failed` says why there is none."""
    head: dict[str, Any] = {"format": FORMAT, "task": task, "seed": seed, "cameras": list(cameras)}
    tensors: dict[str, np.ndarray] = {}
    if episode is None:
        head["failed"] = failed or "no reason given"
    else:
        tensors = episode.tensors()
        head |= {"objects": list(episode.objects), "notes": episode.notes}
    file = episode_file(folder, seed)
    partial = file.with_suffix(f".partial-{os.getpid()}")
    save_file(tensors, partial, {"episode": json.dumps(head)})
    partial.replace(file)
    return file


class EpisodeFile:
    """An episode on disk: everything but its images is in memory."""

    def __init__(self, file: Path) -> None:
        self._open = safe_open(file, framework="np")
        self.head: dict[str, Any] = json.loads((self._open.metadata() or {}).get("episode", "{}"))
        if self.head.get("format") != FORMAT:
            raise ValueError(f"{file}: expected an episode of format {FORMAT}, found {self.head.get('format')}")
        self.failed: str | None = self.head.get("failed")
        names = set(self._open.keys()) - {"images"}
        self.arrays: dict[str, np.ndarray] = {name: self._open.get_tensor(name) for name in names}

    @property
    def frames(self) -> int:
        return 0 if self.failed else len(self.arrays["steps"])

    def images(self, frame: int) -> np.ndarray:
        """uint8 [I, S, S, 3]"""
        return self._open.get_slice("images")[frame]


def episode_files(folders: Sequence[Path]) -> list[Path]:
    """Every episode of the folders in the order of their seeds, those that failed among them."""
    return [file for folder in folders for file in sorted(folder.glob(f"*{SUFFIX}"))]
