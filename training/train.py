"""Trains a task's policy: train.py RUN --task pick --data FOLDER... --validation FOLDER... --steps 8000 [--init FROM]

RUN is a new folder. `train.py RUN` alone goes on where it was stopped, by whatever: its state is written once a minute
(--save-every) and at Ctrl-C, and the weights at the end are those of a run that was never stopped, bit for bit on one
machine. --init: the folder of an earlier run, or of a checkpoint, whose weights and statistics it begins with.

Two processes of one thread each share a step (--processes), which is faster here than two threads.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.distributed as dist

from batches import Batches, parts
from episodes import episode_files
from losses import Losses, losses
from optimizers import optimizers_of, set_rate
from runs import Run, begin_with, make_run, new_twin, sentences_of, write_whole
from tasks import read_task
from twin import Twin
from vocabulary import Vocabulary

VALIDATION_FRAMES = 320
LEAST_RATE = 0.02
SHOWN = ("action", "patch", "position", "pixels", "kept")


class Stop:
    """Set by Ctrl-C or SIGTERM: the step is finished, the state written, the run ended."""

    def __init__(self) -> None:
        self.asked = False
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def learning_rate(settings: dict[str, Any], step: int) -> float:
    """Warm-up, then a half cosine down to 2 %."""
    training = settings["task"]["training"]
    wave = 0.5 * (1 + math.cos(math.pi * step / settings["steps"]))
    return training["learningRate"] * min(1, (step + 1) / training["warmUp"]) * max(LEAST_RATE, wave)


def share(twin: Twin, stop: bool, processes: int) -> bool:
    """Gradients averaged over the processes; whether any of them is asked to stop."""
    if processes == 1:
        return stop
    used = [one for one in twin.parameters() if one.grad is not None]
    flat = torch.cat([*(one.grad.flatten() for one in used), torch.tensor([float(stop)])])
    dist.all_reduce(flat)
    at = 0
    for one in used:
        one.grad.copy_(flat[at : at + one.numel()].view_as(one) / processes)
        at += one.numel()
    return bool(flat[-1] > 0)


def validate(twin: Twin, batches: Batches, weights: dict[str, float]) -> dict[str, Any]:
    """Losses of the same frames and sentences each time, in float32."""
    drawn = batches.draw(np.random.default_rng(0), VALIDATION_FRAMES)
    half, twin.half = twin.half, False
    with torch.no_grad():
        found = [losses(twin, part) for part in parts(batches.make(drawn, None), 64)]
    twin.half = half
    out: dict[str, Any] = {name: _mean(found, name) for name in SHOWN}
    out["total"] = float(np.mean([float(one.total(weights)) for one in found]))
    out["byDimension"] = torch.stack([one.by_dimension for one in found]).mean(0).tolist()
    return out


def _mean(found: list[Losses], name: str) -> float:
    return float(np.mean([float(getattr(one, name)) for one in found]))


def work(run: Run, rank: int, given: argparse.Namespace) -> int:
    """One process of a run, from its last state to its end; the exit code."""
    torch.set_num_threads(1)
    stop = Stop()
    settings, task = run.settings, run.task
    training, processes = task.content["training"], settings["processes"]
    vocabulary = Vocabulary(sentences_of(task))
    state = run.state()
    if state is not None and "optimizers" not in state:
        raise SystemExit(f"{run.folder} was begun with AdamW alone; a new run takes its weights: --init {run.folder}")
    initial, bounds, heads = (
        begin_with(Path(settings["init"])) if state is None and settings["init"] else (None, None, {})
    )
    if state is not None:
        initial, bounds, heads = state["weights"], state["bounds"], state["heads"]
    shares = task.content["families"]
    files = [Path(file) for file in settings["data"]]
    data = Batches(files, task, bounds, vocabulary.index, "train", shares)
    twin = new_twin(settings, vocabulary, initial, heads)
    twin.half = settings["half"]
    optimizers = optimizers_of(twin, training)
    first = 0
    if state is not None:
        first = state["step"]
        for optimizer, its in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(its)
    validation = None
    if rank == 0:
        run.forget_after(first)
        count = sum(one.numel() for one in twin.parameters())
        fits = {family: len(places) for family, places in data.by_family.items()}
        print(f"{data.episodes} episodes, {len(data)} frames, of families {fits}; {count} parameters", flush=True)
        print(f"step {first} of {settings['steps']}", flush=True)
        if settings["validation"]:
            held = [Path(file) for file in settings["validation"]]
            validation = Batches(held, task, data.bounds, vocabulary.index, "test", shares)

    def save(step: int) -> None:
        if rank == 0:
            run.save(
                {
                    "step": step,
                    "weights": twin.tensors(),
                    "heads": {"position": twin.to_position.state_dict(), "pixels": twin.to_pixels.state_dict()},
                    "optimizers": [one.state_dict() for one in optimizers],
                    "bounds": data.bounds,
                }
            )

    if state is None:
        save(0)
    started = saved = time.monotonic()
    seen: list[list[float]] = []
    for step in range(first, settings["steps"]):
        rate = learning_rate(settings, step)
        set_rate(optimizers, rate, training)
        generator = np.random.default_rng([settings["seed"], rank, step])
        batch = data.make(data.draw(generator, training["batch"] // processes), generator)
        found = losses(twin, batch)
        twin.zero_grad()
        found.total(task.content["losses"]).backward()
        stopping = share(twin, stop.asked, processes)
        norm = float(torch.nn.utils.clip_grad_norm_(twin.parameters(), training["clip"]))
        for optimizer in optimizers:
            optimizer.step()
        seen.append([*(float(getattr(found, name)) for name in SHOWN), norm])
        done = step + 1
        if rank == 0 and (done % given.log_every == 0 or done == settings["steps"]):
            pace = (time.monotonic() - started) / (done - first)
            line = dict(zip((*SHOWN, "gradient"), np.mean(seen, 0).round(5).tolist(), strict=True))
            seen = []
            if validation is not None and (done % given.validate_every == 0 or done == settings["steps"]):
                line["validation"] = validate(twin, validation, task.content["losses"])
            run.log({"step": done, "rate": rate, **line, "secondsPerStep": round(pace, 3)})
            left = (settings["steps"] - done) * pace / 60
            print(f"step {done} {json.dumps(line)} {pace:.2f} s a step, {left:.0f} min to go", flush=True)
        if rank == 0 and done in settings["keep"]:
            write_whole(run.folder / f"step{done}.pt", lambda file: torch.save(twin.tensors(), file))
        if stopping or done == settings["steps"] or time.monotonic() - saved >= given.save_every:
            save(done)
            saved = time.monotonic()
        if stopping and done < settings["steps"]:
            if rank == 0:
                print(f"stopped at step {done}; train.py {run.folder} goes on", flush=True)
            return 130
    return 0


def start(run: Run, given: argparse.Namespace) -> int:
    """This process and, beside it, the others of the run."""
    processes = run.settings["processes"]
    if given.rank is None and processes > 1:
        given.meet = run.folder / f"meet-{os.getpid()}"
        for left in run.folder.glob("meet-*"):
            left.unlink()
        command = [sys.executable, __file__, str(run.folder), "--meet", str(given.meet)]
        others = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(1, processes)]
    else:
        others = []
    rank = given.rank or 0
    try:
        if processes > 1:
            where = f"file://{given.meet.resolve()}"
            dist.init_process_group("gloo", init_method=where, rank=rank, world_size=processes)
        code = work(run, rank, given)
        if processes > 1:
            dist.barrier()
        return code
    finally:
        for one in others:
            one.wait(timeout=60)
        if rank == 0 and given.meet is not None:
            given.meet.unlink(missing_ok=True)


def settings_of(given: argparse.Namespace) -> dict[str, Any]:
    if given.data is None or given.steps is None:
        raise SystemExit("a new run needs --data and --steps")
    task = read_task(given.task)
    content = task.content
    if given.families:
        content["families"] = json.loads(given.families)
    if given.losses:
        losses_given = json.loads(given.losses)
        if unknown := set(losses_given) - set(content["losses"]):
            raise SystemExit(f"--losses: {sorted(unknown)} is none of {sorted(content['losses'])}")
        content["losses"] |= losses_given
    if given.learning_rate:
        content["training"]["learningRate"] = given.learning_rate
    files = {name: [str(file.resolve()) for file in episode_files(getattr(given, name) or [])] for name in FOLDERS}
    return {
        "taskFile": str(task.file.resolve()),
        "task": content,
        "steps": given.steps,
        "seed": given.seed,
        "processes": given.processes,
        "half": not given.float32,
        "init": str(given.init.resolve()) if given.init else None,
        "keep": given.keep,
        **files,
    }


FOLDERS = ("data", "validation")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="pick")
    parser.add_argument("--data", type=Path, nargs="+")
    parser.add_argument("--validation", type=Path, nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--families", help="shares instead of the task's, JSON")
    parser.add_argument("--losses", help='weights instead of the task\'s, JSON: {"pixels": 0}')
    parser.add_argument("--learning-rate", type=float, help="instead of the task's")
    parser.add_argument("--float32", action="store_true", help="float32 products: for a CPU without avx512_bf16")
    parser.add_argument("--keep", type=int, nargs="*", default=[], help="steps whose weights stay, as stepN.pt")
    parser.add_argument("--save-every", type=float, default=60, help="seconds")
    parser.add_argument("--log-every", type=int, default=50, help="steps")
    parser.add_argument("--validate-every", type=int, default=500, help="steps, a multiple of --log-every")
    parser.add_argument("--rank", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--meet", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    is_new = not (given.run / "run.json").exists()
    if not is_new and given.rank is None and (given.data or given.steps):
        raise SystemExit(
            f"{given.run} is there: `train.py {given.run}` goes on with it; another run needs another folder"
        )
    return start(make_run(given.run, settings_of(given)) if is_new else Run(given.run), given)


if __name__ == "__main__":
    sys.exit(main())
