"""From frames, state and a sentence to what the policy takes, and back to actions (docs/model.md, "Input", "Un-normalize").

With `tensorflow=True` the image operations are TensorFlow's own, as the reference runs them on every call; without it
only frames that are 224x224 already can be cropped (in numpy, the same arithmetic), anything else is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 224
AREA = 0.9


def prompt_text(instruction: str) -> str:
    return f"In: What action should the robot take to {instruction.lower()}?\nOut:"


class TensorFlowImages:
    """JPEG round trip, Lanczos3 and center crop by TensorFlow."""

    def __init__(self, threads: int) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
        self._tf = tf
        self.version: str = tf.__version__

    def resize(self, image: np.ndarray) -> np.ndarray:
        tf = self._tf
        decoded = tf.io.decode_image(tf.image.encode_jpeg(image), expand_animations=False, dtype=tf.uint8)
        resized = tf.image.resize(decoded, (SIDE, SIDE), method="lanczos3", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8).numpy()

    def crop(self, image: np.ndarray) -> np.ndarray:
        tf = self._tf
        unit = tf.image.convert_image_dtype(tf.convert_to_tensor(image), tf.float32)
        side = tf.clip_by_value(tf.sqrt(AREA), 0, 1)
        start = (1 - side) / 2
        boxes = tf.reshape(tf.stack([start, start, start + side, start + side]), (1, 4))
        cropped = tf.image.crop_and_resize(unit[None], boxes, tf.range(1), (SIDE, SIDE))[0]
        return tf.image.convert_image_dtype(tf.clip_by_value(cropped, 0, 1), tf.uint8, saturate=True).numpy()


class NumpyImages:
    """The center crop alone, in float32 numpy; bit-equal to TensorFlow's on the goldens."""

    version = None

    def resize(self, image: np.ndarray) -> np.ndarray:
        raise ValueError(f"expected a {SIDE}x{SIDE} frame, found {image.shape}; other sizes need tensorflow-cpu")

    def crop(self, image: np.ndarray) -> np.ndarray:
        one, last = np.float32(1), np.float32(SIDE - 1)
        side = np.sqrt(np.float32(AREA))
        start = (one - side) / np.float32(2)
        end = start + side
        at = start * last + np.arange(SIDE, dtype=np.float32) * ((end - start) * last / last)
        low = np.floor(at).astype(np.int64)
        high = np.ceil(at).astype(np.int64)
        t = at - low.astype(np.float32)
        unit = image.astype(np.float32) * np.float32(1 / 255)
        tx = t[None, :, None]
        rows = unit[:, low] + (unit[:, high] - unit[:, low]) * tx
        out = rows[low] + (rows[high] - rows[low]) * t[:, None, None]
        return np.trunc(np.clip(out, 0, 1) * np.float32(255.5)).astype(np.uint8)


Images = TensorFlowImages | NumpyImages


def to_input_size(images: np.ndarray, preprocessor: dict[str, Any]) -> np.ndarray:
    """What the checkpoint's image processor does before normalizing: PIL bicubic to the towers' size, [I, S, S, 3]."""
    if preprocessor["image_resize_strategy"] != "resize-naive":
        raise ValueError(f"image_resize_strategy: expected resize-naive, found {preprocessor['image_resize_strategy']}")
    _, height, width = preprocessor["input_sizes"][0]
    if images.shape[1:3] == (height, width):
        return images
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)) for image in images]
    )


def read_observation(folder: Path | str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Frames by camera in the file's order, and the state."""
    folder = Path(folder)
    content = json.loads((folder / "observation.json").read_text(encoding="utf-8"))
    frames = {name: np.array(Image.open(folder / file).convert("RGB")) for name, file in content["images"].items()}
    return frames, np.asarray(content["state"], dtype=np.float64)


def choose_cameras(names: Sequence[str], count: int) -> list[str]:
    """`full_image` first, then every camera with `wrist` in its name, in order (docs/model.md, "Input" 1)."""
    chosen = ["full_image"] + ([name for name in names if "wrist" in name] if count > 1 else [])
    if len(chosen) != count:
        raise ValueError(f"expected {count} cameras, found {chosen} among {list(names)}")
    return chosen


class Tokenizers:
    """The reference's processors: Llama's fast tokenizer and SigLIP's sentencepiece one."""

    def __init__(self, folder: Path, text_folder: Path | None) -> None:
        from transformers import AutoTokenizer

        self._llama = AutoTokenizer.from_pretrained(folder)
        self._siglip = None if text_folder is None else AutoTokenizer.from_pretrained(text_folder)

    def prompt_ids(self, prompt: str) -> list[int]:
        ids = self._llama(prompt).input_ids
        return ids if ids[-1] == 29871 else [*ids, 29871]

    def siglip_ids(self, prompt: str) -> list[int] | None:
        if self._siglip is None:
            return None
        return self._siglip([prompt], padding="max_length").input_ids[0]


def _bounds(statistics: dict[str, Any], normalization: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    low, high = {"q99": ("q01", "q99"), "minmax": ("min", "max")}[normalization]
    mask = statistics.get("mask", [True] * len(statistics[low]))
    return np.array(mask, dtype=bool), np.array(statistics[low]), np.array(statistics[high])


def normalize_state(state: np.ndarray, statistics: dict[str, Any], normalization: str) -> np.ndarray:
    mask, low, high = _bounds(statistics, normalization)
    return np.clip(np.where(mask, 2 * (state - low) / (high - low + 1e-8) - 1, state), -1, 1)


def unnormalize_actions(actions: np.ndarray, statistics: dict[str, Any], normalization: str) -> np.ndarray:
    """[C, A] float64"""
    mask, low, high = _bounds(statistics, normalization)
    wide = actions.astype(np.float64)
    return np.where(mask, 0.5 * (wide + 1) * (high - low + 1e-8) + low, wide)
