"""What the tools know of a task: one JSON file in tasks/ and the two Python files that it names.

`sentences` (numpy only, the trainer reads it too) has

    FAMILIES: tuple[str, ...]
    def sentences() -> list[str]: every sentence of training and test
    def fitting(objects, places, named, notes, templates) -> dict[str, list[str]]: by family, the sentences of
        `templates` ("train" or "test") that name the object `named` and no other, among `objects` (names) at `places`
        [O, 3]; `notes` as the episode holds them

`simulator` (runs in the environment that `venv` names) has `Recorder` and `Arena` as below, each made from a Task.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from episodes import Episode

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Task:
    """A file of tasks/, read; docs/training.md lists the keys."""

    file: Path
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return self.content["name"]

    @property
    def cameras(self) -> list[str]:
        return self.content["cameras"]

    @property
    def stored_side(self) -> int:
        """Pixels of a side of the stored images: larger than the policy's, so that training can crop at random."""
        return self.content["storedSide"]

    def module(self, key: str) -> ModuleType:
        """The Python file that `key` names, relative to training/; its own folder comes before others in imports."""
        path = (HERE / self.content[key]).resolve()
        for folder in (str(HERE), str(path.parent)):
            if folder not in sys.path:
                sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None or not path.exists():
            raise SystemExit(f"{self.file}: {key}: there is no {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)
        spec.loader.exec_module(module)
        return module


def read_task(file: Path | str) -> Task:
    """`file`: a path, or the name of a file of tasks/ without its ending."""
    path = Path(file)
    if not path.is_file():
        path = HERE / "tasks" / f"{file}.json"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in (HERE / "tasks").glob("*.json")))
        raise SystemExit(f"task: expected a JSON file or one of {known}, found {file}")
    return Task(path, json.loads(path.read_text(encoding="utf-8")))


class Recorder(Protocol):
    """Plays the demonstrator."""

    def __init__(self, task: Task) -> None: ...

    def record(self, seed: int) -> Episode:
        """The episode that this seed decides, whatever was recorded before; raises FailedEpisodeError."""


@dataclass(frozen=True)
class Trial:
    """A scene in which a policy is asked to do something."""

    sentence: str
    named: str
    """The object with which it has to be done."""
    wrong: tuple[str, str] | None = None
    """For the control: another object that is there, and the sentence that names it."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Goes into the results, for tables by kind of scene."""


class Arena(Protocol):
    """Scenes to judge a policy in, and to show the demonstrator in."""

    most_steps: int
    rate: int
    """Steps a second."""
    simulator: str
    """What it runs in, with versions."""

    def __init__(self, task: Task) -> None: ...

    def begin(self, seed: int, family: str, templates: str) -> Trial | None:
        """Lays out the scene; None where no sentence of the family fits it."""

    def frames(self) -> dict[str, np.ndarray]:
        """By camera uint8 RGB [H, W, 3], as a robot's program would send them."""

    def state(self) -> np.ndarray: ...

    def step(self, action: np.ndarray) -> None:
        """One action of the policy, in the units of the data it was trained on."""

    def done(self) -> str | None:
        """The object with which the task has been done, the named one or another; the episode ends there."""

    def targets(self) -> dict[str, dict[str, list[float] | None]]:
        """`target`, the named object, and `goal`, where it goes if it goes somewhere: by camera (x, y) in the frame as
        fractions of its side; None outside of it."""

    def demonstrator(self) -> Callable[[], np.ndarray]:
        """Each call: the demonstrator's action, without noise, for where the scene is now."""

    def blind(self) -> Sequence[np.ndarray]:
        """Actions of the demonstrator in another scene of the same kind: the floor, played without looking."""
