"""How a suite's objects are named: sentences to train on and to test with.

A name is what stands in the official sentence. In the family `other` a sentence may name the same object in other
words. The templates to test with, and the words kept for it, are new sentences of words that were trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FAMILIES = ("official", "other")


@dataclass(frozen=True)
class Words:
    """`others` and `also` by split, "train" and "test"."""

    names: tuple[str, ...]
    official: str
    others: Mapping[str, tuple[str, ...]]
    also: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By name, other words for it; a name that is not here has none but itself."""

    def say(self, name: str) -> str:
        return self.official.format(name)

    def naming(self, name: str, templates: str) -> dict[str, list[str]]:
        """By family, the sentences that name it."""
        words = self.also.get(templates, {}).get(name, (name,))
        others = [template.format(said) for template in self.others[templates] for said in words]
        return {"official": [self.say(name)], "other": others}

    def sentences(self) -> list[str]:
        """Every sentence of training and test, each once."""
        every = [self.naming(name, split) for split in self.others for name in self.names]
        return list(dict.fromkeys(sentence for families in every for some in families.values() for sentence in some))

    def fitting(
        self, objects: Sequence[str], places: np.ndarray, named: int, notes: dict[str, Any], templates: str
    ) -> dict[str, list[str]]:
        """As tasks.py asks for it. An episode's objects are called by their names, so that these always fit; what has
        no name of its own in its scene has no sentence."""
        name = objects[named]
        return self.naming(name, templates) if name in self.names else {family: [] for family in FAMILIES}
