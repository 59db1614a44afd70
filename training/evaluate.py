"""Closed loop: evaluate.py OUT.jsonl --task pick --family next --count 100 (--program | --twin FOLDER | --url URL)

A policy drives the task's scenes, each once, in the order of their seeds; scenes that no sentence of the family fits
are passed over. FOLDER is a checkpoint's: the program serves it, or PyTorch does. An episode ends with the first object
with which the task has been done, and is a success when that is the named one. OUT gets a line an episode, and what is
there is not run again, so the same command goes on where it was stopped; the last line printed is the summary, as JSON,
with the 95 % interval of the share (Wilson). Run it with the Python of the task's environment (`venv` in its file).

--control: `grey` images; `wrong`, a sentence that names another object of the scene (success: what was said); `blind`,
the demonstrator's actions from another scene, without a policy.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import policies
from tasks import Arena, Trial, read_task

CONTROLS = ("none", "grey", "wrong", "blind")


def drive(arena: Arena, url: str | None, sentence: str, replan: int, is_grey: bool) -> tuple[str | None, int]:
    """The object with which the task was done, if any, and the steps it took. `url` None: blind."""
    chunk = list(arena.blind()) if url is None else []
    for step in range(arena.most_steps):
        if not chunk:
            if url is None:
                return None, step
            frames = arena.frames()
            if is_grey:
                frames = {camera: np.full_like(frame, 128) for camera, frame in frames.items()}
            chunk = list(policies.ask(url, frames, arena.state(), sentence)[:replan])
        arena.step(np.asarray(chunk.pop(0)))
        done = arena.done()
        if done is not None:
            return done, step + 1
    return None, arena.most_steps


def run_one(arena: Arena, url: str | None, trial: Trial, given: argparse.Namespace) -> dict[str, Any] | None:
    """None where the control cannot be made in this scene."""
    sentence, named = trial.sentence, trial.named
    if given.control == "wrong":
        if trial.wrong is None:
            return None
        named, sentence = trial.wrong
    done, steps = drive(arena, url, sentence, given.replan, given.control == "grey")
    # `meant`: what the scene's own sentence names, of which a wrong one says nothing
    return {"sentence": sentence, "named": named, "meant": trial.named, "done": done, "steps": steps, **trial.notes}


def wilson(successes: int, count: int, z: float = 1.96) -> list[float]:
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return [round(max(0, middle - half), 3), round(min(1, middle + half), 3)]


def summary(episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, interval and, where the episodes note a `kind`, the same by kind."""

    def counts(some: list[dict[str, Any]]) -> dict[str, Any]:
        successes = sum(one["done"] == one["named"] for one in some)
        return {"success": successes, "of": len(some), "interval": wilson(successes, len(some))}

    steps = [one["steps"] for one in episodes if one["done"] == one["named"]]
    none = sum(one["done"] is None for one in episodes)
    out = counts(episodes)
    out |= {"other": out["of"] - out["success"] - none, "none": none}
    out["medianSteps"] = float(np.median(steps)) if steps else None
    if any(one["meant"] != one["named"] for one in episodes):
        out["meant"] = sum(one["done"] == one["meant"] for one in episodes)
    kinds = defaultdict(list)
    for one in episodes:
        if "kind" in one:
            kinds[one["kind"]].append(one)
    return out | ({"byKind": {kind: counts(some) for kind, some in sorted(kinds.items())}} if kinds else {})


@contextmanager
def _policy(given: argparse.Namespace) -> Iterator[str | None]:
    if given.control == "blind":
        yield None
    elif given.url is not None:
        yield given.url.rstrip("/").removesuffix("/act")
    elif given.program is not None:
        with policies.program(given.program) as url:
            yield url
    elif given.twin is not None:
        with policies.twin(given.twin) as url:
            yield url
    else:
        raise SystemExit("expected one of --program, --twin and --url, or --control blind")


def _there(out: Path, told: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines of an earlier run of the same command, without a last half one; the first says what the command was."""
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(told) + "\n", encoding="utf-8")
        return []
    text = out.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        out.write_text(whole, encoding="utf-8")
    head, *lines = [json.loads(line) for line in whole.splitlines()]
    if head != told:
        raise SystemExit(f"{out} is of another evaluation ({head}); take another file")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", default="pick")
    parser.add_argument("--family", required=True)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--program", type=Path)
    parser.add_argument("--twin", type=Path)
    parser.add_argument("--url")
    parser.add_argument("--control", choices=CONTROLS, default="none")
    parser.add_argument("--templates", choices=("train", "test"), default="test")
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--first", type=int, default=0, help="the first seed, counted from the split's first")
    given = parser.parse_args()
    task = read_task(given.task)
    names = ("task", "family", "control", "templates", "replan", "split", "first")
    told = {name: getattr(given, name) for name in names}
    told |= {name: str(value) for name in ("program", "twin", "url") if (value := getattr(given, name)) is not None}
    lines = _there(given.out, told)
    seed = lines[-1]["seed"] + 1 if lines else task.content["seeds"][given.split] + given.first
    episodes = [line for line in lines if "done" in line][: given.count]
    if len(episodes) < given.count:
        arena: Arena = task.module("simulator").Arena(task)
        started, before = time.monotonic(), len(episodes)
        with _policy(given) as url, given.out.open("a", encoding="utf-8") as file:
            while len(episodes) < given.count:
                trial = arena.begin(seed, given.family, given.templates)
                line = None if trial is None else run_one(arena, url, trial, given)
                if line is not None:
                    episodes.append(line)
                    successes = sum(one["done"] == one["named"] for one in episodes)
                    pace = (time.monotonic() - started) / (len(episodes) - before)
                    left = (given.count - len(episodes)) * pace / 60
                    said = f"{len(episodes)}/{given.count} seed {seed}: {line['sentence']}: {line['done']}"
                    text = f"{said} in {line['steps']} | {successes} successes, {pace:.1f} s each, {left:.0f} min to go"
                    print(text, file=sys.stderr)
                file.write(json.dumps({"seed": seed, **(line or {})}) + "\n")
                file.flush()
                seed += 1
    print(json.dumps(told | summary(episodes)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        sys.exit(130)
