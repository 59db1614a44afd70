"""The sentences of the cube scenes, and which cube each of them names.

Families: a colour ("the red cube"); a side of the table ("the left one"); next to a colour; a direction from a colour
("the block left of the red cube"); between two colours. The first two have ten templates to train on and three to test
with, the others four and one. The words of a test template occur in training, their combination does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations
from typing import Any

import numpy as np

COLORS = ("red", "green", "blue", "yellow", "purple")
SIDES = ("left", "right", "front", "back")
DIRECTIONS = ("left of", "right of", "in front of", "behind")
FAMILIES = ("colour", "side", "next", "direction", "between")

# Of SIDES and of DIRECTIONS on the table: those of the agentview picture, where the robot is at the back.
_AXES = np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.0], [-1.0, 0.0]])

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
_BETWEEN_TRAIN = (
    "pick up the cube between the {} and the {} one",
    "lift the block between the {} and the {} cube",
    "take the box between the {} and the {} block",
    "grab the one between the {} and the {} box",
)
_BETWEEN_TEST = ("pick up the block between the {} and the {} cube",)


def _directed(templates: Sequence[str]) -> tuple[str, ...]:
    return tuple(template.replace("next to", "{}") for template in templates)


TEMPLATES = {
    "train": {
        "colour": _TRAIN,
        "side": _TRAIN,
        "next": _NEXT_TRAIN,
        "direction": _directed(_NEXT_TRAIN),
        "between": _BETWEEN_TRAIN,
    },
    "test": {
        "colour": _TEST,
        "side": _TEST,
        "next": _NEXT_TEST,
        "direction": _directed(_NEXT_TEST),
        "between": _BETWEEN_TEST,
    },
}

Words = tuple[str, ...]


def words_for(xy: np.ndarray, names: Sequence[str], slot: int, margin: float = 0.02) -> dict[str, list[Words]]:
    """By family, the words that name the cube `slot` and no other.

    `xy` [n, 2]: metres on the table; `names` [n]: colours, also of those that are never named. Sides are those of the
    agentview picture; a cube has one when it lies further that way than every other by `margin`, and is next to a
    colour when no third cube is as near by `margin`. `direction_of` and `is_between` say when the others fit.
    """
    color = names[slot]
    words: dict[str, list[Words]] = {family: [] for family in FAMILIES}
    words["colour"] = [(color,)] if color in COLORS else []
    for side, place in zip(SIDES, (xy @ _AXES.T).T, strict=True):
        if place[slot] > np.delete(place, slot).max() + margin:
            words["side"].append((side,))
    anchors = [other for other, name in enumerate(names) if name in COLORS and other != slot]
    for other in anchors:
        distance = np.linalg.norm(xy - xy[other], axis=1)
        if distance[slot] + margin < np.delete(distance, [other, slot]).min():
            words["next"].append((names[other],))
        direction = direction_of(xy, slot, other)
        if direction is not None:
            words["direction"].append((direction, names[other]))
    for one, other in combinations(anchors, 2):
        if is_between(xy, slot, one, other):
            words["between"] += [(names[one], names[other]), (names[other], names[one])]
    return words


def direction_of(
    xy: np.ndarray, slot: int, anchor: int, within: float = 40.0, beyond: float = 50.0, nearer: float = 0.03
) -> str | None:
    """In which direction from `anchor` the cube `slot` is the nearest one, where that is clear.

    It lies within `within` degrees of the direction, and any other cube within `beyond` degrees of it is farther from
    `anchor` by `nearer` metres.
    """
    away = np.delete(xy, anchor, axis=0) - xy[anchor]
    own = slot - (slot > anchor)
    distance = np.linalg.norm(away, axis=1)
    for axis, name in zip(_AXES, DIRECTIONS, strict=True):
        angle = np.degrees(np.arccos(np.clip(away @ axis / distance, -1, 1)))
        rivals = np.delete(distance, own)[np.delete(angle, own) < beyond]
        if angle[own] < within and (distance[own] + nearer < rivals).all():
            return name
    return None


def is_between(xy: np.ndarray, slot: int, one: int, other: int, aside: float = 0.035, clear: float = 0.055) -> bool:
    """Whether `slot`, and clearly no other cube, lies between two: at 20 to 80 % of the way and at most `aside` metres
    off the line; every other cube is more than `clear` off it, or not at 5 to 95 % of the way."""
    line = xy[other] - xy[one]
    length = float(np.linalg.norm(line))
    away = xy - xy[one]
    way = away @ line / length**2
    off = np.abs(away @ np.array([-line[1], line[0]])) / length
    if not (0.2 < way[slot] < 0.8 and off[slot] < aside):
        return False
    rivals = [index for index in range(len(xy)) if index not in (slot, one, other)]
    return all(off[rival] > clear or not 0.05 < way[rival] < 0.95 for rival in rivals)


def sentences() -> list[str]:
    """Every sentence of training and test."""
    words: dict[str, list[Words]] = {
        "colour": [(color,) for color in COLORS],
        "side": [(side,) for side in SIDES],
        "next": [(color,) for color in COLORS],
        "direction": [(direction, color) for direction in DIRECTIONS for color in COLORS],
        "between": list(permutations(COLORS, 2)),
    }
    return [
        template.format(*one)
        for templates in TEMPLATES.values()
        for family in FAMILIES
        for template in templates[family]
        for one in words[family]
    ]


def fitting(
    objects: Sequence[str], places: np.ndarray, named: int, _notes: dict[str, Any], templates: str
) -> dict[str, list[str]]:
    """By family, the sentences that name the cube (tasks.py)."""
    words = words_for(places[:, :2], objects, named)
    return {family: list(_said(family, words[family], templates)) for family in FAMILIES}


def _said(family: str, words: list[Words], templates: str) -> Iterator[str]:
    return (template.format(*one) for template in TEMPLATES[templates][family] for one in words)
