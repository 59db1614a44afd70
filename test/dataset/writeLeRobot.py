"""Writes LeRobot's documented layouts with pyarrow and PyAV, larger than the recorded ones and with what those do not have.

    python writeLeRobot.py OUT EPISODES ROWS

Frames are windows that move over the frames of models/cubes, at 30 a second. v2.1: H.264 with B-frames, gzip. v3.0: two data and
two video files, AV1 with long groups, an episode of two tasks; and JPEG in Parquet, in small row groups.
"""

import io
import json
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cubeEpisodes import cube_episodes
from PIL import Image

FPS = 30
SIDE = 64
CAMERAS = ("full_image", "wrist_image")
TASKS = ["first do this", "then do that", "do neither"]


@dataclass
class Written:
    number: int
    first: int
    tasks: list[int]
    states: np.ndarray
    actions: np.ndarray
    frames: dict[str, list[np.ndarray]]


def made_up(count: int, rows: int) -> list[Written]:
    random = np.random.default_rng(7)
    sources = cube_episodes(112)
    episodes = []
    first = 0
    for number in range(count):
        length = rows + number % 3
        source = sources[number % len(sources)].frames
        frames = {camera: [window(source, camera, step) for step in range(length)] for camera in CAMERAS}
        tasks = [number % 3 if number != 1 or step < length // 2 else 2 for step in range(length)]
        states = random.normal(size=(length, 8)).astype(np.float32)
        actions = random.normal(size=(length, 7)).astype(np.float32)
        episodes.append(Written(number, first, tasks, states, actions, frames))
        first += length
    return episodes


def window(source: list[dict[str, np.ndarray]], camera: str, step: int) -> np.ndarray:
    frame = source[step // 8 % len(source)][camera]
    left, top = step * 5 % 48, step * 3 % 48
    return np.ascontiguousarray(frame[top : top + SIDE, left : left + SIDE])


def table(episodes: list[Written], images: bool) -> pa.Table:
    steps = [(episode, step) for episode in episodes for step in range(len(episode.tasks))]
    columns = {
        "observation.state": pa.array([e.states[i].tolist() for e, i in steps], pa.list_(pa.float32(), 8)),
        "action": pa.array([e.actions[i].tolist() for e, i in steps], pa.list_(pa.float32())),
        "timestamp": pa.array([np.float32(i / FPS) for _, i in steps], pa.float32()),
        "frame_index": pa.array([i for _, i in steps], pa.int64()),
        "episode_index": pa.array([e.number for e, _ in steps], pa.int64()),
        "index": pa.array([e.first + i for e, i in steps], pa.int64()),
        "task_index": pa.array([e.tasks[i] for e, i in steps], pa.int64()),
    }
    for camera in CAMERAS if images else ():
        cells = [{"bytes": jpeg(e.frames[camera][i]), "path": None} for e, i in steps]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns[f"observation.images.{camera}"] = pa.array(cells, kind)
    return pa.table(columns)


def jpeg(frame: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(frame).save(out, "JPEG", quality=90)
    return out.getvalue()


def write_video(file: Path, frames: list[np.ndarray], codec: str, options: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as out:
        stream = out.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, FPS)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())


def info(version: str, kind: str, data: str, video: str | None) -> str:
    image = {"dtype": kind, "shape": [SIDE, SIDE, 3], "names": ["height", "width", "channels"]}
    one = {"dtype": "int64", "shape": [1], "names": None}
    features = {f"observation.images.{camera}": image for camera in CAMERAS}
    features |= {
        "observation.state": {"dtype": "float32", "shape": [8], "names": None},
        "action": {"dtype": "float32", "shape": [7], "names": None},
        "timestamp": one | {"dtype": "float32"},
    }
    features |= {name: one for name in ("frame_index", "episode_index", "index", "task_index")}
    facts = {"codebase_version": version, "fps": FPS, "chunks_size": 2, "data_path": data, "video_path": video}
    return json.dumps(facts | {"features": features})


def lines(rows: list[dict]) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def write_v21(out: Path, episodes: list[Written]) -> None:
    data = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    video = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    (out / "meta").mkdir(parents=True)
    (out / "meta/info.json").write_text(info("v2.1", "video", data, video))
    told = [{"episode_index": e.number, "tasks": [TASKS[t] for t in sorted(set(e.tasks))], "length": len(e.tasks)} for e in episodes]
    (out / "meta/episodes.jsonl").write_text(lines(told))
    (out / "meta/tasks.jsonl").write_text(lines([{"task_index": i, "task": task} for i, task in enumerate(TASKS)]))
    for episode in episodes:
        place = {"episode_chunk": episode.number // 2, "episode_index": episode.number}
        file = out / data.format(**place)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table([episode], images=False), file, compression="gzip")
        for camera in CAMERAS:
            target = out / video.format(video_key=f"observation.images.{camera}", **place)
            write_video(target, episode.frames[camera], "h264", {"crf": "23", "bf": "3"})


def write_v30(out: Path, episodes: list[Written], kind: str) -> None:
    data = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    video = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (out / "meta/episodes/chunk-000").mkdir(parents=True)
    (out / "meta/info.json").write_text(info("v3.0", kind, data, video if kind == "video" else None))
    pq.write_table(pa.table({"task_index": [0, 1, 2], "task": TASKS}), out / "meta/tasks.parquet")
    rows = []
    middle = (len(episodes) + 1) // 2
    for index, part in enumerate((episodes[:middle], episodes[middle:])):
        file = out / data.format(chunk_index=0, file_index=index)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(part, kind == "image"), file, row_group_size=50)
        start = 0
        for episode in part:
            length = len(episode.tasks)
            row = {"episode_index": episode.number, "length": length, "tasks": [TASKS[0]]}
            row |= {"data/chunk_index": 0, "data/file_index": index, "dataset_from_index": episode.first}
            for camera in CAMERAS if kind == "video" else ():
                key = f"videos/observation.images.{camera}"
                row |= {f"{key}/chunk_index": 0, f"{key}/file_index": index}
                row |= {f"{key}/from_timestamp": start / FPS, f"{key}/to_timestamp": (start + length) / FPS}
            rows.append(row)
            start += length
        for camera in CAMERAS if kind == "video" else ():
            frames = [frame for episode in part for frame in episode.frames[camera]]
            target = out / video.format(video_key=f"observation.images.{camera}", chunk_index=0, file_index=index)
            write_video(target, frames, "libsvtav1", {"crf": "30", "g": "40", "preset": "10"})
    pq.write_table(pa.Table.from_pylist(rows), out / "meta/episodes/chunk-000/file-000.parquet")


def main() -> None:
    out, count, rows = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    episodes = made_up(count, rows)
    write_v21(out / "v21-h264", episodes)
    write_v30(out / "v30-av1", episodes, "video")
    write_v30(out / "v30-jpeg", episodes, "image")


if __name__ == "__main__":
    main()
