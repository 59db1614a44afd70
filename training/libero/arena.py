"""LIBERO-Object as a task of training/: a recorder of scripted episodes, and scenes to judge a policy in.

A seed decides task, places, the object that is named, noise and start.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from demonstrator import Demonstrator, demonstrated
from layouts import RolledAwayError, Scenes, begin_wide, draw_named, to_data, to_environment
from PIL import Image

from episodes import Episode, FailedEpisodeError
from scene import Scene, limit, plain_name
from sentences import FAMILIES, HELD_OUT, fitting
from tasks import Task, Trial

SUITE = "libero_object"
TASKS = 10
BLOCK = 20  # seeds of one task after another: a scene takes seconds to make
CHUNK = 8
BLIND_SEED = 3_000_000
AFTER = 6  # steps that are recorded after the object is in the basket
MOST_STEPS = 150  # the demonstrator takes about 100; what takes longer is no example


def task_of(seed: int) -> int:
    return seed // BLOCK % TASKS


class Recorder:
    """A third of the episodes starts as LIBERO's own reset lays the scene out, the others with all places drawn. In
    six of ten the arm starts elsewhere; in a quarter another object is named on the way to the first."""

    def __init__(self, task: Task) -> None:
        self._side = task.stored_side
        self._scenes = Scenes(2 * self._side)

    def record(self, seed: int) -> Episode:
        task = task_of(seed)
        scene = self._scenes.get(SUITE, task)
        rng = np.random.default_rng([seed, 3])
        kind = "wide" if rng.random() < 0.65 else "reset"
        if kind == "wide":
            try:
                begin_wide(scene, seed, task, held_out=False)
            except RolledAwayError as error:
                raise FailedEpisodeError(str(error)) from error
        else:
            if not scene.start_reset(seed):
                raise FailedEpisodeError("something rolled away in LIBERO's own layout")
            scene.name(scene.target if rng.random() < 0.6 else draw_named(scene, task, rng, held_out=False))
        if rng.random() < 0.6:
            _move_elsewhere(scene, rng)
        return self._play(scene, task, kind, rng)

    def _play(self, scene: Scene, task: int, kind: str, rng: np.random.Generator) -> Episode:
        bodies = [*scene.objects, scene.basket]
        episode = Episode([plain_name(body) for body in bodies], {"suite": SUITE, "task": task, "kind": kind})
        deviation = float(rng.choice([0.03, 0.12, 0.25]))
        change = int(rng.integers(5, 30)) if rng.random() < 0.25 else -1
        phase = int(rng.integers(2))
        demonstrator = Demonstrator(scene)
        drift = np.zeros(4)
        after = 0
        for step in range(MOST_STEPS):
            if step == change and demonstrator.is_free:
                self._rename(scene, task, episode, rng)
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
            raise FailedEpisodeError(f"task {task}, {kind}: {scene.named} not in the basket after {MOST_STEPS} steps")
        episode.ends += [len(episode.actions)] * (len(episode.images) - len(episode.ends))
        return episode

    def _see(self, scene: Scene, episode: Episode) -> None:
        bodies = [*scene.objects, scene.basket]
        size = (self._side, self._side)
        frames = [Image.fromarray(frame).resize(size, Image.Resampling.BOX) for frame in scene.frames().values()]
        episode.images.append(np.stack([np.asarray(frame) for frame in frames]))
        episode.states.append(scene.state())
        episode.steps.append(len(episode.actions))
        episode.hands.append(scene.state()[:3])
        episode.places.append(scene.positions(bodies))
        episode.pixels.append(scene.pixels(bodies))
        episode.named.append(bodies.index(scene.named))
        episode.goals.append(len(bodies) - 1)

    def _rename(self, scene: Scene, task: int, episode: Episode, rng: np.random.Generator) -> None:
        """Another object from here on; of the frames before, those with a whole chunk before the change stay."""
        now = len(episode.actions)
        whole = sum(step + CHUNK <= now for step in episode.steps)
        for name in ("images", "states", "steps", "hands", "places", "pixels", "named", "goals"):
            del getattr(episode, name)[whole:]
        episode.ends = [now] * whole
        scene.name(draw_named(scene, task, rng, held_out=False))


def _move_elsewhere(scene: Scene, rng: np.random.Generator) -> None:
    """A few steps with the open gripper: anywhere, or above some object."""
    tip = scene.state()[:3]
    if rng.random() < 0.6:
        goal = tip + np.array([rng.uniform(-0.05, 0.25), rng.uniform(-0.25, 0.15), rng.uniform(-0.1, 0.05)])
    else:
        goal = rng.choice(scene.positions()) + rng.normal(0, 0.02, 3) + np.array([0, 0, rng.uniform(0.1, 0.16)])
    goal[2] = max(goal[2], 0.16)
    turn = rng.uniform(-0.3, 0.3)
    for _ in range(int(rng.integers(4, 20))):
        scene.step(np.array([*np.clip((goal - scene.state()[:3]) * 12, -1, 1), 0, 0, turn, -1]))


class Arena:
    """Wide placements of scenes that were kept from training; the family decides the sentences."""

    most_steps = limit(SUITE)

    def __init__(self, task: Task) -> None:
        self._scenes = Scenes(256)
        self._scene: Scene | None = None
        self._cameras = task.cameras
        self._asked = (0, "", "")

    def begin(self, seed: int, family: str, templates: str) -> Trial | None:
        if family not in FAMILIES:
            raise ValueError(f"family: expected one of {', '.join(FAMILIES)}, found {family}")
        self._asked = seed, family, templates
        task = task_of(seed)
        self._scene = scene = self._scenes.get(SUITE, task)
        try:
            begin_wide(scene, seed, task, held_out=None)
        except RolledAwayError:
            return None
        rng = np.random.default_rng([seed, 4])
        names = [plain_name(body) for body in scene.objects]
        named = scene.objects.index(scene.named)
        other = int(rng.choice([at for at in range(len(names)) if at != named]))
        place = scene.positions()
        said, wrong = (str(rng.choice(fitting(names, place, at, {}, templates)[family])) for at in (named, other))
        notes = {"task": task, "kind": "held out" if names[named] == HELD_OUT[task] else "named in training"}
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
        return plain_name(inside) if inside is not None else None

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
