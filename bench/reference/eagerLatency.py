"""Latency of the baseline in PyTorch eager on one device: a line of JSON and a line of text.

    python3 bench/reference/eagerLatency.py FOLDER [--device cuda] [--dtype bfloat16] [--warm-ups 300] [--runs 1000]

From uint8 images in host memory to actions in host memory, batch 1, a prompt of 32 tokens, what the policy computes and
nothing else ("lean").
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

import numpy as np
import torch

from checkpoint import read_checkpoint
from policy import Policy

PROMPT, TEXT = 32, 64


def on_device(device: str) -> None:
    """What the baseline makes on the CPU is made on the device: it names none itself."""
    from_numpy, numpy = torch.from_numpy, torch.Tensor.numpy
    torch.from_numpy = lambda array: from_numpy(array).to(device)
    torch.Tensor.numpy = lambda tensor: numpy(tensor.cpu())
    torch.set_default_device(device)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--warm-ups", type=int, default=300)
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()

    read = read_checkpoint(args.folder, getattr(torch, args.dtype))
    tensors = {name: tensor.to(args.device) for name, tensor in read.tensors.items()}
    on_device(args.device)
    policy = Policy(dataclasses.replace(read, tensors=tensors), chunk=args.chunk, discrete=False, lean=True)

    random = np.random.default_rng(0)
    side = 224
    images = random.integers(0, 256, (args.images, side, side, 3), dtype=np.uint8)
    width = tensors["proprio_projector.fc1.weight"].shape[1]
    proprio = random.uniform(-1, 1, width)
    # low ids are in every vocabulary
    prompt = [1, *random.integers(3, 90, PROMPT - 1).tolist()]
    text = [*random.integers(2, 60, PROMPT).tolist(), *[1] * (TEXT - PROMPT)]

    milliseconds = []
    for run in range(args.warm_ups + args.runs):
        start = time.perf_counter()
        # ends with a copy to the host, which waits for the device
        policy.forward(images, proprio, prompt, text)
        if run >= args.warm_ups:
            milliseconds.append(1000 * (time.perf_counter() - start))
    p50, p90, p99 = np.percentile(milliseconds, [50, 90, 99])
    report = {"device": args.device, "dtype": args.dtype, "runs": args.runs, "p50": p50, "p90": p90, "p99": p99}
    print(json.dumps(report))
    print(f"PyTorch {torch.__version__} eager, {args.dtype}: p50 {p50:.2f} ms, p90 {p90:.2f} ms, p99 {p99:.2f} ms")


if __name__ == "__main__":
    main()
