"""What is drawn by seed: where the objects are, which of them is named; and the units of LIBERO's data sets.

In the data the gripper is 0 closed and 1 open; the environment wants 1 closed and -1 open.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from suites import suite_of

from scene import Scene, plain_name

ATTEMPTS = 20
Names = dict[str, str]
"""By body, what sentences call it (suites.py)."""


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


class NothingToNameError(Exception):
    """Nothing in the scene is of the kind that was asked for."""


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


def begin_wide(scene: Scene, seed: int, task: int, held_out: bool | None) -> Names:
    """Lays out objects anywhere, and names one of them. `held_out`: as suites.py has it."""
    suite = suite_of(scene.suite)

    def start(seed: int) -> bool:
        rng, meant = np.random.default_rng([seed, 1]), {}

        def place(scene: Scene) -> None:
            meant.update(suite.place(scene, rng, task, held_out))

        return scene.start_placed(seed, place) and suite.names(scene) == meant

    names = _begin(scene, seed, start)
    scene.name(draw_named(scene, names, task, np.random.default_rng([seed, 2]), held_out))
    return names


def begin_reset(scene: Scene, seed: int) -> Names:
    """As LIBERO's own reset lays it out."""
    suite = suite_of(scene.suite)

    def start(seed: int) -> bool:
        rng = np.random.default_rng([seed, 1])
        return scene.start_placed(seed, lambda scene: suite.settle(scene, rng))

    return _begin(scene, seed, start)


def _begin(scene: Scene, seed: int, start: Callable[[int], bool]) -> Names:
    suite = suite_of(scene.suite)
    for attempt in range(ATTEMPTS):
        if start(seed + attempt * 10_000_000):
            names = suite.names(scene)
            if scene.target in names:
                return names
    raise RolledAwayError(f"something rolled away in each of {ATTEMPTS} layouts")


def draw_named(scene: Scene, names: Names, task: int, rng: np.random.Generator, held_out: bool | None) -> str:
    suite = suite_of(scene.suite)
    fit = [body for body in names if held_out is None or suite.is_held_out(task, names, body) == held_out]
    if not fit:
        asked = "training names all" if held_out else "training names nothing"
        raise NothingToNameError(f"{asked} of {', '.join(names.values())} in a scene of task {task}")
    return str(rng.choice(fit))


def called(names: Names, body: str) -> str:
    return names.get(body) or plain_name(body)
