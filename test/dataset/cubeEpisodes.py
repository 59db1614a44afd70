"""The episodes of models/cubes as arrays: what the datasets of the tests are written from."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

EPISODES = Path(__file__).parents[2] / "models/cubes/episodes"


@dataclass
class CubeEpisode:
    instruction: str
    # by camera, uint8 [side, side, 3]
    frames: list[dict[str, np.ndarray]]
    # [rows, 8], [rows, 7] of the steps that were observed
    states: np.ndarray
    actions: np.ndarray


def cube_episodes(side: int, most: int = 3) -> list[CubeEpisode]:
    return [read(folder, side) for folder in sorted(EPISODES.iterdir())[:most]]


def read(folder: Path, side: int) -> CubeEpisode:
    head = json.loads((folder / "episode.json").read_text())
    steps = [one["step"] for one in head["observations"]]
    frames = [observed(folder / one["folder"], side) for one in head["observations"]]
    states = np.load(folder / "states.npy")[steps]
    return CubeEpisode(head["instruction"], frames, states, np.load(folder / "actions.npy")[steps])


def observed(folder: Path, side: int) -> dict[str, np.ndarray]:
    names = json.loads((folder / "observation.json").read_text())["images"]
    return {camera: small(folder / name, side) for camera, name in names.items()}


def small(file: Path, side: int) -> np.ndarray:
    image = Image.fromarray(np.load(file)) if file.suffix == ".npy" else Image.open(file)
    return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BOX))
