"""Writes HDF5 files in LIBERO's layout with h5py, from the episodes of models/cubes.

    python writeLibero.py OUT [SIDE]

Datasets, their types, contiguous storage and attributes are those that LIBERO's scripts/create_dataset.py makes (the file of the
demonstrations) and those of OpenVLA's regenerated "no-noops" files (no attributes at all; the sentence is the file's name).
Frames are stored turned by 180 degrees, as robosuite renders them; the gripper of these episodes is the simulator's, -1 open
to 1 closed.
"""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
from cubeEpisodes import CubeEpisode, cube_episodes


def write_demo(group: h5py.Group, episode: CubeEpisode) -> None:
    obs = group.create_group("obs")
    states = episode.states.astype(np.float64)
    obs.create_dataset("gripper_states", data=states[:, 6:8])
    obs.create_dataset("joint_states", data=np.zeros((len(states), 7)))
    obs.create_dataset("ee_states", data=states[:, :6])
    obs.create_dataset("ee_pos", data=states[:, :3])
    obs.create_dataset("ee_ori", data=states[:, 3:6])
    for name, camera in (("agentview_rgb", "full_image"), ("eye_in_hand_rgb", "wrist_image")):
        obs.create_dataset(name, data=np.stack([frames[camera][::-1, ::-1] for frames in episode.frames]))
    group.create_dataset("actions", data=episode.actions.astype(np.float64))
    group.create_dataset("states", data=np.zeros((len(states), 4)))
    group.create_dataset("robot_states", data=np.zeros((len(states), 9)))
    last = np.zeros(len(states), np.uint8)
    last[-1] = 1
    group.create_dataset("rewards", data=last)
    group.create_dataset("dones", data=last)


def write_regenerated(file: Path, episodes: list[CubeEpisode]) -> None:
    with h5py.File(file, "w") as out:
        data = out.create_group("data")
        for i, episode in enumerate(episodes):
            write_demo(data.create_group(f"demo_{i}"), episode)


def write_raw(file: Path, episodes: list[CubeEpisode]) -> None:
    """Row i of obs is what was seen after action i: the first observation of each episode is missing."""
    with h5py.File(file, "w") as out:
        data = out.create_group("data")
        data.attrs["env_name"] = "Libero_Tabletop_Manipulation"
        data.attrs["macros_image_convention"] = "opengl"
        problem = {"problem_name": "cubes", "domain_name": "robosuite", "language_instruction": episodes[0].instruction}
        data.attrs["problem_info"] = json.dumps(problem)
        for i, episode in enumerate(episodes):
            after = CubeEpisode(episode.instruction, episode.frames[1:], episode.states[1:], episode.actions[:-1])
            demo = data.create_group(f"demo_{i}")
            write_demo(demo, after)
            demo.attrs["num_samples"] = len(after.frames)
            demo.attrs["model_file"] = "<mujoco/>"
            demo.attrs["init_state"] = np.zeros(4)
        data.attrs["num_demos"] = len(episodes)
        data.attrs["total"] = sum(len(episode.frames) - 1 for episode in episodes)


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    episodes = cube_episodes(int(sys.argv[2]) if len(sys.argv) > 2 else 24)
    regenerated = out / "cubes_no_noops"
    regenerated.mkdir(exist_ok=True)
    name = episodes[1].instruction.replace(" ", "_")
    write_regenerated(regenerated / f"KITCHEN_SCENE1_{name}_demo.hdf5", episodes[1:2])
    write_raw(out / "raw_demo.hdf5", episodes[:1])


if __name__ == "__main__":
    main()
