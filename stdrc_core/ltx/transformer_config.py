"""The sizes and switches of an LTX-2 transformer, as arguments of diffusers' class.

A single file has them in its metadata, under LTX's names. A diffusers folder has them in its
config.json, under diffusers' names. For a file without metadata they are read from the shapes of
its tensors; what no shape tells, the RoPE's kind and range, is the same in all published LTX-2
models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from .checkpoint import TRANSFORMER_PREFIX, VAE_PREFIX, transformer_key
from .checkpoint_files import Checkpoint, first_few
from .trained_for import without_facts

log = logging.getLogger(__name__)

# LTX's name -> diffusers' arguments, and the value where a file leaves the name out. These defaults
# are ComfyUI's, not those of diffusers.
_SETTINGS: dict[str, tuple[tuple[str, ...], bool | int | float | str]] = {
    "num_layers": (("num_layers",), 48),
    "num_attention_heads": (("num_attention_heads",), 32),
    "attention_head_dim": (("attention_head_dim",), 128),
    "in_channels": (("in_channels", "out_channels"), 128),
    "cross_attention_dim": (("cross_attention_dim",), 4096),
    "caption_channels": (("caption_channels",), 3840),
    "audio_num_attention_heads": (("audio_num_attention_heads",), 32),
    "audio_attention_head_dim": (("audio_attention_head_dim",), 64),
    "audio_in_channels": (("audio_in_channels", "audio_out_channels"), 128),
    "audio_cross_attention_dim": (("audio_cross_attention_dim",), 2048),
    "norm_eps": (("norm_eps",), 1e-6),
    "positional_embedding_theta": (("rope_theta",), 10000.0),
    "timestep_scale_multiplier": (("timestep_scale_multiplier",), 1000),
    "av_ca_timestep_scale_multiplier": (("cross_attn_timestep_scale_multiplier",), 1),
    "rope_type": (("rope_type",), "interleaved"),
    # These came with LTX-2.3.
    "apply_gated_attention": (("gated_attn", "audio_gated_attn"), False),
    "cross_attention_adaln": (("cross_attn_mod", "audio_cross_attn_mod"), False),
    # These came with LTX-2.5.
    "ff_bias": (("ff_bias",), True),
    "audio_ff_bias": (("audio_ff_bias",), True),
    "use_prompt_adaln_single": (("use_prompt_adaln_single",), True),
    "use_keyframes_abs_pos_embedding": (("use_keyframes_abs_pos_embedding",), False),
}
# Where the RoPE ends, where a file does not say: seconds, pixels and pixels; seconds for the audio.
_MAX_POSITIONS = {
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
}
# Settings for which diffusers' class knows this value alone.
_REQUIRED = {"causal_temporal_positioning": True, "use_middle_indices_grid": True}

# Settings that no tensor shows, with the values of all published LTX-2 transformers.
_PUBLISHED = _REQUIRED | {"rope_type": "split", "frequencies_precision": "float64"}
_PUBLISHED_INNER_DIM, _PUBLISHED_HEADS = 4096, 32
_MARKER = "keyframes_abs_pos_embedding"
_LTX2_CLASS, _DIFFUSERS_CLASS = "AVTransformer3DModel", "LTX2VideoTransformer3DModel"

# The file to take where a file's weights cannot be read.
_BFLOAT16_FILE = (
    "the model's bfloat16 file (ltx-2.3-22b-dev.safetensors, or "
    "ltx-2.5-22b-dev-transformer-bf16.safetensors)"
)


def transformer_arguments(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns the arguments of `LTX2VideoTransformer3DModel` for this checkpoint.

    Raises ValueError where the checkpoint is not an LTX-2 transformer, with what it looks like;
    where its weights have less than 16 bits and cannot be read back; and where settings are missing
    or diffusers' class cannot have them.
    """
    if checkpoint.is_diffusers:
        arguments = _from_diffusers(checkpoint)
    else:
        _check_ltx2(checkpoint)
        # ST-DRC's full weights whose base had no settings have no setting but what they were
        # trained for.
        settings = without_facts(checkpoint.config.get("transformer") or {})
        if not settings:
            settings = _inferred(checkpoint)
        # As in ComfyUI, the marker is known by its tensor where the settings do not name it.
        marked = transformer_key(_MARKER) in checkpoint.tensors
        settings = {f"use_{_MARKER}": marked, **settings}
        arguments = arguments_of(settings, f"checkpoint {checkpoint.path}")
    prefix = "" if checkpoint.is_diffusers else TRANSFORMER_PREFIX
    names = [name for name in checkpoint.tensors if name.startswith(prefix)]
    checkpoint.require_readable(names, _BFLOAT16_FILE)
    return arguments


def arguments_of(settings: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Returns the arguments of diffusers' class for LTX's settings.

    `settings` are the `transformer` part of a file's config. Settings without an argument are left
    out; a file lists many that nothing uses. Raises ValueError, with `source` as the name of the
    file, for a value of another type or one that diffusers' class cannot have.
    """
    for name, needed in _REQUIRED.items():
        if settings.get(name, False) is not needed:
            raise ValueError(
                f"{source} has {name} = {settings.get(name, False)}; needs {needed}, as all "
                "published LTX-2 models have it."
            )
    arguments: dict[str, Any] = {}
    for name, (targets, default) in _SETTINGS.items():
        value = settings.get(name, default)
        if not _is_like(value, default):
            raise ValueError(f"{source} has {name} = {value!r}; needs a value such as {default!r}.")
        arguments |= dict.fromkeys(targets, value)
    time, height, width = _limits(settings, "positional_embedding_max_pos", source)
    (audio_time,) = _limits(settings, "audio_positional_embedding_max_pos", source)
    precision = settings.get("frequencies_precision", "float32")
    return arguments | {
        "pos_embed_max_pos": time,
        "base_height": height,
        "base_width": width,
        "audio_pos_embed_max_pos": audio_time,
        "rope_double_precision": precision == "float64",
        "use_prompt_embeddings": not settings.get("caption_proj_before_connector", False),
    }


def _limits(settings: Mapping[str, Any], name: str, source: str) -> list[int]:
    limits = settings.get(name, _MAX_POSITIONS[name])
    if not isinstance(limits, list) or len(limits) != len(_MAX_POSITIONS[name]):
        raise ValueError(
            f"{source} has {name} = {limits!r}; needs {_MAX_POSITIONS[name]} or alike."
        )
    return limits


def _is_like(value: Any, default: bool | int | float | str) -> bool:
    """Returns whether `value` has the type of `default`.

    JSON may write 1000.0 as 1000, so an int and a float count as one type; a bool is no number.
    """
    if isinstance(default, bool | str):
        return isinstance(value, type(default))
    return isinstance(value, int | float) and not isinstance(value, bool)


def _from_diffusers(checkpoint: Checkpoint) -> dict[str, Any]:
    class_name = checkpoint.config.get("_class_name")
    if class_name != _DIFFUSERS_CLASS:
        raise ValueError(
            f"folder {checkpoint.path} holds a {class_name}; training needs a {_DIFFUSERS_CLASS} "
            "(LTX-2)."
        )
    return {name: v for name, v in checkpoint.config.items() if not name.startswith("_")}


def _check_ltx2(checkpoint: Checkpoint) -> None:
    """Raises ValueError, with what the file looks like, unless it is an LTX-2 transformer."""
    names = checkpoint.tensors
    needed = "training needs an LTX-2 (2.0, 2.3 or 2.5) checkpoint."
    if transformer_key("proj_in.weight") not in names:
        raise ValueError(f"checkpoint {checkpoint.path} {_appearance(list(names))}; {needed}")
    settings = checkpoint.config.get("transformer")
    if settings is not None and not isinstance(settings, Mapping):
        raise ValueError(
            f"checkpoint {checkpoint.path} has a transformer config that is a "
            f"{type(settings).__name__}; needs an object."
        )
    class_name = (settings or {}).get("_class_name")
    # An LTX-2 file without a class name shows itself by its audio tower; where that was left out,
    # LTX-2.3 and later show themselves by the second of these.
    marks = ("audio_proj_in.weight", "transformer_blocks.0.prompt_scale_shift_table")
    if class_name != _LTX2_CLASS and not any(transformer_key(mark) in names for mark in marks):
        raise ValueError(f"checkpoint {checkpoint.path} is LTX-Video 0.9, which is older; {needed}")


def _appearance(names: list[str]) -> str:
    if any("lora" in name.lower() for name in names):
        return "looks like a LoRA"
    if any(name.startswith("transformer_blocks.") for name in names):
        return "looks like one file of a diffusers folder (then give the folder)"
    if any(name.startswith((VAE_PREFIX, "encoder.", "decoder.")) for name in names):
        return "looks like a VAE"
    if any("embed_tokens" in name for name in names):
        return "looks like a text encoder"
    return f"looks like another model (its tensors: {first_few(names) or 'none'})"


def _inferred(checkpoint: Checkpoint) -> dict[str, Any]:
    """Returns LTX's settings of a file without metadata, read from the shapes of its tensors."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}

    def size(key: str, axis: int) -> int:
        name = transformer_key(key)
        if name not in shapes:
            raise ValueError(
                f"checkpoint {checkpoint.path} has no config in its metadata and lacks {name}, "
                "which would tell its size; needs the original file."
            )
        return shapes[name][axis]

    def has(key: str) -> bool:
        return transformer_key(key) in shapes

    block = "transformer_blocks.0"
    inner_dim = size("proj_in.weight", 0)
    is_gated = has(f"{block}.attn1.to_gate_logits.weight")
    if not is_gated and inner_dim != _PUBLISHED_INNER_DIM:
        raise ValueError(
            f"checkpoint {checkpoint.path} has no config in its metadata, and its number of "
            "attention heads cannot be told from its tensors; needs the original file."
        )
    heads = size(f"{block}.attn1.to_gate_logits.weight", 0) if is_gated else _PUBLISHED_HEADS
    settings = _PUBLISHED | {
        "num_layers": _count_blocks(shapes),
        "num_attention_heads": heads,
        "attention_head_dim": inner_dim // heads,
        "in_channels": size("proj_in.weight", 1),
        "cross_attention_dim": size(f"{block}.attn2.to_k.weight", 1),
        "apply_gated_attention": is_gated,
        "cross_attention_adaln": has(f"{block}.prompt_scale_shift_table"),
        "ff_bias": has(f"{block}.ff.net.0.proj.bias"),
        "audio_ff_bias": has(f"{block}.audio_ff.net.0.proj.bias"),
        "use_prompt_adaln_single": has("prompt_adaln.linear.weight"),
        "caption_proj_before_connector": not has("caption_projection.linear_1.weight"),
    }
    if has("caption_projection.linear_1.weight"):
        settings["caption_channels"] = size("caption_projection.linear_1.weight", 1)
    if has("audio_proj_in.weight"):
        settings |= {
            "audio_in_channels": size("audio_proj_in.weight", 1),
            "audio_num_attention_heads": heads,
            "audio_attention_head_dim": size("audio_proj_in.weight", 0) // heads,
            "audio_cross_attention_dim": size(f"{block}.audio_attn2.to_k.weight", 1),
        }
    log.warning(
        "%s has no config in its metadata: sizes are read from its tensors, and the RoPE is taken "
        "to be that of the published LTX-2 models (%s).",
        checkpoint.path,
        ", ".join(f"{name} = {value}" for name, value in _PUBLISHED.items()),
    )
    return settings


def _count_blocks(names: Mapping[str, Any]) -> int:
    prefix = transformer_key("transformer_blocks.")
    return len(
        {name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix)}
    )
