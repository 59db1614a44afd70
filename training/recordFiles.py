"""Observations as the program reads them: a folder with observation.json and a JPEG a camera."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tasks import Arena

QUALITY = 90


def write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def observe(arena: Arena) -> dict[str, Any]:
    """State and, for tests, where the named object and its goal are in each frame."""
    return {"state": [round(float(value), 7) for value in arena.state()], **arena.targets()}


def write_frames(
    folder: Path, prefix: str, frames: dict[str, np.ndarray], side: int | None = None, quality: int = QUALITY
) -> dict[str, str]:
    """By camera, the file's name. `side`: resized (Lanczos) to that many pixels."""
    files = {}
    for camera, frame in frames.items():
        picture = Image.fromarray(frame)
        if side is not None:
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        files[camera] = f"{prefix}{camera}.jpg"
        picture.save(folder / files[camera], "JPEG", quality=quality, subsampling=0)
    return files
