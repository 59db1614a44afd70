"""What differs from suite to suite: what is laid out, what can be named and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from objectSuite import ObjectSuite
from spatialSuite import SpatialSuite
from words import Words

from scene import Scene, suites_there


class Suite(Protocol):
    """LIBERO's name of it, and what its tasks share."""

    name: str
    words: Words
    names_last: bool
    """Whether what a thing is called still holds where it is put."""
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


def evaluated() -> list[str]:
    """LIBERO's names of these suites, and of those that LIBERO-PRO made of them."""
    return [name for name in suites_there() if name.startswith(tuple(suite.name for suite in SUITES))]


def suite_of(name: str) -> Suite:
    """The one of which LIBERO-PRO made it, or itself."""
    return next(suite for suite in SUITES if name == suite.name or name.startswith(f"{suite.name}_"))
