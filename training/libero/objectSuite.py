"""LIBERO-Object: one of six things goes into the basket. What is laid out, and what can be named."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from scene import Scene, plain_name
from sentences import HELD_OUT, WORDS

# Metres on the floor: a few centimetres beyond all places of the official states.
REACH = ((-0.24, 0.17), (-0.29, 0.10))
APART = 0.1
BASKET = 0.03


class ObjectSuite:
    name = "libero_object"
    words = WORDS
    names_last = True
    marks: Mapping[str, str] = MappingProxyType({})
    floor, above = 0.0, 0.16
    most_steps = 150  # the demonstrator takes about 100

    def place(self, scene: Scene, rng: np.random.Generator, task: int, held_out: bool | None) -> dict[str, str]:
        """All objects anywhere within reach, turned about the vertical, whatever will be named."""
        for body, place in zip(scene.objects, _places(rng, len(scene.objects)), strict=True):
            scene.put(body, place, rng.uniform(-0.5, 0.5))
        home = scene.data.xpos[scene.body(scene.receiver)][:2]
        scene.put(scene.receiver, home + rng.uniform(-BASKET, BASKET, 2), 0.0)
        return self.names(scene)

    def settle(self, scene: Scene, rng: np.random.Generator) -> None:
        """Nothing: they fall a few centimetres and stay."""

    def names(self, scene: Scene) -> dict[str, str]:
        return {body: plain_name(body) for body in scene.objects}

    def is_held_out(self, task: int, names: dict[str, str], body: str) -> bool:
        return names[body] == HELD_OUT[task]


def _places(rng: np.random.Generator, count: int) -> np.ndarray:
    """[count, 2] in REACH, APART from each other."""
    low, high = np.transpose(REACH)
    while True:
        places: list[np.ndarray] = []
        for _ in range(200):
            place = rng.uniform(low, high)
            if all(np.linalg.norm(place - other) > APART for other in places):
                places.append(place)
            if len(places) == count:
                return np.array(places)
