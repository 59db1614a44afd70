"""What differs from suite to suite: what is laid out, what can be named and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from objectSuite import ObjectSuite
from spatialSuite import SpatialSuite
from words import Words

from scene import Scene


class Suite(Protocol):
    """LIBERO's name of it, and what its tasks share."""

    name: str
    words: Words
    marks: Mapping[str, str]
    """Bodies or sites that do not move, whose places are recorded beside the objects', and what to call them."""
    floor: float
    """Height of what objects stand on, metres."""
    above: float
    """How far over it the arm may start, metres."""
    most_steps: int
    """What takes the demonstrator longer is no example."""

    def place(self, scene: Scene, rng: np.random.Generator, task: int, held_out: bool | None) -> dict[str, str]:
        """Everything anywhere within reach, after LIBERO's own reset; the names that hold if all stays there.
        `held_out`: True only what training never has, False never that, None any."""

    def settle(self, scene: Scene, rng: np.random.Generator) -> None:
        """After LIBERO's own reset: what has to be done so that things stay where it put them."""

    def names(self, scene: Scene) -> dict[str, str]:
        """By body, of what the goal can be about: what a sentence calls it and nothing else in this scene."""

    def is_held_out(self, task: int, names: dict[str, str], body: str) -> bool:
        """Whether training never names this body in such a scene."""


SUITES: tuple[Suite, ...] = (ObjectSuite(), SpatialSuite())


def suite_of(name: str) -> Suite:
    """Also of LIBERO-PRO's suites, which change one of LIBERO's."""
    for suite in SUITES:
        if name == suite.name or name.startswith(f"{suite.name}_"):
            return suite
    raise SystemExit(f"suite: expected {' or '.join(one.name for one in SUITES)} or one that begins so, found {name}")
