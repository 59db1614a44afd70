"""The reference's preprocessing with TensorFlow's own ops, timed for hostPath.ts.

Reads lines from standard input and answers each with one JSON line:
    `frames FILE HEIGHT WIDTH COUNT`   raw RGB bytes of COUNT frames, one after the other
    `round MODE OUTPUT N`              milliseconds of N runs over all frames
    `result`                           SHA-256 of the policy images of the last run
MODE `eager` calls the ops one by one, as the reference does; `graph` compiles them into one tf.function for all frames.
OUTPUT `images` stops at the policy images; `pixels` goes on to both towers' normalized pixel values.
"""

import hashlib
import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

SIZE = 224
TOWERS = [([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])]


def prepare(image, output):
    """[H, W, 3] uint8 to the policy image [224, 224, 3] uint8 and, for `pixels`, both towers' [3, 224, 224] float32."""
    image = tf.io.decode_image(tf.image.encode_jpeg(image), expand_animations=False, dtype=tf.uint8)
    image = tf.image.resize(image, (SIZE, SIZE), method="lanczos3", antialias=True)
    image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
    side = tf.sqrt(0.9)
    first = (1 - side) / 2
    box = tf.reshape(tf.stack([first, first, first + side, first + side]), (1, 4))
    unit = tf.image.convert_image_dtype(image, tf.float32)[None]
    unit = tf.image.crop_and_resize(unit, box, [0], (SIZE, SIZE))[0]
    cropped = tf.image.convert_image_dtype(tf.clip_by_value(unit, 0, 1), tf.uint8, saturate=True)
    if output == "images":
        return [cropped]
    scaled = tf.cast(cropped, tf.float32) / 255.0
    return [cropped] + [tf.transpose((scaled - mean) / std, (2, 0, 1)) for mean, std in TOWERS]


def main():
    threads = int(sys.argv[1])
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    def prepare_all(frames, output):
        return [prepare(frame, output) for frame in frames]

    modes = {"eager": prepare_all, "graph": tf.function(prepare_all)}
    frames = []
    last = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == "frames":
            height, width, count = map(int, words[2:])
            raw = np.fromfile(words[1], np.uint8).reshape(count, height, width, 3)
            frames = [tf.constant(image) for image in raw]
            answer = {"tensorflow": tf.__version__}
        elif words[0] == "round":
            times = []
            for _ in range(int(words[3])):
                start = time.perf_counter()
                last = [[tensor.numpy() for tensor in frame] for frame in modes[words[1]](frames, words[2])]
                times.append((time.perf_counter() - start) * 1000)
            answer = times
        else:
            answer = hashlib.sha256(b"".join(frame[0].tobytes() for frame in last)).hexdigest()
        print(json.dumps(answer), flush=True)


main()
