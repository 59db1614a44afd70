"""Makes test/golden/variants: tiny policies for what the reference's own goldens do not cover, answered by the twin.

    makeVariants.py GOLDEN_FOLDER [NAME...]

GOLDEN_FOLDER is test/golden: the frames, sentences and tokenizers of libero-tiny are used. Each variant is drawn
again with the next seed until no selection (top-k, argmax) is closer to a tie than MIN_GAP.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file

from inputs import NumpyImages, Tokenizers, normalize_state, prompt_text, to_input_size, unnormalize_actions
from policy import STOP_ID, Policy, load
from policyFiles import write_json, write_policy
from randomPolicy import Language, Sampler, Text, Tower, Variant

MIN_GAP = 3e-4
MAX_NOISE = 5e-6
TWO = ("full_image", "wrist_image")
THREE = ("full_image", "left_wrist_image", "right_wrist_image")
STATE = [-0.21124, -0.01109, 1.17425, 0.31409, -0.00285, -0.08774, 0.03872, -0.03872]
STATES = (STATE + STATE[:6], [-0.463735, 0.292382, -0.250548, 0.213002, 0.567405, 0.321107, -0.317689, 0.58388] * 2)
INSTRUCTIONS = (
    "pick up the black bowl between the plate and the ramekin and place it on the plate",
    "Turn on the stove and put the Moka pot on it",
)
# 224x224 frames before the crop, by observation and camera: a file of the goldens and, in a sample, a tensor.
FRAMES = (
    (("libero-tiny/obs0/full_image.png", None), ("libero-tiny/obs0/wrist_image.png", None)),
    (
        ("libero-tiny/sample_o1_i1.safetensors", "image0.resized"),
        ("libero-tiny/sample_o1_i1.safetensors", "image1.resized"),
    ),
)
# Of FiLM the first block only: without the exchange the last block is one whose output nobody uses.
KEPT_STAGES = (
    "film.dinov2.block0.",
    "film.siglip.block0.",
    "siglip_text.projected",
    "dinov2.siglip_text.projected",
    "proprio.",
    "llm.window",
    "head.",
)
KEPT_IMAGE_STAGES = (
    "cropped",
    "sampler.output",
    "kept_patches",
    "kept_text",
    "patches_scores_sorted",
    "text_scores_sorted",
    "pooled_tokens",
    "fused_tokens",
)

VARIANTS = (
    Variant(
        name="lite",
        about="SemanticVLA-Lite: 16 + 5 tokens, 16 queries, exchange after three block pairs (the last not "
        "DINOv2's last block); statistics without mask, no `module.`, text folder by a path of another machine",
        dinov2=Tower(16, 5, 4, film=True, queries=16),
        siglip=Tower(21, 4, 3, sampler=Sampler(16, 5)),
        language=Language(24, 3, 4, 40),
        text=Text(16, 2, 4, 24),
        text_path="/data/pretrained/siglip-text",
        cameras=TWO,
        exchange=((0, 0), (2, 1), (3, 3)),
        mask=False,
        module_prefix=(),
    ),
    Variant(
        name="bridge",
        about="Bridge: 1 camera of 112 px (64 patches), no crop, 5 actions, 7 joints, temperature 0.25; a second "
        "dataset in the statistics; archives hold Parameters",
        dinov2=Tower(15, 3, 5, film=True, queries=12),
        siglip=Tower(22, 3, 2, sampler=Sampler(12, 3, 0.25)),
        language=Language(18, 2, 3, 30),
        text=Text(15, 1, 3, 25),
        cameras=TWO[:1],
        chunk=5,
        proprio_dim=7,
        center_crop=False,
        image_size=112,
        exchange=((1, 2),),
        second_dataset=True,
        archive_style="parameters",
        unnorm_key="bridge_orig",
        step=100000,
    ),
    Variant(
        name="oft-1-camera",
        about="OpenVLA-OFT with 1 camera, RMSNorm eps 1e-5 in the config; no `module.`",
        oft=True,
        dinov2=Tower(14, 3, 2),
        siglip=Tower(20, 3, 2),
        language=Language(24, 3, 2, 40, eps=1e-5),
        cameras=TWO[:1],
        head="single",
        tokens_per_step=-1,
        vision_archive=False,
        module_prefix=(),
    ),
    Variant(
        name="oft-3-cameras",
        about="OpenVLA-OFT for ALOHA: 3 cameras of 112 px, 14 joints, 25 actions, min/max",
        oft=True,
        dinov2=Tower(15, 3, 3),
        siglip=Tower(20, 3, 4),
        language=Language(18, 2, 3, 32),
        cameras=THREE,
        chunk=25,
        action_dim=14,
        proprio_dim=14,
        normalization="minmax",
        image_size=112,
        head="single",
        tokens_per_step=-1,
        vision_archive=False,
        unnorm_key="aloha_put_x_into_pot",
        step=50000,
    ),
    Variant(
        name="oft-plus",
        about="OpenVLA-OFT+: FiLM in both towers, every layer of the archive split for LoRA, patch convolution too",
        oft=True,
        dinov2=Tower(18, 3, 3, film=True),
        siglip=Tower(20, 3, 2, film=True),
        language=Language(24, 2, 4, 40),
        cameras=TWO,
        head="single",
        tokens_per_step=-1,
        lora_convolution=True,
        rank=2,
        alpha=4,
        archive_style="ordered",
    ),
    Variant(
        name="moe",
        about="moe aggregation after pruning, with exchange; `module.` in the vision archive too",
        dinov2=Tower(15, 3, 3, film=True, queries=20),
        siglip=Tower(20, 4, 4, sampler=Sampler(20, 4)),
        language=Language(20, 2, 2, 36),
        text=Text(16, 1, 2, 28),
        cameras=TWO,
        exchange=((0, 1), (2, 3)),
        aggregation="moe",
        module_prefix=("vision_backbone", "action_head", "proprio_projector"),
    ),
    Variant(
        name="no-exchange",
        about="pruned, without exchange between the towers: second-to-last blocks; archives are OrderedDicts",
        dinov2=Tower(16, 4, 2, film=True, queries=32),
        siglip=Tower(22, 3, 2, sampler=Sampler(32, 5)),
        language=Language(18, 2, 3, 40),
        text=Text(15, 1, 3, 24),
        cameras=TWO,
        archive_style="ordered",
    ),
    Variant(
        name="both-samplers",
        about="a sampler on each tower (3 and 5 pooled tokens, temperatures 0.5 and 2), no queries, FiLM, exchange",
        dinov2=Tower(18, 2, 3, film=True, sampler=Sampler(24, 3, 0.5)),
        siglip=Tower(20, 2, 5, sampler=Sampler(24, 5, 2.0)),
        language=Language(16, 2, 2, 28),
        text=Text(14, 1, 2, 24),
        cameras=TWO,
        exchange=((0, 0),),
    ),
    Variant(
        name="no-pooled",
        about="text_topk 0: no pooled tokens; the SigLIP tower frozen (no LoRA), LoRA of rank 8, no FiLM",
        dinov2=Tower(16, 3, 4, queries=10),
        siglip=Tower(21, 3, 3, freeze=True, sampler=Sampler(10, 0)),
        language=Language(16, 2, 2, 28),
        text=Text(16, 1, 2, 28),
        cameras=TWO,
        exchange=((0, 0), (2, 2)),
        rank=8,
        alpha=16,
    ),
    Variant(
        name="discrete",
        about="no action head: 256 action ids of the language model, one a dimension; no proprioception",
        dinov2=Tower(16, 2, 4, film=True, queries=8),
        siglip=Tower(18, 2, 2, sampler=Sampler(8, 2)),
        language=Language(20, 2, 2, 36),
        text=Text(16, 1, 2, 28),
        cameras=TWO[:1],
        exchange=((0, 0),),
        head=None,
        proprio_dim=0,
        tokens_per_step=-1,
    ),
    Variant(
        name="shards-only",
        about="SemanticVLA mask and heads, nothing pruned, no vision archive: the towers come from the shards",
        dinov2=Tower(18, 3, 3),
        siglip=Tower(22, 3, 2),
        language=Language(24, 2, 2, 40),
        cameras=TWO,
        vision_archive=False,
        image_size=112,
    ),
    Variant(
        name="queries-in-both",
        about="learned queries in both towers, no sampler: no SigLIP text at all",
        dinov2=Tower(16, 3, 2, film=True, queries=14),
        siglip=Tower(20, 3, 2, queries=14),
        language=Language(24, 2, 4, 40),
        cameras=TWO,
        exchange=((0, 1),),
    ),
    Variant(
        name="default-pairs",
        about="cross_vit_target_pairs null, the reference's default: (1, 1) and (-2, -2); archives in float32 off the "
        "bfloat16 grid, LoRA of rank 3 merged in bfloat16",
        dinov2=Tower(16, 4, 2, film=True, queries=12),
        siglip=Tower(18, 3, 2, sampler=Sampler(12, 3)),
        language=Language(20, 2, 2, 36),
        text=Text(16, 1, 2, 28),
        cameras=TWO,
        exchange=((1, 1), (-2, -2)),
        null_pairs=True,
        off_grid=True,
        rank=3,
        alpha=7,
    ),
    Variant(
        name="repeated-pairs",
        about="pairs that repeat a block, go back and end in the last one; images of 120 px, of which patches of 14 "
        "cover 112",
        dinov2=Tower(15, 4, 3, film=True, queries=10),
        siglip=Tower(20, 3, 2, sampler=Sampler(10, 2)),
        language=Language(18, 2, 3, 32),
        text=Text(14, 1, 2, 24),
        cameras=TWO,
        image_size=120,
        exchange=((1, 0), (1, 2), (0, 2), (3, -1), (3, 2)),
    ),
    Variant(
        name="oft-plus-off-grid",
        about="OpenVLA-OFT+ with its archives in float32 off the bfloat16 grid: parts rounded, LoRA never merged; images "
        "of 130 px, of which patches of 14 cover 126",
        oft=True,
        dinov2=Tower(15, 3, 3, film=True),
        siglip=Tower(20, 3, 2, film=True),
        language=Language(18, 2, 3, 32),
        cameras=TWO,
        head="single",
        tokens_per_step=-1,
        lora_convolution=True,
        image_size=130,
        off_grid=True,
        rank=3,
        alpha=5,
    ),
)


def frame_source(observation: int, camera: int) -> tuple[str, str | None]:
    """The third camera of observation 0 shows observation 1's full image, and the other way round."""
    return FRAMES[observation][camera] if camera < 2 else FRAMES[1 - observation][0]


def read_frame(goldens: Path, source: tuple[str, str | None]) -> np.ndarray:
    file, tensor = source
    if tensor is None:
        return np.array(Image.open(goldens / file).convert("RGB"))
    return load_file(goldens / file)[tensor]


def input_frames(goldens: Path, variant: Variant, observation: int, crop: bool) -> np.ndarray:
    """uint8 [I, S, S, 3] at the towers' size."""
    frames = [read_frame(goldens, frame_source(observation, camera)) for camera in range(len(variant.cameras))]
    if crop:
        frames = [NumpyImages().crop(frame) for frame in frames]
    size = {"image_resize_strategy": "resize-naive", "input_sizes": [[3, variant.image_size, variant.image_size]]}
    return to_input_size(np.stack(frames), size)


def copy_tokenizers(goldens: Path, variant: Variant, folder: Path) -> None:
    source = goldens / "libero-tiny" / "checkpoint"
    for file in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(source / file, folder / file)
    if variant.text is not None:
        for file in ("spiece.model", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(source / "siglip-text-tiny" / file, folder / Path(variant.text_path).name / file)


@dataclasses.dataclass
class Answer:
    """One prediction of the twin."""

    stages: dict[str, torch.Tensor]
    normalized: np.ndarray
    unnormalized: np.ndarray
    prompt_ids: list[int]
    siglip_ids: list[int] | None


def predict(
    goldens: Path,
    variant: Variant,
    policy: Policy,
    tokenizers: Tokenizers,
    sample: tuple[int, int],
    crop: bool | None = None,
) -> Answer:
    observation, sentence = sample
    data = policy.checkpoint.statistics[variant.unnorm_key]
    prompt = prompt_text(INSTRUCTIONS[sentence])
    state = None
    if variant.proprio_dim:
        raw = np.array(STATES[observation][: variant.proprio_dim])
        state = normalize_state(raw, data["proprio"], variant.normalization)
    stages: dict[str, torch.Tensor] = {}
    prompt_ids = tokenizers.prompt_ids(prompt)
    siglip_ids = tokenizers.siglip_ids(prompt)
    frames = input_frames(goldens, variant, observation, variant.center_crop if crop is None else crop)
    actions = policy.forward(
        frames, state, prompt_ids, siglip_ids, lambda name, tensor: stages.__setitem__(name, tensor.clone())
    )
    if variant.image_size != 224:
        stages |= {f"image{i}.cropped": torch.from_numpy(frame.copy()) for i, frame in enumerate(frames)}
    real = unnormalize_actions(actions, data["action"], variant.normalization)
    return Answer(stages, actions, real, prompt_ids, siglip_ids)


def selection_gap(variant: Variant, stages: dict[str, torch.Tensor]) -> float:
    """Smallest score difference between the last kept and the first dropped patch or text token."""
    gaps = [float("inf")]
    for index, (_, tower) in enumerate(variant.towers):
        if tower.sampler is None:
            continue
        mark = "" if index else "dinov2."
        for image in range(len(variant.cameras)):
            for kind, k in (("patches", tower.sampler.vision_topk), ("text", tower.sampler.text_topk)):
                scores = stages[f"image{image}.{mark}{kind}_scores_sorted"]
                if 0 < k < len(scores):
                    gaps.append((scores[k - 1] - scores[k]).item())
    if "logits_sorted" in stages:
        best = stages["logits_sorted"]
        gaps.append((best[:, 0] - best[:, 1]).min().item())
    return min(gaps)


def sensitivity(variant: Variant, policy: Policy, answer: Answer, again: Callable[..., Answer]) -> dict[str, float]:
    """How far plausible mistakes move the normalized actions of the first sample."""

    def moved(**options: bool) -> float:
        return float(np.abs(again(policy, (0, 0), **options).normalized - answer.normalized).max())

    out = {"center crop " + ("left out" if variant.center_crop else "applied"): moved(crop=not variant.center_crop)}
    llama = policy.llama
    policy.llama = dataclasses.replace(llama, eps=1e-6 if llama.eps == 1e-5 else 1e-5)
    out["other RMSNorm eps (1e-5 <-> 1e-6)"] = moved()
    policy.llama = llama
    policy.is_oft = not policy.is_oft
    out["the other family's attention mask"] = moved()
    policy.is_oft = not policy.is_oft
    samplers = policy.samplers
    if any(sampler and sampler.text_topk for sampler in samplers):
        policy.samplers = tuple(
            sampler and dataclasses.replace(sampler, temperature=2 * sampler.temperature) for sampler in samplers
        )
        out["pooling temperature doubled"] = moved()
        policy.samplers = samplers
    return out


def kept_stages(variant: Variant, stages: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    kept = {}
    # What leaves a tower, but for one whose sampler's output says as much with fewer rows.
    finals = {
        f"image0.{label}.final"
        for label, (_, tower) in zip(("dinov2", "siglip"), variant.towers, strict=True)
        if tower.sampler is None
    }
    for name, tensor in stages.items():
        image, _, stage = name.partition(".")
        stage = stage.removeprefix("dinov2.") if name not in finals else stage
        # Rows and scores of the first image only; for small grids the similarity too.
        wanted = name.startswith(KEPT_STAGES) or name in finals
        wanted |= name == "e_avg" and (variant.dinov2.film or variant.aggregation == "moe")
        if image.startswith("image"):
            small = stage.startswith(("kept", "pooled", "fused"))
            wanted |= small or (image == "image0" and stage.startswith(KEPT_IMAGE_STAGES))
            wanted |= stage.startswith("similarity") and image == "image0" and variant.patches <= 64
        if wanted and tensor.numel():
            kept[name] = tensor.contiguous() if tensor.dtype in (torch.uint8, torch.float32) else tensor.int()
    return kept


def indices(answer: Answer, kind: str) -> dict[str, list[list[int]]]:
    """By tower: one list a camera."""
    out: dict[str, list[list[int]]] = {}
    for tower, pattern in (("dinov2", rf"image\d+\.dinov2\.{kind}"), ("siglip", rf"image\d+\.{kind}")):
        keys = [key for key in answer.stages if re.fullmatch(pattern, key)]
        if keys:
            out[tower] = [answer.stages[key].tolist() for key in sorted(keys)]
    return out


def sample_entry(variant: Variant, sample: tuple[int, int], answer: Answer, stages: bool) -> dict[str, Any]:
    observation, sentence = sample
    frames = {}
    for camera, name in enumerate(variant.cameras):
        file, tensor = frame_source(observation, camera)
        frames[name] = {"file": file} | ({"tensor": tensor} if tensor else {})
    return {
        "instruction": INSTRUCTIONS[sentence],
        "frames": frames,
        "state": STATES[observation][: variant.proprio_dim] or None,
        "stages": stages,
        "prompt_ids": answer.prompt_ids,
        "siglip_ids": answer.siglip_ids,
        "kept_patches": indices(answer, "kept_patches"),
        "kept_text": indices(answer, "kept_text"),
        "normalized": answer.normalized.tolist(),
        "unnormalized": answer.unnormalized.tolist(),
    }


def make(goldens: Path, variant: Variant) -> None:
    source = Tokenizers(goldens / "libero-tiny" / "checkpoint", None)
    used = {STOP_ID} | {token for text in INSTRUCTIONS for token in source.prompt_ids(prompt_text(text))}
    variant = dataclasses.replace(variant, token_rows=tuple(sorted(used)))
    samples = ((0, 0), (1, 1))
    for seed in range(200):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_policy(variant, folder, seed, full=True)
            copy_tokenizers(goldens, variant, folder)
            options = {"chunk": variant.chunk, "action_dim": variant.action_dim}
            policy = load(folder, **options)
            tokenizers = Tokenizers(folder, policy.checkpoint.text_folder)

            def again(policy: Policy, sample: tuple[int, int], crop: bool | None = None) -> Answer:
                return predict(goldens, variant, policy, tokenizers, sample, crop)  # noqa: B023 - used in this turn

            answers = [again(policy, sample) for sample in samples]
            gap = min(selection_gap(variant, answer.stages) for answer in answers)
            if gap < MIN_GAP:
                continue
            wide = load(folder, dtype=torch.float64, **options)
            noise = max(
                float(np.abs(again(wide, sample).normalized - answer.normalized).max())
                for sample, answer in zip(samples, answers, strict=True)
            )
            if noise > MAX_NOISE:
                continue
            case = {
                "case": variant.name,
                "about": variant.about,
                "seed": seed,
                "options": {
                    **({"head": "discrete"} if variant.head is None else {}),
                    "cameras": list(variant.cameras),
                    "proprio": variant.proprio_dim > 0,
                    "centerCrop": variant.center_crop,
                    "chunk": variant.chunk,
                    "normalization": variant.normalization,
                },
                "unnorm_key": variant.unnorm_key,
                "action_dim": variant.action_dim,
                "text_folder": Path(variant.text_path).name if variant.text else None,
                "samples": [
                    sample_entry(variant, sample, answer, stages=not index)
                    for index, (sample, answer) in enumerate(zip(samples, answers, strict=True))
                ],
                "min_gap": gap if np.isfinite(gap) else None,
                "fp32_vs_fp64_max_abs_normalized": noise,
                "sensitivity": sensitivity(variant, policy, answers[0], again),
                "other_sample_max_abs_normalized": float(np.abs(answers[0].normalized - answers[1].normalized).max()),
            }
            if variant.off_grid:
                exact = again(load(folder, rounding="none", **options), (0, 0))
                moved = float(np.abs(exact.normalized - answers[0].normalized).max())
                case["sensitivity"]["weights not rounded to bfloat16"] = moved
        target = goldens / "variants" / variant.name
        shutil.rmtree(target, ignore_errors=True)
        write_policy(variant, target / "checkpoint", seed, full=False)
        stages = kept_stages(variant, answers[0].stages)
        save_file(stages, target / "stages.safetensors", {"format": "pt"})
        write_json(target / "case.json", case)
        size = sum(file.stat().st_size for file in target.rglob("*") if file.is_file())
        spread = np.abs(answers[0].normalized).max()
        print(
            f"{variant.name}: seed {seed}, gap {gap:.1e}, noise {noise:.1e}, |actions| {spread:.2f}, {size // 1024} KiB"
        )
        for name, value in (case["sensitivity"] | {"other sample": case["other_sample_max_abs_normalized"]}).items():
            print(f"    {name}: {value:.1e}")
        return
    raise RuntimeError(f"{variant.name}: no seed among 200 keeps ties apart")


def main(arguments: list[str]) -> int:
    goldens, names = Path(arguments[0]), arguments[1:]
    for variant in VARIANTS:
        if not names or variant.name in names:
            make(goldens, variant)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
