"""Sentences that name an object of a scene of LIBERO-Object, and what is kept from training."""

from __future__ import annotations

from words import FAMILIES, Words

__all__ = ["FAMILIES", "HELD_OUT", "WORDS", "fitting", "sentences"]

WORDS = Words(
    names=(
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
    ),
    official="pick up the {} and place it in the basket",
    others={
        "train": (
            "put the {} in the basket",
            "grab the {} and put it into the basket",
            "place the {} in the basket",
            "take the {} and place it into the basket",
        ),
        "test": (
            "take the {} and put it in the basket",
            "grab the {} and place it in the basket",
            "pick up the {} and put it into the basket",
        ),
    },
)
sentences, fitting = WORDS.sentences, WORDS.fitting
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
