"""Records episodes to train on: collect.py OUT --task pick --count 200 [--first SEED] [--processes 2]

An episode is a file of OUT named by its seed (episodes.py), written whole or not at all. What is there is not recorded
again, so the same command goes on where it was stopped, by whatever: at most one episode a process is lost. Seeds begin
at the task's first seed of --split. Run it with the Python of the task's environment (`venv` in its file).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import queue
import signal
import sys
import time
from pathlib import Path

from episodes import FailedEpisodeError, episode_file, write_episode
from tasks import read_task

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")  # the processes share the work


def _work(task_name: str, out: Path, seeds: multiprocessing.Queue, told: multiprocessing.Queue) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to handle
    task = read_task(task_name)
    recorder = task.module("simulator").Recorder(task)
    while True:
        try:
            seed = seeds.get(timeout=5)
        except queue.Empty:
            if os.getppid() == 1:  # the parent was killed
                return
            continue
        if seed is None:
            return
        try:
            episode, failed = recorder.record(seed), None
        except FailedEpisodeError as error:
            episode, failed = None, str(error)
        file = write_episode(out, task.name, seed, task.cameras, episode, failed)
        told.put((seed, 0 if episode is None else len(episode.images), failed, file.stat().st_size))


def collect(task_name: str, out: Path, wanted: list[int], processes: int) -> int:
    """Records the seeds that are missing; the exit code."""
    out.mkdir(parents=True, exist_ok=True)
    for left in out.glob("*.partial-*"):
        left.unlink()
    missing = [seed for seed in wanted if not episode_file(out, seed).exists()]
    print(f"{len(wanted)} episodes asked for, {len(wanted) - len(missing)} there", flush=True)
    if not missing:
        return 0
    os.environ |= dict.fromkeys(ONE_THREAD, "1")
    context = multiprocessing.get_context("spawn")
    seeds, told = context.Queue(), context.Queue()
    for seed in [*missing, *[None] * processes]:
        seeds.put(seed)
    workers = [context.Process(target=_work, args=(task_name, out, seeds, told), daemon=True) for _ in range(processes)]
    for worker in workers:
        worker.start()
    started, failed, frames, size = time.monotonic(), 0, 0, 0
    try:
        for count in range(1, len(missing) + 1):
            while True:
                try:
                    seed, more, why, more_bytes = told.get(timeout=5)
                    break
                except queue.Empty:
                    if not any(worker.is_alive() for worker in workers):
                        print("every process ended; its error is above", file=sys.stderr)
                        return 1
            frames, size, failed = frames + more, size + more_bytes, failed + (why is not None)
            pace = (time.monotonic() - started) / count
            left = (len(missing) - count) * pace / 60
            print(
                f"{count}/{len(missing)} seed {seed}: {why or f'{more} frames'} | {frames} frames, {size / 1e6:.0f} MB,"
                f" {failed} failed, {pace:.2f} s an episode, {left:.0f} min to go",
                flush=True,
            )
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    finally:
        for worker in workers:
            worker.terminate()
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", default="pick")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--split", choices=("train", "validation"), default="train")
    parser.add_argument("--first", type=int, help="the first seed, counted from the split's first")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    first = read_task(given.task).content["seeds"][given.split] + (given.first or 0)
    return collect(given.task, given.out, list(range(first, first + given.count)), given.processes)


if __name__ == "__main__":
    sys.exit(main())
