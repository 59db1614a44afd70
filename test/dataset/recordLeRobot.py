"""Writes the recorded LeRobot datasets of the tests with the real lerobot package, from the episodes of models/cubes.

    python recordLeRobot.py OUT

lerobot 0.3.x writes v2.1 (AV1 videos), 0.4.x writes v3.0 (H.264 videos, and one with PNG images in Parquet). Rows are the
observations of two episodes; frames are made smaller so that the repository stays small.
"""

import sys
from pathlib import Path

import lerobot.datasets.lerobot_dataset as lerobot_dataset
import numpy as np
from cubeEpisodes import cube_episodes
from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

SIDE = 32
MOTORS = ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
encode = lerobot_dataset.encode_video_frames


def record(out: Path, kind: str) -> None:
    image = {"dtype": kind, "shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}
    features = {
        "observation.images.full_image": image,
        "observation.images.wrist_image": image,
        "observation.state": {"dtype": "float32", "shape": (8,), "names": [f"s{i}" for i in range(8)]},
        "action": {"dtype": "float32", "shape": (7,), "names": MOTORS},
    }
    dataset = LeRobotDataset.create("local/cubes", fps=10, features=features, root=out, use_videos=kind == "video")
    for episode in cube_episodes(SIDE, most=2):
        for frames, state, action in zip(episode.frames, episode.states, episode.actions, strict=True):
            row = {f"observation.images.{camera}": frames[camera] for camera in frames}
            row |= {"observation.state": state.astype(np.float32), "action": action.astype(np.float32)}
            if CODEBASE_VERSION == "v2.1":
                dataset.add_frame(row, task=episode.instruction)
            else:
                dataset.add_frame(row | {"task": episode.instruction})
        dataset.save_episode()
    if hasattr(dataset, "finalize"):
        dataset.finalize()


def main() -> None:
    out = Path(sys.argv[1])
    if CODEBASE_VERSION == "v2.1":
        record(out / "lerobot-v2.1-av1", "video")
        return
    lerobot_dataset.encode_video_frames = lambda *args, **more: encode(*args, **(more | {"vcodec": "h264"}))
    record(out / "lerobot-v3.0-h264", "video")
    record(out / "lerobot-v3.0-images", "image")


if __name__ == "__main__":
    main()
