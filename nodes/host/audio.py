"""Hides the references from the audio, where audio and video are sampled together.

In each block the audio attends to the video's tokens, and the references are among these. The host
has no mask for that attention, so the references' keys and values are cut off instead: each block
gets an attention override, which is the host's own option, for the time of one call.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

from .block_replacement import Block, around_blocks

Attention = Callable[..., Tensor]

log = logging.getLogger(__name__)

_OVERRIDE = "optimized_attention_override"


def hidden_from_audio(
    transformer_options: dict[str, Any], *, num_blocks: int, num_tokens: int
) -> dict[str, Any]:
    """Returns the options of one call in which the audio does not see the video's last tokens.

    `num_tokens` is how many are hidden. Block replacements and an attention override that are there
    already (source phases, SageAttention) go on working.
    """
    return around_blocks(transformer_options, num_blocks, partial(_hide, num_tokens))


def _hide(num_tokens: int, args: dict[str, Any], block: Block) -> dict[str, Any]:
    options = args["transformer_options"]
    override = _AudioToVideo(args, num_tokens=num_tokens, inner=options.get(_OVERRIDE))
    result = block({**args, "transformer_options": {**options, _OVERRIDE: override}})
    runs = options.get("run_ax", True) and options.get("v2a_cross_attn", True)
    if runs and not override.is_done:
        log.warning(
            "The audio of this model sees the reference: another pack replaces the attention of "
            "audio to video, which has to be left to ComfyUI for the reference to be hidden."
        )
    return result


class _AudioToVideo:
    """The attention override of one block. It cuts keys and values in one of its attentions only.

    The audio's attention to the video is known by its numbers of queries and keys. An earlier
    attention of the block can have the same numbers, for instance if there are as many tokens of
    audio as of video, so those are counted and let pass. A block runs its attentions in this order:
    video to itself (in parts if guides have strengths), video to text, audio to itself, audio to
    text, video to audio, audio to video.
    """

    def __init__(self, block: dict[str, Any], *, num_tokens: int, inner: Attention | None) -> None:
        (_, video, video_width), (_, audio, self._width) = (part.shape for part in block["img"])
        text = block["a_context"].shape[1]
        self._num_tokens, self._inner = num_tokens, inner
        self._sizes = audio, video
        options, mask = block["transformer_options"], block.get("self_attention_mask")
        # Newer hosts can leave out the attention of video and of audio to itself (STG).
        has_own = not options.get("stg_skip_self_attn", False)
        earlier = [(audio, audio)] * has_own + [(audio, text)]
        if options.get("a2v_cross_attn", True):
            earlier.append((video, audio))
        if video_width == self._width:
            parts = [video] if mask is None else [mask.guide_start, mask.tracked_count]
            earlier += [(part, video) for part in parts] * has_own + [(video, text)]
        self._num_alike = earlier.count(self._sizes)

    @property
    def is_done(self) -> bool:
        """Whether the audio's attention to the video has run."""
        return self._num_alike < 0

    def __call__(
        self, func: Attention, q: Tensor, k: Tensor, v: Tensor, *args: Any, **kwargs: Any
    ) -> Tensor:
        attention = func if self._inner is None else partial(self._inner, func)
        if (q.shape[1], k.shape[1]) == self._sizes and q.shape[2] == self._width:
            if self._num_alike == 0:
                k, v = k[:, : -self._num_tokens], v[:, : -self._num_tokens]
            self._num_alike -= 1
        return attention(q, k, v, *args, **kwargs)
