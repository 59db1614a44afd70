"""Writes a tiny random policy in the layout that training leaves on disk (docs/model.md, "Checkpoint on disk").

To keep the files small, tables and superseded tensors are written sparse (see `write_shards`) unless `full` is asked.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from randomPolicy import (
    PADDED,
    VOCABULARY,
    Maker,
    Text,
    Variant,
    head_weights,
    language_weights,
    projector_weights,
    tower_weights,
    vision_state,
)


def bounds(make: Maker, count: int, mask: bool, gripper: bool) -> dict[str, list[float] | list[bool]]:
    centre, half = make.normal(count, std=0.1), 0.3 + make.normal(count, std=0.3).abs()
    out: dict[str, Any] = {
        "mean": centre.tolist(),
        "std": (half / 2).tolist(),
        "max": (centre + half).tolist(),
        "min": (centre - half).tolist(),
        "q01": (centre - 0.9 * half).tolist(),
        "q99": (centre + 0.9 * half).tolist(),
    }
    return out | ({"mask": [True] * (count - gripper) + [False] * gripper} if mask else {})


def statistics(make: Maker, variant: Variant) -> dict[str, Any]:
    def dataset(action_mask: bool) -> dict[str, Any]:
        return {
            "action": bounds(make, variant.action_dim, action_mask, gripper=True),
            "proprio": bounds(make, variant.proprio_dim or 8, False, gripper=False),
            "num_transitions": 1000,
            "num_trajectories": 10,
        }

    out = {variant.unnorm_key: dataset(variant.mask)}
    return ({"another_dataset": dataset(True)} if variant.second_dataset else {}) | out


def config(variant: Variant) -> dict[str, Any]:
    language = variant.language
    text: dict[str, Any] = {
        "model_type": "llama",
        "hidden_size": language.width,
        "intermediate_size": language.mlp,
        "num_hidden_layers": language.layers,
        "num_attention_heads": language.heads,
        "num_key_value_heads": language.heads,
        "max_position_embeddings": 2048,
        "vocab_size": VOCABULARY,
        "pad_token_id": 32000,
        "torch_dtype": "bfloat16",
    }
    if language.eps is not None:
        text["rms_norm_eps"] = language.eps
    out: dict[str, Any] = {
        "architectures": ["OpenVLAForActionPrediction"],
        "model_type": "openvla",
        "arch_specifier": "no-align+fused-gelu-mlp",
        "hf_llm_id": "meta-llama/Llama-2-7b-hf",
        "llm_backbone_id": "llama2-7b-pure",
        "image_resize_strategy": "resize-naive",
        "image_sizes": [variant.image_size] * 2,
        "n_action_bins": 256,
        "pad_to_multiple_of": PADDED,
        "pad_token_id": 32000,
        "text_config": text,
        "timm_model_ids": ["vit_large_patch14_reg4_dinov2.lvd142m", "vit_so400m_patch14_siglip_224"],
        "timm_override_act_layers": [None, None],
        "timm_override_args": [
            {"depth": tower.depth, "embed_dim": tower.width, "num_heads": tower.heads} for _, tower in variant.towers
        ],
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.1",
        "use_fused_vision_backbone": True,
        "vision_backbone_id": "dinosiglip-vit-so-224px",
    }
    if variant.oft:
        return out
    for name, tower in variant.towers:
        sampler = tower.sampler
        out[f"{name}_cfg"] = {
            "use_film": tower.film,
            "freeze": tower.freeze,
            "use_reg": tower.queries > 0,
            "num_vision_queries": tower.queries or -1,
            "use_mm_sampler": sampler is not None,
            "text_encoder_path": variant.text_path if sampler else None,
            "vision_topk": sampler.vision_topk if sampler else -1,
            "text_topk": sampler.text_topk if sampler else -1,
        } | ({"temp": sampler.temperature} if sampler and sampler.temperature else {})
    return out | {
        "vision_aggregate_type": variant.aggregation,
        "num_action_tokens": variant.tokens_per_step,
        "enable_cross_vit_interact": bool(variant.exchange),
        "cross_vit_target_pairs": None if variant.null_pairs else [list(pair) for pair in variant.exchange],
        "cross_vit_type": "default",
    }


def preprocessor(variant: Variant) -> dict[str, Any]:
    size = variant.image_size
    means, stds = [[0.484375, 0.455078125, 0.40625], [0.5] * 3], [[0.228515625, 0.2236328125, 0.224609375], [0.5] * 3]
    return {
        "image_processor_type": "PrismaticImageProcessor",
        "processor_class": "PrismaticProcessor",
        "image_resize_strategy": "resize-naive",
        "input_sizes": [[3, size, size]] * 2,
        "interpolations": ["bicubic", "bicubic"],
        "means": means,
        "stds": stds,
        "tvf_crop_params": [{"output_size": [size, size]}] * 2,
        "tvf_do_letterbox": False,
        "tvf_letterbox_fill": None,
        "tvf_normalize_params": [
            {"inplace": False, "mean": mean, "std": std} for mean, std in zip(means, stds, strict=True)
        ],
        "tvf_resize_params": [{"antialias": True, "interpolation": 3, "max_size": None, "size": [size, size]}] * 2,
        "use_fused_vision_backbone": True,
    }


def text_config(text: Text) -> dict[str, Any]:
    return {
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "text_config": {
            "model_type": "siglip_text_model",
            "hidden_size": text.width,
            "intermediate_size": text.mlp,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "max_position_embeddings": text.positions,
            "vocab_size": text.vocabulary,
            "layer_norm_eps": 1e-6,
            "hidden_act": "gelu_pytorch_tanh",
        },
    }


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1)
    # Lists of numbers on one line each.
    text = re.sub(
        r"\[[^][{}\"]*\]", lambda found: " ".join(found[0].split()).replace("[ ", "[").replace(" ]", "]"), text
    )
    path.write_text(text + "\n", encoding="utf-8")


def write_shards(folder: Path, state: dict[str, torch.Tensor], full: bool) -> None:
    """Two shards in bfloat16.

    full: as on disk, with `model.safetensors.index.json`. Else `model-*.sparse.safetensors`, in which a tensor that
    is mostly zero rows is absent and its metadata entry `sparse` (JSON: name -> shape) says so; `NAME.rows` (I32) and
    `NAME.values` hold the rows that are not zero, where there are any.
    """
    names = sorted(state)
    late = [name for name in names if ".layers.1." in name or name.endswith("lm_head.weight")]
    index: dict[str, str] = {}
    for number, members in enumerate(([name for name in names if name not in late], late), start=1):
        stem = f"model-{number:05d}-of-00002"
        tensors: dict[str, torch.Tensor] = {}
        sparse: dict[str, list[int]] = {}
        for name in members:
            index[name] = f"{stem}.safetensors"
            tensor = state[name].bfloat16()
            rows = tensor.flatten(1).any(dim=1).nonzero().flatten() if tensor.ndim > 1 else None
            if full or rows is None or len(rows) > len(tensor) // 2:
                tensors[name] = tensor.contiguous()
                continue
            sparse[name] = list(tensor.shape)
            if len(rows):
                tensors |= {f"{name}.rows": rows.int(), f"{name}.values": tensor[rows].contiguous()}
        # One key each: with two, the writer's order of keys differs from run to run.
        metadata = {"format": "pt"} if full else {"sparse": json.dumps(sparse)}
        save_file(tensors, folder / f"{stem}{'' if full else '.sparse'}.safetensors", metadata)
    if full:
        total = sum(tensor.numel() * 2 for tensor in state.values())
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": index})


def write_archive(variant: Variant, folder: Path, stem: str, state: dict[str, torch.Tensor]) -> None:
    """A `.pt` file, styled as the variant says; proprioception and FiLM in float32, the rest in bfloat16."""
    prefix = "module." if stem in variant.module_prefix else ""
    out: dict[str, torch.Tensor] = OrderedDict() if variant.archive_style == "ordered" else {}
    for name, tensor in state.items():
        wide = variant.off_grid or stem == "proprio_projector" or ".scale." in name or ".shift." in name
        value = tensor.clone() if wide else tensor.bfloat16()
        as_parameter = variant.archive_style == "parameters"
        out[prefix + name] = torch.nn.Parameter(value, requires_grad=False) if as_parameter else value
    if isinstance(out, OrderedDict):
        # What `module.state_dict()` attaches; it becomes part of the pickle.
        out._metadata = OrderedDict({"": {"version": 1}})
    torch.save(out, folder / f"{stem}--{variant.step}_checkpoint.pt")


def write_policy(variant: Variant, folder: Path, seed: int, full: bool) -> None:
    """The whole folder but for the tokenizers' files."""
    make = Maker(seed, variant.off_grid)
    folder.mkdir(parents=True, exist_ok=True)
    vision = vision_state(make, variant)
    shards = projector_weights(make, variant) | language_weights(make, variant)
    if variant.vision_archive:
        write_archive(variant, folder, "vision_backbone", vision)
        for name, tower in variant.towers:
            # The tensors from before training; only that they are there matters, so they are zero.
            plain = tower_weights(Maker(0), variant, name, tower)
            shards |= {
                key: torch.zeros_like(tensor)
                for key, tensor in plain.items()
                if ".scale." not in key and ".shift." not in key
            }
    else:
        shards |= {
            key: tensor
            for name, tower in variant.towers
            for key, tensor in tower_weights(make, variant, name, tower).items()
        }
    write_shards(folder, shards, full)
    if variant.head is not None:
        write_archive(variant, folder, "action_head", head_weights(make, variant))
    if variant.proprio_dim:
        width = variant.language.width
        projector = make.mlp(("fc1", "fc2"), (variant.proprio_dim, width, width), 0.7)
        write_archive(variant, folder, "proprio_projector", projector)
    if variant.vision_archive:
        adapter = {"peft_type": "LORA", "r": variant.rank, "lora_alpha": variant.alpha, "use_rslora": False}
        write_json(folder / "lora_adapter" / "adapter_config.json", adapter)
    write_json(folder / "config.json", config(variant))
    write_json(folder / "preprocessor_config.json", preprocessor(variant))
    write_json(folder / "dataset_statistics.json", statistics(make, variant))
    if variant.text is not None:
        write_json(folder / Path(variant.text_path).name / "config.json", text_config(variant.text))
