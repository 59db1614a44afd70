"""What is drawn by seed: where the objects are, which of them is named; and the units of LIBERO's data sets.

In the data the gripper is 0 closed and 1 open; the environment wants 1 closed and -1 open.
"""

from __future__ import annotations

import numpy as np

from scene import Scene, plain_name
from sentences import HELD_OUT

ATTEMPTS = 20


def to_environment(action: np.ndarray) -> np.ndarray:
    """As the authors' evaluation does it: anything above half is open."""
    turned = np.array(action, dtype=np.float64)
    turned[6] = -np.sign(2 * turned[6] - 1)
    return turned


def to_data(action: np.ndarray) -> np.ndarray:
    turned = np.array(action, dtype=np.float64)
    turned[6] = (1 - turned[6]) / 2
    return turned


class RolledAwayError(Exception):
    """Objects would not stay where they were put."""


class Scenes:
    """The scene of the task that is asked for; one at a time, since each holds a gigabyte."""

    def __init__(self, side: int, full: bool = False) -> None:
        self._side, self._full, self._key = side, full, ("", -1)
        self._scene: Scene | None = None

    def get(self, suite: str, task: int) -> Scene:
        if self._scene is None or self._key != (suite, task):
            if self._scene is not None:
                self._scene.close()
            self._scene, self._key = Scene(suite, task, self._side, self._full), (suite, task)
        return self._scene


def begin_wide(scene: Scene, seed: int, task: int, held_out: bool | None) -> str:
    """Lays out objects anywhere, and names one of them. `held_out`: True only what training never named here, False
    never that, None any. Returns the sentence's name of it."""
    for attempt in range(ATTEMPTS):
        if scene.start_wide(seed + attempt * 10_000_000):
            break
    else:
        raise RolledAwayError(f"something rolled away in each of {ATTEMPTS} layouts")
    body = draw_named(scene, task, np.random.default_rng([seed, 2]), held_out)
    scene.name(body)
    return plain_name(body)


def draw_named(scene: Scene, task: int, rng: np.random.Generator, held_out: bool | None) -> str:
    kept = HELD_OUT[task]
    fit = [body for body in scene.objects if held_out is None or (plain_name(body) == kept) == held_out]
    return str(rng.choice(fit))
