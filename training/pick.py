"""The task *pick*: what to record in the cube scenes, and how a policy is judged there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
from PIL import Image

from episodes import Episode, FailedEpisodeError
from scene import CAMERAS, RATE, Demonstrator, Scene
from sentences import COLORS, DIRECTIONS, SIDES, TEMPLATES, Words, words_for
from tasks import Task, Trial

OPEN = -1.0
MOST_STEPS = 100
AFTER = 5  # steps that are recorded after the cube is up


class Recorder:
    """The demonstrator with noise on its actions; a frame at every second step.

    The sentence is drawn in training, here only the cube, mostly one between two others where there is one. In 30 % of
    the episodes another cube is asked for on the way, in 65 % the arm starts somewhere else, part of them above a cube.
    """

    def __init__(self, task: Task) -> None:
        self._side, self._chunk = task.stored_side, task.content["model"]["chunk"]
        self._scene = Scene()

    def record(self, seed: int) -> Episode:
        scene = self._scene
        scene.reset(seed)
        rng = np.random.default_rng([seed, 2])
        names = scene.layout.names
        named = [name for name in names if name in COLORS]
        color = str(rng.choice(self._between() if rng.random() < 0.75 else named))
        start = rng.random()
        if start < 0.65:
            self._start_elsewhere(rng, above=start >= 0.4)
        deviation = rng.choice([0.03, 0.12, 0.25])
        switch = int(rng.integers(5, 22)) if rng.random() < 0.3 else -1
        phase = int(rng.integers(2))
        episode = Episode(names)
        demonstrator = Demonstrator(scene, color)
        drift, after = np.zeros(4), 0
        for step in range(MOST_STEPS):
            action = demonstrator.act()
            if step == switch and not demonstrator.is_grasping and scene.readings["robot0_eef_pos"][2] > 0.865:
                _end_sentence(episode, self._chunk)
                color = str(rng.choice([name for name in named if name != color] or [color]))
                demonstrator = Demonstrator(scene, color)
                action = demonstrator.act()
            if step % 2 == phase:
                self._add_frame(episode, names.index(color))
            episode.actions.append(action)
            drift = 0.7 * drift + rng.normal(0, deviation, 4)
            shake = drift[:3] * (0.2 if action[6] > 0 else 1.0)
            scene.step(action + np.array([*shake, 0, 0, 0.3 * drift[3], 0]))
            after += scene.lifted() == color
            if after == AFTER:
                break
        if scene.lifted() != color:
            raise FailedEpisodeError(f"the {color} cube was not lifted in {MOST_STEPS} steps")
        episode.ends += [len(episode.actions)] * (len(episode.steps) - len(episode.ends))
        return episode

    def _between(self) -> list[str]:
        """Cubes between two others, which are rare; all that can be named where there is none."""
        scene = self._scene
        names = scene.layout.names
        xy = np.stack([scene.cube(name)[:2] for name in names])
        named = [name for name in names if name in COLORS]
        return [name for name in named if words_for(xy, names, names.index(name))["between"]] or named

    def _start_elsewhere(self, rng: np.random.Generator, above: bool) -> None:
        scene = self._scene
        hand = scene.readings["robot0_eef_pos"]
        if above:
            over = scene.cube(scene.layout.names[rng.integers(len(scene.layout.names))])
            goal = over + rng.normal(0, 0.015, 3) + np.array([0, 0, rng.uniform(0.06, 0.13)])
        else:
            goal = hand + np.array([rng.uniform(-0.03, 0.2), rng.uniform(-0.16, 0.16), rng.uniform(-0.14, 0.02)])
        goal[2] = max(goal[2], 0.885)
        yaw = rng.uniform(-0.3, 0.3)
        for _ in range(rng.integers(4, 14)):
            move = np.clip((goal - scene.readings["robot0_eef_pos"]) * 12, -1, 1)
            scene.step(np.array([*move, 0, 0, yaw, OPEN]))

    def _add_frame(self, episode: Episode, named: int) -> None:
        scene = self._scene
        small = (self._side, self._side)
        frames = scene.frames().values()
        images = [np.asarray(Image.fromarray(frame).resize(small, Image.Resampling.BICUBIC)) for frame in frames]
        places = np.stack([scene.cube(name) for name in scene.layout.names])
        pixels = [[scene.pixel(camera, place) for place in places] for camera in CAMERAS]
        episode.images.append(np.stack(images))
        episode.states.append(scene.state())
        episode.steps.append(len(episode.actions))
        episode.hands.append(scene.readings["robot0_eef_pos"].copy())
        episode.places.append(places)
        episode.pixels.append(np.array(pixels))
        episode.named.append(named)


def _end_sentence(episode: Episode, chunk: int) -> None:
    """Another cube is asked for: of the frames so far those stay whose whole chunk lies before."""
    count = len(episode.actions)
    keep = sum(step + chunk <= count for step in episode.steps)
    for name in ("images", "states", "steps", "hands", "places", "pixels", "named"):
        del getattr(episode, name)[keep:]
    episode.ends = [count] * keep


def _simpler(words: dict[str, list[Words]], sentence: str) -> str:
    """Whether a simpler relation of the sentence's words names the same cube, so that reading half of it is enough."""
    sides = dict(zip(DIRECTIONS, SIDES, strict=True))
    is_side = any(direction in sentence and (side,) in words["side"] for direction, side in sides.items())
    is_next = any(color in sentence.split() and (color,) in words["next"] for color in COLORS)
    also = [name for name, does in (("side", is_side), ("next", is_next)) if does]
    return f"also {' and '.join(also)}" if also else "no simpler relation"


class Arena:
    """Success: the first cube that is more than 4 cm up is the named one."""

    most_steps, rate = 120, RATE
    simulator = f"robosuite {version('robosuite')}, MuJoCo {version('mujoco')}"

    def __init__(self, _task: Task) -> None:
        self._scene = Scene()
        self._named = ""

    def begin(self, seed: int, family: str, templates: str) -> Trial | None:
        scene = self._scene
        scene.reset(seed)
        task = scene.task(seed, family, templates)
        if task is None:
            return None
        named, sentence = task
        self._seed, self._family, self._templates, self._named = seed, family, templates, named
        names = scene.layout.names
        xy = np.stack([scene.cube(name)[:2] for name in names])
        rng = np.random.default_rng([seed, 4])
        others = [
            (name, template.format(*words))
            for slot, name in enumerate(names)
            if name in COLORS and name != named
            for words in words_for(xy, names, slot)[family]
            for template in TEMPLATES[templates][family]
        ]
        wrong = others[rng.integers(len(others))] if others else None
        notes = {"cubes": names}
        if family in ("direction", "between"):
            notes["kind"] = _simpler(words_for(xy, names, names.index(named)), sentence)
        return Trial(sentence, named, wrong, notes)

    def frames(self) -> dict[str, np.ndarray]:
        return self._scene.frames()

    def state(self) -> np.ndarray:
        return self._scene.state()

    def step(self, action: np.ndarray) -> None:
        self._scene.step(action)

    def done(self) -> str | None:
        return self._scene.lifted()

    def targets(self) -> dict[str, dict[str, list[float] | None]]:
        cube = self._scene.cube(self._named)
        return {"target": {camera: self._scene.project(camera, cube) for camera in CAMERAS}}

    def demonstrator(self) -> Callable[[], np.ndarray]:
        return Demonstrator(self._scene, self._named).act

    def blind(self) -> Sequence[np.ndarray]:
        """Of the demonstrator in the scene before this one that has a sentence of the family."""
        at, family, templates = self._seed, self._family, self._templates
        seed, trial = at - 1, None
        while trial is None:
            trial = self.begin(seed, family, templates)
            seed -= 1
        demonstrator, actions = Demonstrator(self._scene, trial.named), []
        while self._scene.lifted() != trial.named and len(actions) < MOST_STEPS:
            actions.append(demonstrator.act())
            self._scene.step(actions[-1])
        self.begin(at, family, templates)
        return actions
