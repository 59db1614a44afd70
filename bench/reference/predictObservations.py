"""The twin's actions for stored observations: predictObservations.py FOLDER CHECKPOINT [--unnorm-key KEY]

FOLDER/observations.json lists observations with `images` (224 pixels a side), `state` and `instruction`; each gets
`normalized` [C, A], what the twin predicts in float32, and by camera the patches that it `kept`; the file is written
again. `test/golden/libero-trained` and `test/golden/cubes` were made so.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from inputs import NumpyImages, Tokenizers, normalize_state, prompt_text, to_input_size
from policy import load

CAMERAS = ("full_image", "wrist_image")
CHUNK = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--unnorm-key", default="five_cubes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    policy = load(given.checkpoint, chunk=CHUNK)
    tokenizers = Tokenizers(given.checkpoint, policy.checkpoint.text_folder)
    statistics = policy.checkpoint.statistics[given.unnorm_key]
    crop = NumpyImages().crop
    file = given.folder / "observations.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    for one in content["observations"]:
        frames = [np.array(Image.open(given.folder / one["images"][camera]).convert("RGB")) for camera in CAMERAS]
        images = np.stack([crop(frame) for frame in frames])
        prompt = prompt_text(one["instruction"])
        stages: dict[str, torch.Tensor] = {}
        actions = policy.forward(
            to_input_size(images, policy.checkpoint.preprocessor),
            normalize_state(np.array(one["state"]), statistics["proprio"], "q99"),
            tokenizers.prompt_ids(prompt),
            tokenizers.siglip_ids(prompt),
            lambda name, tensor, stages=stages: stages.__setitem__(name, tensor.clone()),
        )
        one["normalized"] = [[round(float(value), 7) for value in row] for row in actions]
        one["kept"] = {camera: stages[f"image{i}.kept_patches"].tolist() for i, camera in enumerate(CAMERAS)}
    lines = ",\n".join(json.dumps(one) for one in content["observations"])
    file.write_text(f'{{"observations": [\n{lines}\n]}}\n', encoding="utf-8")
    print(f"{file}: {len(content['observations'])} observations, torch {torch.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
