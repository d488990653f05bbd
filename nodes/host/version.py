"""Whether this ComfyUI has built the model that a file describes, or another one in its place.

A file tells its model's settings in its metadata. Two things go wrong with a line of the log
at most, and the clip is noise:

* A host that does not know LTX-2.5 passes over the settings that came with it: the feed-forwards
  get biases that nobody trained, and the marker of single frames is dropped.
* A loader that drops the metadata (some for GGUF), or a file without them, leaves the host to its
  defaults, which no LTX-2 was trained with. Newer hosts know the marker by its tensor all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.ldm.lightricks.model import LTXRopeType
from comfy.model_patcher import ModelPatcher
from comfyui_version import __version__ as host_version
from torch import nn

from ...stdrc_core.ltx.base_version import MARKER, base_version

# Settings in a file that only LTX-2.5 has, with the values that they have there.
_OF_LTX_2_5 = {
    "ff_bias": False,
    "audio_ff_bias": False,
    "use_prompt_adaln_single": False,
    "use_keyframes_abs_pos_embedding": True,
}
# Settings that every LTX-2's file has, and the host's defaults for them, which none has.
_DEFAULTS = {
    "rope_type": LTXRopeType.INTERLEAVED,
    "causal_temporal_positioning": False,
    "use_middle_indices_grid": False,
}
_REMEDY = (
    "needs the file's settings (config in its metadata): load the model's .safetensors file, or a "
    "GGUF file that has them, with a loader that reads them"
)


def check_version(model: ModelPatcher) -> None:
    """Raises ValueError if `model` is an LTX-2 that this ComfyUI has built as another one."""
    transformer = model.model.diffusion_model
    if not isinstance(transformer, LTXAVModel):
        return
    settings = model.model.model_config.unet_config
    _check_known(transformer, settings)
    _check_told(transformer, settings)


def model_version(transformer: nn.Module) -> str | None:
    """Returns the version of LTX that this transformer was built as (base_version.base_version)."""
    # torch.compile puts this before the names in what it has compiled.
    return base_version(
        name.replace("_orig_mod.", "") for name, _ in transformer.named_parameters()
    )


def _check_known(transformer: LTXAVModel, settings: Mapping[str, Any]) -> None:
    told = {name: value for name, value in _OF_LTX_2_5.items() if settings.get(name) is value}
    if not told and model_version(transformer) == "2.5":
        # GGUF's layers have the biases that are in the file, whatever the host builds.
        told = {"ff_bias": False}
    built = _built(transformer)
    missed = {name: value for name, value in told.items() if built[name] != value}
    if missed or (told and not hasattr(transformer, MARKER)):
        shown = ", ".join(f"{name} is {value}" for name, value in (missed or told).items())
        raise ValueError(
            f"model is an LTX-2.5 ({shown} in its file), which ComfyUI {host_version} does not "
            "know and has built as an older LTX-2; needs a newer ComfyUI: update it, or load "
            "LTX-2.3."
        )


def _check_told(transformer: LTXAVModel, settings: Mapping[str, Any]) -> None:
    has_marker = getattr(transformer, MARKER, None) is not None
    if has_marker and "ff_bias" not in settings and _built(transformer)["ff_bias"]:
        raise ValueError(
            f"model is an LTX-2.5 ({MARKER} is in its file) whose file does not say ff_bias, so "
            f"ComfyUI {host_version} gave its feed-forwards biases that nobody trained; {_REMEDY}."
        )
    built = {
        "rope_type": transformer.split_positional_embedding,
        "causal_temporal_positioning": transformer.causal_temporal_positioning,
        "use_middle_indices_grid": transformer.use_middle_indices_grid,
    }
    if built == _DEFAULTS and not _DEFAULTS.keys() & settings.keys():
        if has_marker:
            name, more = "LTX-2.5", ""
        else:
            name = "LTX-2"
            more = "" if hasattr(transformer, MARKER) else "; LTX-2.5 needs a newer ComfyUI too"
        raise ValueError(
            f"model is an {name} whose file does not say its settings, so ComfyUI {host_version} "
            "took defaults that no LTX-2 was trained with (its RoPE is interleaved and not "
            f"causal); {_REMEDY}{more}."
        )


def _built(transformer: LTXAVModel) -> dict[str, bool]:
    """Returns the settings of `_OF_LTX_2_5` as this transformer was really built."""
    block: Any = transformer.transformer_blocks[0]
    return {
        "ff_bias": _has_bias(block.ff),
        "audio_ff_bias": _has_bias(block.audio_ff),
        "use_prompt_adaln_single": transformer.prompt_adaln_single is not None,
        "use_keyframes_abs_pos_embedding": getattr(transformer, MARKER, None) is not None,
    }


def _has_bias(feed_forward: nn.Module) -> bool:
    return any(name.endswith("bias") for name, _ in feed_forward.named_parameters())
