"""The folder of a training run: run.json says what it is, state.pt how far it got, log.jsonl how it went.

run.json is written once, with the list of the episodes' files: what is collected later does not change a run. state.pt
is replaced whole. There are no random states in it, since all that is drawn is a function of seed, process and step.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from reference import read_checkpoint
from tasks import Task
from twin import Twin
from variant import Tensors, add_token_rows, initial_weights, shapes, task_variant
from vocabulary import Vocabulary

State = dict[str, Any]


def write_whole(path: Path, write: Any) -> None:  # noqa: ANN401
    """`write(partial)` makes a file that then takes the place of `path`: there is always the old one or the new one."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    with partial.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "run.json").exists():
            raise SystemExit(f"{folder}: there is no run.json; train.py makes a run where --task and --data are given")
        self.settings: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))

    @property
    def task(self) -> Task:
        return Task(Path(self.settings["taskFile"]), self.settings["task"])

    @property
    def state_file(self) -> Path:
        return self.folder / "state.pt"

    def state(self) -> State | None:
        return torch.load(self.state_file, weights_only=True) if self.state_file.exists() else None

    def save(self, state: State) -> None:
        write_whole(self.state_file, lambda file: torch.save(state, file))

    def log(self, line: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget_after(self, step: int) -> None:
        """Of the log, what a process that was killed wrote after its last state."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").splitlines()
        # The last line may be half of one.
        whole = [line for line in lines if line.endswith("}")]
        kept = "".join(f"{line}\n" for line in whole if json.loads(line)["step"] <= step)
        write_whole(path, lambda file: file.write(kept.encode()))


def make_run(folder: Path, settings: dict[str, Any]) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "run.json", lambda file: file.write((json.dumps(settings, indent=1) + "\n").encode()))
    return Run(folder)


def begin_with(source: Path) -> tuple[Tensors, dict[str, Any] | None, dict[str, torch.Tensor]]:
    """Weights, statistics and auxiliary heads of a run's folder, or of a checkpoint's, which has no heads."""
    if (source / "state.pt").exists():
        state = Run(source).state()
        assert state is not None
        return state["weights"], state["bounds"], state["heads"]
    if (source / "config.json").exists():
        checkpoint = read_checkpoint(source)
        datasets = list(checkpoint.statistics.values())
        if len(datasets) != 1:
            raise SystemExit(f"{source}: expected statistics of one dataset, found {list(checkpoint.statistics)}")
        weights = {name: tensor for name, tensor in checkpoint.tensors.items() if "lm_head" not in name}
        return weights, datasets[0], {}
    raise SystemExit(f"{source}: expected the folder of a run (state.pt) or of a checkpoint (config.json)")


def new_twin(settings: dict[str, Any], vocabulary: Vocabulary, initial: Tensors | None, heads: dict) -> Twin:
    """With the weights of `initial`, else from nothing. Tokens that are new to it get embeddings."""
    task, seed = settings["task"], settings["seed"]
    variant = task_variant(task, vocabulary.rows)
    weights = initial_weights(variant, seed)
    if initial is not None:
        wrong = [name for name, shape in shapes(variant).items() if name not in initial or initial[name].shape != shape]
        if wrong:
            raise SystemExit(f"init: {len(wrong)} tensors are not of the task's sizes, {wrong[0]} among them")
        weights = {name: initial[name].clone() for name in weights}
        add_token_rows(weights, variant, torch.Generator().manual_seed(seed + 7))
    torch.manual_seed(seed)  # of the auxiliary heads
    twin = Twin(variant, vocabulary, weights, len(task["objects"]))
    for name, module in (("position", twin.to_position), ("pixels", twin.to_pixels)):
        if name in heads and heads[name]["weight"].shape == module.weight.shape:
            module.load_state_dict(heads[name])
    return twin


def sentences_of(task: Task) -> list[str]:
    return task.module("sentences").sentences()
