"""Whether this ComfyUI has built the model that a file describes, or an older one in its place.

A host that does not know LTX-2.5 passes over its settings and loads what fits: the feed-forwards
get biases that nobody trained, the marker of single frames is dropped, and the clip is noise. At
most a line of the log tells of it.
"""

from __future__ import annotations

from typing import Any

from comfy.ldm.lightricks.av_model import LTXAVModel
from comfy.model_patcher import ModelPatcher
from comfyui_version import __version__ as host_version
from torch import nn

# Settings in a file that only LTX-2.5 has, with the values that they have there.
_OF_LTX_2_5 = {
    "ff_bias": False,
    "audio_ff_bias": False,
    "use_prompt_adaln_single": False,
    "use_keyframes_abs_pos_embedding": True,
}


def check_version(model: ModelPatcher) -> None:
    """Raises ValueError if `model` is an LTX-2.5 that this ComfyUI has built as an older one."""
    transformer = model.model.diffusion_model
    if not isinstance(transformer, LTXAVModel):
        return
    settings = model.model.model_config.unet_config
    told = {name: value for name, value in _OF_LTX_2_5.items() if settings.get(name) is value}
    if not told:
        return
    built = _built(transformer)
    if missed := [f"{name} is {value}" for name, value in told.items() if built[name] != value]:
        raise ValueError(
            f"model is an LTX-2.5 ({', '.join(missed)} in its file), which ComfyUI {host_version} "
            "does not know and has built as an older LTX-2; needs a newer ComfyUI: update it, or "
            "load LTX-2.3."
        )


def _built(transformer: LTXAVModel) -> dict[str, bool]:
    """Returns the same settings as this transformer was really built."""
    block: Any = transformer.transformer_blocks[0]
    return {
        "ff_bias": _has_bias(block.ff),
        "audio_ff_bias": _has_bias(block.audio_ff),
        "use_prompt_adaln_single": transformer.prompt_adaln_single is not None,
        "use_keyframes_abs_pos_embedding": (
            getattr(transformer, "keyframes_abs_pos_embedding", None) is not None
        ),
    }


def _has_bias(feed_forward: nn.Module) -> bool:
    return any(name.endswith("bias") for name, _ in feed_forward.named_parameters())
