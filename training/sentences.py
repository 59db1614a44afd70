"""The sentences of the cube scenes, and which cube each of them names.

A colour or a side of the table in ten templates to train on and three to test with; "next to" a colour in four and one.
The words of a test template occur in training, their combination does not.
"""

from __future__ import annotations

import numpy as np

COLORS = ("red", "green", "blue", "yellow", "purple")
SIDES = ("left", "right", "front", "back")
FAMILIES = ("colour", "side", "next")

_TRAIN = (
    "pick up the {} cube",
    "pick up the {} block",
    "pick up the {} one",
    "lift the {} cube",
    "lift the {} box",
    "grab the {} block",
    "grab the {} one",
    "take the {} box",
    "raise the {} cube",
    "raise the {} block",
)
_TEST = ("pick up the {} box", "grab the {} cube", "lift the {} one")
_NEXT_TRAIN = (
    "pick up the cube next to the {} one",
    "lift the block next to the {} cube",
    "take the box next to the {} block",
    "grab the one next to the {} box",
)
_NEXT_TEST = ("pick up the block next to the {} cube",)

TEMPLATES = {
    "train": {"colour": _TRAIN, "side": _TRAIN, "next": _NEXT_TRAIN},
    "test": {"colour": _TEST, "side": _TEST, "next": _NEXT_TEST},
}


def words_for(xy: np.ndarray, names: list[str], slot: int, margin: float = 0.02) -> dict[str, list[str]]:
    """By family, the words that name the cube `slot` and no other.

    `xy` [n, 2]: metres on the table; `names` [n]: colours, also of those that are never named. Sides are those of the
    agentview picture, where the robot is at the back; a cube has one when it lies further that way than every other by
    `margin`, and is next to a colour when no third cube is as near by `margin`.
    """
    color = names[slot]
    words: dict[str, list[str]] = {"colour": [color] if color in COLORS else [], "side": [], "next": []}
    for side, place in zip(SIDES, (xy[:, 1], -xy[:, 1], xy[:, 0], -xy[:, 0]), strict=True):
        if place[slot] > np.delete(place, slot).max() + margin:
            words["side"].append(side)
    for other, name in enumerate(names):
        if name not in COLORS or other == slot:
            continue
        distance = np.linalg.norm(xy - xy[other], axis=1)
        if distance[slot] + margin < np.delete(distance, [other, slot]).min():
            words["next"].append(name)
    return words
