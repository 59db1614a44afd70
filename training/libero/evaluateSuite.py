"""LIBERO as its authors evaluate: evaluateSuite.py RESULTS --policy http://127.0.0.1:8777 [--scenes official]

RESULTS gets one line of JSON an episode; episodes that are in it are not driven again, so that a run can be stopped at
any moment and started again. `table.py RESULTS...` prints success with 95 % intervals.

Scenes: `official` are the suite's 50 initial states and its sentence; `others` the same states with each of the other
objects named in turn; `wide` have all objects placed anywhere within reach and the suite's object named; in `named` any
object that training named in such a scene, in `held-out` one that it never did. `--sentences other`: new templates.

Suites are LIBERO's and those that LIBERO-PRO made of them (`libero_spatial_swap`). In a result an object is called what
sentences call it, and a bowl that no sentence tells from the other one by its name in LIBERO's file.

The loop is the authors': frames of 256 pixels, turned, 10 steps of waiting, the whole chunk played, steps limited.
Policies that need no server: `demonstrator`, and `replay`, which plays blindly what the demonstrator did in the first
scene of its kind.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent.parent))  # behind this folder: `sentences` is the one here

from demonstrator import Demonstrator, demonstrated
from layouts import Names, NothingToNameError, RolledAwayError, begin_wide, to_environment
from protocols import Policy, served
from suites import evaluated, suite_of
from words import FAMILIES

from scene import Scene, limit

SCENES = ("official", "others", "wide", "named", "held-out")
PLACED = ("wide", "named", "held-out")
CONTROLS = ("none", "grey", "wrong")
FIRST_SEED = 1_000_000  # training and validation have smaller ones
Replays = dict[tuple[int, str], list[np.ndarray]]


@dataclass(frozen=True)
class Episode:
    """What is asked for; the answer goes beside it into one line of the results."""

    suite: str
    task: int
    scenes: str
    index: int
    sentences: str
    policy: str
    control: str
    replan: int
    full: bool


class SkippedError(Exception):
    """There is no such scene."""


def begin(scene: Scene, episode: Episode) -> tuple[str, Names]:
    """Lays out the scene and names its object; returns the sentence, and what everything is called."""
    suite = suite_of(scene.suite)
    scene.name(scene.target)
    seed = FIRST_SEED + 1000 * episode.task + episode.index
    if episode.scenes in ("official", "others"):
        scene.start_official(episode.index % len(scene.states))
        names = suite.names(scene)
        if episode.scenes == "others":
            scene.name(_another(scene, names, episode.index))
    else:
        held_out = {"wide": None, "named": False, "held-out": True}[episode.scenes]
        try:
            names = begin_wide(scene, seed, episode.task, held_out)
        except (RolledAwayError, NothingToNameError) as error:
            raise SkippedError(str(error)) from error
        if episode.scenes == "wide":
            scene.name(scene.target)
    if episode.control == "wrong":
        return suite.words.say(names[_another(scene, names, episode.index)]), names
    if episode.sentences == "other":
        if scene.named not in names:
            raise SkippedError("no sentence names this object alone")
        fit = suite.words.naming(names[scene.named], "test")["other"]
        return fit[episode.index % len(fit)], names
    return scene.language if scene.named == scene.target else suite.words.say(names[scene.named]), names


def _another(scene: Scene, names: Names, index: int) -> str:
    rest = _beside(names, scene.named)
    if not rest:
        raise SkippedError("no sentence names another object alone")
    return rest[index % len(rest)]


def _beside(names: Names, body: str) -> list[str]:
    return [other for other in names if other != body]


def _unsaid(episode: Episode) -> Episode:
    """Its scene, which there is also where nothing names the object."""
    scenes = "official" if episode.scenes == "others" else episode.scenes
    return replace(episode, scenes=scenes, sentences="official", control="none")


def actions(
    scene: Scene, episode: Episode, sentence: str, policy: Policy | None, replays: Replays
) -> Iterator[np.ndarray]:
    """LIBERO's, one a step."""
    if episode.policy == "demonstrator":
        demonstrator = Demonstrator(scene)
        while True:
            yield demonstrator.act()
    if episode.policy == "replay":
        recorded = replays[episode.task, scene.named]
        yield from recorded
        while True:
            yield recorded[-1]
    assert policy is not None
    while True:
        frames = scene.frames()
        if episode.control == "grey":
            frames = {name: np.full_like(frame, 128) for name, frame in frames.items()}
        for action in policy(frames, scene.state(), sentence)[: episode.replan]:
            yield to_environment(action)


def drive(scene: Scene, episode: Episode, policy: Policy | None, replays: Replays) -> dict[str, object]:
    try:
        return _drive(scene, episode, policy, replays)
    except SkippedError as error:
        return {"named": None, "skipped": str(error)}


def _drive(scene: Scene, episode: Episode, policy: Policy | None, replays: Replays) -> dict[str, object]:
    if episode.policy == "replay":
        _, names = begin(scene, episode)
        others = len(_beside(names, scene.target)) if episode.scenes == "others" else 1
        first = replace(episode, index=episode.index % others)
        named = scene.named
        if episode == first:
            return {"named": names.get(named, named), "skipped": "the scene that is replayed in the others"}
        if (episode.task, named) not in replays:
            begin(scene, _unsaid(first))
            scene.name(named)
            replays[episode.task, named] = list(demonstrated(scene))
    sentence, names = begin(scene, episode)
    success, step = False, 0
    for step, action in enumerate(actions(scene, episode, sentence, policy, replays), 1):
        success = scene.step(action)
        if success or step == limit(episode.suite):
            break
    inside = scene.inside()
    put = names.get(inside, inside) if inside else None
    named = names.get(scene.named, scene.named)
    return {"named": named, "sentence": sentence, "success": success, "steps": step, "inside": put}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--policy", required=True)
    parser.add_argument("--name", help="of the policy in the results; default: what --policy says")
    parser.add_argument("--suite", default="libero_object")
    parser.add_argument("--tasks", default="0-9")
    parser.add_argument("--scenes", choices=SCENES, default="official")
    parser.add_argument("--sentences", choices=FAMILIES, default="official")
    parser.add_argument("--control", choices=CONTROLS, default="none")
    parser.add_argument("--episodes", type=int, default=50, help="of a task")
    parser.add_argument("--replan", type=int, default=8, help="actions of a chunk that are played")
    parser.add_argument("--full", action="store_true", help="frames exactly as LIBERO renders them")
    given = parser.parse_args(arguments)
    name = given.name or given.policy
    low, _, high = given.tasks.partition("-")
    if "://" not in given.policy and given.policy not in ("demonstrator", "replay"):
        parser.error(f"--policy: expected a URL, demonstrator or replay, found {given.policy}")
    if given.suite not in evaluated():
        parser.error(f"--suite: expected one of {', '.join(evaluated())}, found {given.suite}")
    suite = suite_of(given.suite)
    if given.scenes in PLACED and given.suite != suite.name and not suite.names_last:
        why = "names of this suite say where a thing stands, and LIBERO-PRO's sentences where it officially does"
        parser.error(f"--scenes {given.scenes}: {why}; expected --suite {suite.name}, found {given.suite}")
    policy = served(given.policy) if "://" in given.policy else None
    given.results.parent.mkdir(parents=True, exist_ok=True)
    done = set()
    if given.results.exists():
        lines = given.results.read_text(encoding="utf-8").splitlines()
        done = {json.dumps(json.loads(line)["episode"], sort_keys=True) for line in lines}
    kept = (given.scenes, given.sentences, name, given.control, given.replan, given.full)
    started, driven = time.time(), 0
    for task in range(int(low), int(high or low) + 1):
        scene, replays = None, {}
        for index in range(given.episodes):
            scenes, *rest = kept
            episode = Episode(given.suite, task, scenes, index, *rest)
            if json.dumps(asdict(episode), sort_keys=True) in done:
                continue
            scene = scene or Scene(given.suite, task, full=given.full)
            line = {"episode": asdict(episode), **drive(scene, episode, policy, replays)}
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            driven += 1
            print(
                f"{(time.time() - started) / driven:.1f} s an episode: {json.dumps(line)}", file=sys.stderr, flush=True
            )
        if scene is not None:
            scene.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
