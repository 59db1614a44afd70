"""What Python's own readers (PyAV, pyarrow, Pillow, h5py) find in the datasets of the tests, as one JSON object.

    python reference.py FOLDER...

For each dataset and episode: the sentence, and by step state and action as float64, and by camera the first 16 digits of the
SHA-256 of the RGB bytes [height, width, 3].
"""

import hashlib
import io
import json
import sys
from pathlib import Path

import av
import h5py
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

CAMERAS = ("full_image", "wrist_image")


def digest(frame: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(frame).tobytes()).hexdigest()[:16]


def video_frames(file: Path, start: float, times: list[float]) -> list[np.ndarray]:
    """As LeRobot reads them: for each time the nearest frame."""
    with av.open(str(file)) as container:
        frames = [(float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return [min(frames, key=lambda one: abs(one[0] - start - time))[1] for time in times]


def lerobot(path: Path) -> list[dict]:
    info = json.loads((path / "meta/info.json").read_text())
    if info["codebase_version"] == "v2.1":
        lines = [json.loads(line) for line in (path / "meta/episodes.jsonl").read_text().splitlines()]
        tasks = {t["task_index"]: t["task"] for t in map(json.loads, (path / "meta/tasks.jsonl").read_text().splitlines())}
    else:
        files = sorted((path / "meta/episodes").rglob("*.parquet"))
        lines = [row for file in files for row in pq.read_table(file).to_pylist()]
        rows = pq.read_table(path / "meta/tasks.parquet").to_pylist()
        # pandas names the column of its index, or not
        tasks = {row.pop("task_index"): row.popitem()[1] for row in rows}
    return [lerobot_episode(path, info, line, tasks) for line in lines]


def lerobot_episode(path: Path, info: dict, line: dict, tasks: dict[int, str]) -> dict:
    number = line["episode_index"]
    if info["codebase_version"] == "v2.1":
        place = {"episode_chunk": number // info["chunks_size"], "episode_index": number}
        rows = pq.read_table(path / info["data_path"].format(**place)).to_pylist()
    else:
        place = {"chunk_index": line["data/chunk_index"], "file_index": line["data/file_index"]}
        rows = pq.read_table(path / info["data_path"].format(**place)).to_pylist()
        rows = [row for row in rows if row["episode_index"] == number]
    frames = {}
    for camera in CAMERAS:
        key = f"observation.images.{camera}"
        if info["features"][key]["dtype"] == "image":
            images = [Image.open(io.BytesIO(row[key]["bytes"])) for row in rows]
            frames[camera] = [np.asarray(image) for image in images]
            continue
        start = 0.0
        if info["codebase_version"] != "v2.1":
            start = line[f"videos/{key}/from_timestamp"]
            place = {"chunk_index": line[f"videos/{key}/chunk_index"], "file_index": line[f"videos/{key}/file_index"]}
        file = path / info["video_path"].format(video_key=key, **place)
        frames[camera] = video_frames(file, start, [row["timestamp"] for row in rows])
    return {
        "instructions": [tasks[row["task_index"]] for row in rows],
        "states": [row["observation.state"] for row in rows],
        "actions": [row["action"] for row in rows],
        "frames": {camera: [digest(frame) for frame in frames[camera]] for camera in CAMERAS},
    }


def libero(file: Path) -> list[dict]:
    with h5py.File(file) as data:
        after = "macros_image_convention" in data["data"].attrs
        names = sorted(data["data"], key=lambda name: int(name.split("_")[1]))
        return [libero_episode(data["data"][name], after) for name in names]


def libero_episode(demo: h5py.Group, after: bool) -> dict:
    # OpenVLA's conversion: frames turned by 180 degrees, hand and fingers joined, the gripper inverted
    actions = np.asarray(demo["actions"])
    actions[:, -1] = 1 - np.clip(actions[:, -1], 0, 1)
    obs = demo["obs"]
    states = np.concatenate((obs["ee_states"][()], obs["gripper_states"][()]), axis=1)
    kept = slice(0, len(states) - 1) if after else slice(0, len(states))
    images = {"full_image": obs["agentview_rgb"], "wrist_image": obs["eye_in_hand_rgb"]}
    frames = {camera: [digest(frame[::-1, ::-1]) for frame in images[camera][kept]] for camera in CAMERAS}
    return {"states": states[kept].tolist(), "actions": actions.tolist(), "frames": frames}


def main() -> None:
    found = {}
    for path in map(Path, sys.argv[1:]):
        files = sorted(path.glob("*.hdf5")) if path.is_dir() else [path]
        found[path.name] = lerobot(path) if (path / "meta").is_dir() else [one for file in files for one in libero(file)]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
