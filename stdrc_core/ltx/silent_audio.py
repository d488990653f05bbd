"""Takes the audio tower out of diffusers' LTX-2 transformer, whose forward insists on one.

The tower is about 30 % of the weights, and ST-DRC uses the video branch alone. With isolated
modalities nothing flows from audio to video, so whatever the audio side answers, the video's
numbers are the same, bit for bit. Its modules are therefore replaced, on this one instance, by
modules without parameters that answer zeros of width 1, and its scale and shift tables by zero
buffers that no state dict lists: diffusers' own forward runs on unchanged over one silent token,
and the video's keys keep diffusers' names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Channels of the one silent token.
AUDIO_WIDTH = 1

# How the names of the audio tower and of the two cross-modal attentions begin; the RoPEs of the
# cross-modal attentions have no parameters, but would be computed for every video token.
_AUDIO_MODULES = ("audio_", "video_to_audio_", "av_cross_attn_", "cross_attn_")
# Read in every forward, so a silent one is needed; `[n, AUDIO_WIDTH]`.
_READ_TABLES = ("audio_scale_shift_table", "audio_prompt_scale_shift_table")
# Read by the cross-modal attentions alone.
_CROSS_TABLES = ("video_a2v_cross_attn_scale_shift_table", "audio_a2v_cross_attn_scale_shift_table")


class Silence(nn.Module):
    """Stands for a layer of the audio tower: takes what that took and answers zeros."""

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        return torch.zeros_like(hidden_states)


class SilentModulation(nn.Module):
    """Stands for an `LTX2AdaLayerNormSingle` of `num_mod_params` shifts, scales and gates.

    For n timesteps it answers zeros `[n, num_mod_params * AUDIO_WIDTH]` and `[n, AUDIO_WIDTH]`.
    """

    def __init__(self, num_mod_params: int) -> None:
        super().__init__()
        self.num_mod_params = num_mod_params

    def forward(self, timestep: Tensor, **kwargs: object) -> tuple[Tensor, Tensor]:
        zeros = timestep.new_zeros(len(timestep), self.num_mod_params * AUDIO_WIDTH)
        return zeros, zeros[:, :AUDIO_WIDTH]


def silence_audio(transformer: nn.Module) -> None:
    """Drops the audio tower of an `LTX2VideoTransformer3DModel`, in place.

    Afterwards it takes audio of AUDIO_WIDTH channels and needs `isolate_modalities=True`.
    """
    for part in (transformer, *transformer.transformer_blocks):
        for name, module in [*part.named_children()]:
            if name.startswith(_AUDIO_MODULES):
                num_mod_params = getattr(module, "num_mod_params", None)
                silent = SilentModulation(num_mod_params) if num_mod_params else Silence()
                setattr(part, name, silent)
        for name, table in [*part.named_parameters(recurse=False)]:
            if name in _READ_TABLES:
                delattr(part, name)
                silent_table = torch.zeros(len(table), AUDIO_WIDTH)
                part.register_buffer(name, silent_table, persistent=False)
            elif name in _CROSS_TABLES:
                delattr(part, name)
