"""Makes steps.safetensors: small images through real TensorFlow and Pillow, for sizes at which JPEG arithmetic has
special cases (partial blocks, one or two chroma columns, single pixels).

    python make.py   # needs tensorflow-cpu, pillow, safetensors, numpy; written with TensorFlow 2.21, Pillow 10.4 (later
                     # versions sometimes resize vertically first; for squares all agree)

Keys: `HxW.raw`; `HxW.decoded` = tf.io.decode_image(tf.image.encode_jpeg(raw)); `resize.K.raw`, `resize.K.HxW.lanczos` =
Lanczos3 antialiased, rounded; `resize.K.HxW.bicubic` = Pillow.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from safetensors.numpy import save_file

random = np.random.default_rng(20251)


def draw(height, width, kind):
    if kind == "noise":
        image = random.integers(0, 256, (height, width, 3))
    elif kind == "extremes":  # overflows the 16 bits of the fast inverse DCT most easily
        image = random.integers(0, 2, (height, width, 3)) * 255
    else:
        y, x = np.mgrid[:height, :width]
        image = np.stack([128 + 120 * np.sin(x / 7 + y / 11), 128 + 120 * np.sin(x / 3 - y / 5), (x * 3 + y * 5) % 256], -1)
    return np.ascontiguousarray(image.astype(np.uint8))


def lanczos(image, height, width):
    resized = tf.image.resize(image, (height, width), method="lanczos3", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8).numpy()


def bicubic(image, height, width):
    return np.asarray(Image.fromarray(image).resize((width, height), Image.BICUBIC))


tensors = {}
sizes = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 4), (4, 5), (5, 3), (7, 6), (8, 8), (9, 17), (15, 16), (16, 15), (17, 33)]
for i, (height, width) in enumerate(sizes + [(33, 17), (31, 64), (40, 33), (65, 47)]):
    raw = draw(height, width, ("noise", "extremes", "waves")[i % 3])
    tensors[f"{height}x{width}.raw"] = raw
    jpeg = tf.image.encode_jpeg(raw)
    tensors[f"{height}x{width}.decoded"] = tf.io.decode_image(jpeg, expand_animations=False, dtype=tf.uint8).numpy()

resizes = [((1, 1), (3, 5)), ((5, 7), (13, 6)), ((33, 20), (9, 31)), ((40, 57), (24, 24)), ((24, 24), (41, 41))]
for i, ((height, width), (outHeight, outWidth)) in enumerate(resizes):
    raw = draw(height, width, ("noise", "extremes", "waves")[i % 3])
    tensors[f"resize.{i}.raw"] = raw
    tensors[f"resize.{i}.{outHeight}x{outWidth}.lanczos"] = lanczos(raw, outHeight, outWidth)
    tensors[f"resize.{i}.{outHeight}x{outWidth}.bicubic"] = bicubic(raw, outHeight, outWidth)

save_file(tensors, Path(__file__).with_name("steps.safetensors"))
