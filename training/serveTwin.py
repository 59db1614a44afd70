"""Serves bench/reference's twin of a checkpoint's policy: serveTwin.py FOLDER

POST /act as the program answers it (docs/serving.md), for evaluations: one request at a time, one thread, float32.
Prints {"act": URL} once it listens. The images go the reference's way (JPEG, Lanczos, crop: TensorFlow's operations).
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import torch

from policies import decoded, encoded
from reference import inputs, policy


class Served:
    def __init__(self, folder: Path) -> None:
        torch.set_num_threads(1)
        # no output layer runs and a sentence is encoded once: nothing of it changes an action
        self._policy = policy.load(folder, chunk=8, lean=True)
        self._tokenizers = inputs.Tokenizers(folder, self._policy.checkpoint.text_folder)
        self._images = inputs.TensorFlowImages(1)
        (self._statistics,) = self._policy.checkpoint.statistics.values()

    def act(self, observation: dict) -> list[np.ndarray]:
        names = [name for name in observation if name.endswith("_image")]
        frames = []
        for name in inputs.choose_cameras(names, len(names)):
            frames.append(self._images.crop(self._images.resize(observation[name])))
        preprocessor = self._policy.checkpoint.preprocessor
        images = inputs.to_input_size(np.stack(frames), preprocessor)
        prompt = inputs.prompt_text(observation["instruction"])
        ids = self._tokenizers.prompt_ids(prompt), self._tokenizers.siglip_ids(prompt)
        state = inputs.normalize_state(observation["state"], self._statistics["proprio"], "q99")
        normalized = self._policy.forward(images, state, *ids)
        return list(inputs.unnormalize_actions(normalized, self._statistics["action"], "q99"))


def main() -> int:
    served = Served(Path(sys.argv[1]))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            observation = json.loads(self.rfile.read(length), object_hook=decoded)
            answer = json.dumps([encoded(action) for action in served.act(observation)]).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"act": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
