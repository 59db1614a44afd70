"""The baseline as a process: one JSON request a line on stdin, one JSON answer a line on stdout.

    {"cmd": "load", "dir": FOLDER, "chunk": 8, "threads": 2, "cameras": 2}
        -> {"ok": true, "seconds", "parameters", "residentMiB", "logits", "torch", "images"}
       also: "dtype" "float32" | "bfloat16", "normalization" "q99" | "minmax", "proprio" (true), "centerCrop" (true),
       "lean" (false: everything that the reference computes on every call; see policy.py), "actionDim" (without head)
    {"cmd": "predict", "observation": FOLDER, "instruction": TEXT, "unnorm_key": KEY, "repeat": 1}
        -> {"ok": true, "endToEndMs": [...], "modelMs": [...], "actions": [[...]], "normalized": [[...]]}
    {"cmd": "quit"}

A request that fails is answered {"ok": false, "error": TEXT}. One policy at a time: loading frees the one before.

End to end is what the reference does between frames in memory and actions: JPEG round trip and resize (of frames that
are not 224x224), center crop, and, once a camera, both tokenizers and the processor's normalization; then the model.
The image operations are TensorFlow's where tensorflow-cpu can be imported; `images` in the answer says which ran.
"Model" is from normalized pixels and token ids to normalized actions.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inputs import (
    Images,
    NumpyImages,
    TensorFlowImages,
    Tokenizers,
    choose_cameras,
    normalize_state,
    prompt_text,
    read_observation,
    to_input_size,
    unnormalize_actions,
)
from policy import Policy, load

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Answer = dict[str, Any]


@dataclass
class Loaded:
    policy: Policy
    tokenizers: Tokenizers
    cameras: int
    proprio: bool
    center_crop: bool
    normalization: str


class Server:
    def __init__(self) -> None:
        self._loaded: Loaded | None = None
        self._images: Images | None = None
        self._threads: int | None = None

    def answer(self, request: dict[str, Any]) -> Answer:
        commands: dict[str, Callable[[dict[str, Any]], Answer]] = {"load": self._load, "predict": self._predict}
        command = commands.get(request.get("cmd", ""))
        if command is None:
            raise ValueError(f"cmd: expected one of {[*commands, 'quit']}, found {request.get('cmd')!r}")
        return command(request)

    def _load(self, request: dict[str, Any]) -> Answer:
        self._loaded = None
        threads = int(request["threads"])
        self._set_threads(threads)
        folder, dtype = Path(request["dir"]), DTYPES[request.get("dtype", "float32")]
        refuse_if_too_large(folder, dtype)
        start = time.perf_counter()
        policy = load(
            folder,
            chunk=int(request["chunk"]),
            dtype=dtype,
            action_dim=request.get("actionDim"),
            lean=bool(request.get("lean", False)),
        )
        self._loaded = Loaded(
            policy=policy,
            tokenizers=Tokenizers(folder, policy.checkpoint.text_folder),
            cameras=int(request["cameras"]),
            proprio=bool(request.get("proprio", True)),
            center_crop=bool(request.get("centerCrop", True)),
            normalization=request.get("normalization", "q99"),
        )
        version = self._images.version if self._images else None
        return {
            "seconds": round(time.perf_counter() - start, 3),
            "parameters": sum(tensor.numel() for tensor in policy.checkpoint.tensors.values()),
            "residentMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "logits": policy.computes_logits,
            "torch": torch.__version__,
            "images": f"tensorflow {version}" if version else "numpy: tensorflow-cpu cannot be imported",
        }

    def _set_threads(self, threads: int) -> None:
        if self._threads is None:
            torch.set_num_threads(threads)
            torch.set_num_interop_threads(1)
            try:
                self._images = TensorFlowImages(threads)
            except ImportError:
                self._images = NumpyImages()
            self._threads = threads
        elif self._threads != threads:
            raise ValueError(f"threads: this process runs with {self._threads}; start another one for {threads}")

    def _predict(self, request: dict[str, Any]) -> Answer:
        loaded = self._loaded
        if loaded is None:
            raise ValueError("predict: load a policy first")
        frames, state = read_observation(request["observation"])
        names = choose_cameras(list(frames), loaded.cameras)
        end_to_end, model = [], []
        for _ in range(int(request.get("repeat", 1))):
            start = time.perf_counter()
            actions, normalized, seconds = self._once(
                loaded, [frames[name] for name in names], state, request["instruction"], request["unnorm_key"]
            )
            end_to_end.append(round((time.perf_counter() - start) * 1e3, 3))
            model.append(round(seconds * 1e3, 3))
        return {
            "endToEndMs": end_to_end,
            "modelMs": model,
            "actions": actions.tolist(),
            "normalized": normalized.tolist(),
        }

    def _once(
        self, loaded: Loaded, frames: list[np.ndarray], state: np.ndarray, instruction: str, key: str
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """One prediction: actions, normalized actions, seconds in the model."""
        policy, tokenizers = loaded.policy, loaded.tokenizers
        assert self._images is not None
        prompt = prompt_text(instruction)
        pixels = []
        for frame in frames:
            image = frame if frame.shape[:2] == (224, 224) else self._images.resize(frame)
            image = self._images.crop(image) if loaded.center_crop else image
            prompt_ids = tokenizers.prompt_ids(prompt)
            siglip_ids = tokenizers.siglip_ids(prompt)
            pixels.append(policy.pixels(to_input_size(image[None], policy.checkpoint.preprocessor)[0]))
        statistics = policy.checkpoint.statistics[key]
        proprio = normalize_state(state, statistics["proprio"], loaded.normalization) if loaded.proprio else None
        start = time.perf_counter()
        normalized = policy.run(pixels, proprio, prompt_ids, siglip_ids)
        seconds = time.perf_counter() - start
        return unnormalize_actions(normalized, statistics["action"], loaded.normalization), normalized, seconds


def refuse_if_too_large(folder: Path, dtype: torch.dtype) -> None:
    """Keeps a load that would not fit in memory from starting. Files hold bfloat16, or wider."""
    weights = [*folder.glob("*.safetensors"), *folder.glob("*.pt")]
    needed = sum(file.stat().st_size for file in weights) * torch.finfo(dtype).bits // 16
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    if needed > 0.9 * available:
        raise MemoryError(f"{folder}: needs about {needed / 2**30:.1f} GiB of memory, {available / 2**30:.1f} are free")


def main() -> int:
    server = Server()
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            if request.get("cmd") == "quit":
                break
            answer = {"ok": True} | server.answer(request)
        except Exception as error:  # every failure is an answer, the process goes on
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
