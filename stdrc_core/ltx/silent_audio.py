"""Takes the audio tower out of diffusers' LTX-2 transformer, whose forward insists on one.

The tower is about 30 % of the weights, and ST-DRC uses the video branch alone. With isolated
modalities nothing flows from audio to video: whatever the audio side computes, the video's numbers
are the same, bit for bit. So, on the one instance that is given, the tower's modules are replaced
by modules without parameters that return zeros of width 1, and its scale and shift tables by zero
buffers that no state dict lists. diffusers' own forward then runs unchanged over one silent audio
token, and the video's keys keep diffusers' names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The number of channels of the one silent token.
AUDIO_WIDTH = 1

# The beginnings of the names of the audio tower's modules and of the two cross-modal attentions.
# These include the RoPEs of the cross-modal attentions: they have no parameters, but would be
# computed for every video token.
_AUDIO_MODULES = ("audio_", "video_to_audio_", "av_cross_attn_", "cross_attn_")
# Tables that every forward reads, so that silent ones `[n, AUDIO_WIDTH]` have to take their place.
_READ_TABLES = ("audio_scale_shift_table", "audio_prompt_scale_shift_table")
# Tables that the cross-modal attentions alone read, so that nothing has to take their place.
_CROSS_TABLES = ("video_a2v_cross_attn_scale_shift_table", "audio_a2v_cross_attn_scale_shift_table")


class Silence(nn.Module):
    """Takes the place of a layer of the audio tower: it takes the same inputs and returns zeros."""

    def forward(self, hidden_states: Tensor, *args: object, **kwargs: object) -> Tensor:
        """Returns zeros of the shape of `hidden_states`."""
        return torch.zeros_like(hidden_states)


class SilentModulation(nn.Module):
    """Takes the place of an `LTX2AdaLayerNormSingle` of the audio tower, and returns zeros."""

    def __init__(self, num_mod_params: int) -> None:
        """`num_mod_params` is the number of shifts, scales and gates of that layer."""
        super().__init__()
        self.num_mod_params = num_mod_params

    def forward(self, timestep: Tensor, **kwargs: object) -> tuple[Tensor, Tensor]:
        """Returns zeros for n timesteps.

        They are `[n, num_mod_params * AUDIO_WIDTH]` and `[n, AUDIO_WIDTH]`.
        """
        zeros = timestep.new_zeros(len(timestep), self.num_mod_params * AUDIO_WIDTH)
        return zeros, zeros[:, :AUDIO_WIDTH]


def silence_audio(transformer: nn.Module) -> None:
    """Drops the audio tower of an `LTX2VideoTransformer3DModel`, in place.

    Afterwards the transformer takes audio of AUDIO_WIDTH channels, and it has to be called with
    `isolate_modalities=True`.
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
