"""Sentences that name one of two equal bowls of a scene of LIBERO-Spatial by where it stands, and what is kept from
training: templates, ways to say a relation, and pairs of relations."""

from __future__ import annotations

from words import FAMILIES, Words

__all__ = ["FAMILIES", "HELD_OUT", "RELATIONS", "WORDS", "fitting", "name_of", "sentences"]

# By task of libero_spatial, the relation of its bowl.
RELATIONS = (
    "between the plate and the ramekin",
    "next to the ramekin",
    "from table center",
    "on the cookie box",
    "in the top drawer of the wooden cabinet",
    "on the ramekin",
    "next to the cookie box",
    "on the stove",
    "next to the plate",
    "on the wooden cabinet",
)
# By task: in training the other bowl never has this relation where this task's bowl has its own, nor the other way
# round. LIBERO's own scenes have none of these pairs.
HELD_OUT = (
    "on the stove",
    "in the top drawer of the wooden cabinet",
    "on the wooden cabinet",
    "next to the plate",
    "next to the ramekin",
    "next to the cookie box",
    "on the ramekin",
    "between the plate and the ramekin",
    "on the cookie box",
    "from table center",
)
_ALSO = {
    "train": {
        "next to the ramekin": ("next to the ramekin", "close to the ramekin"),
        "from table center": ("from table center", "from the center of the table"),
        "in the top drawer of the wooden cabinet": ("in the top drawer of the wooden cabinet", "in the top drawer"),
        "on the ramekin": ("on the ramekin", "on top of the ramekin"),
        "next to the cookie box": ("next to the cookie box", "beside the cookie box"),
        "on the stove": ("on the stove", "on top of the stove"),
        "next to the plate": ("next to the plate", "beside the plate"),
        "on the wooden cabinet": ("on the wooden cabinet", "on the cabinet", "on top of the cabinet"),
    },
    "test": {
        "between the plate and the ramekin": ("between the ramekin and the plate",),
        "next to the ramekin": ("beside the ramekin",),
        "from table center": ("from the table center",),
        "on the cookie box": ("on top of the cookie box",),
        "in the top drawer of the wooden cabinet": ("in the top drawer of the cabinet",),
        "next to the cookie box": ("close to the cookie box",),
        "next to the plate": ("close to the plate",),
        "on the wooden cabinet": ("on top of the wooden cabinet",),
    },
}


def name_of(relation: str) -> str:
    return f"black bowl {relation}"


WORDS = Words(
    names=tuple(name_of(relation) for relation in RELATIONS),
    official="pick up the {} and place it on the plate",
    others={
        "train": (
            "grab the {} and put it onto the plate",
            "take the {} and place it onto the plate",
            "lift the {} and set it on the plate",
            "move the {} to the plate",
        ),
        "test": (
            "take the {} and set it on the plate",
            "grab the {} and place it on the plate",
            "lift the {} and put it onto the plate",
        ),
    },
    also={
        split: {name_of(name): tuple(name_of(way) for way in ways) for name, ways in also.items()}
        for split, also in _ALSO.items()
    },
)
sentences, fitting = WORDS.sentences, WORDS.fitting
