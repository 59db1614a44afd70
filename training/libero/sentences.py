"""Sentences that name an object of a scene of LIBERO-Object, and what is kept from training.

The official sentence is one of the templates to train with. The templates to test with are new sentences of words that
were trained; a held out object was never named in its scene, though it was in others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

OBJECTS = (
    "alphabet soup",
    "cream cheese",
    "salad dressing",
    "bbq sauce",
    "ketchup",
    "tomato sauce",
    "butter",
    "milk",
    "chocolate pudding",
    "orange juice",
)
OFFICIAL = "pick up the {} and place it in the basket"
FAMILIES = ("official", "other")
TEMPLATES = {
    "train": {
        "official": (OFFICIAL,),
        "other": (
            "put the {} in the basket",
            "grab the {} and put it into the basket",
            "place the {} in the basket",
            "take the {} and place it into the basket",
        ),
    },
    "test": {
        "official": (OFFICIAL,),
        "other": (
            "take the {} and put it in the basket",
            "grab the {} and place it in the basket",
            "pick up the {} and put it into the basket",
        ),
    },
}
# By task of libero_object: in its scene this object is never named in training. Each of the ten is held out once.
HELD_OUT = (
    "salad dressing",
    "alphabet soup",
    "tomato sauce",
    "cream cheese",
    "milk",
    "butter",
    "ketchup",
    "orange juice",
    "bbq sauce",
    "chocolate pudding",
)


def sentences() -> list[str]:
    """Every sentence of training and test."""
    templates = [one for split in TEMPLATES.values() for family in split.values() for one in family]
    return [template.format(name) for template in dict.fromkeys(templates) for name in OBJECTS]


def fitting(
    objects: Sequence[str], places: np.ndarray, named: int, notes: dict[str, Any], templates: str
) -> dict[str, list[str]]:
    """By family, the sentences that name this object. Each stands once in a scene, so that they always fit."""
    name = objects[named]
    return {family: [one.format(name) for one in TEMPLATES[templates][family]] for family in FAMILIES}
