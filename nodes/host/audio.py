"""Hides the references from the audio of a joint audio and video latent.

In each block the audio attends to the video's tokens, and references are among these. The host has
no mask for that attention, so its keys are cut: an attention override, the host's own option, is
put on by a replacement of each block. Both live in the options of one call of the transformer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor

Replacement = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
Attention = Callable[..., Tensor]

log = logging.getLogger(__name__)

_OVERRIDE = "optimized_attention_override"


def hidden_from_audio(
    transformer_options: dict[str, Any], *, num_blocks: int, num_tokens: int
) -> dict[str, Any]:
    """Options for one call in which the audio does not see the video's last `num_tokens`.

    Replacements and an override that are there already (source phases, SageAttention) are called as
    before.
    """
    replaced = transformer_options.get("patches_replace", {})
    blocks = replaced.get("dit", {})
    hidden = {
        ("double_block", i): partial(
            _call, num_tokens=num_tokens, inner=blocks.get(("double_block", i))
        )
        for i in range(num_blocks)
    }
    return {**transformer_options, "patches_replace": {**replaced, "dit": {**blocks, **hidden}}}


def _call(
    args: dict[str, Any], extra: dict[str, Any], *, num_tokens: int, inner: Replacement | None
) -> dict[str, Any]:
    options = args["transformer_options"]
    override = _AudioToVideo(args, num_tokens=num_tokens, inner=options.get(_OVERRIDE))
    args = {**args, "transformer_options": {**options, _OVERRIDE: override}}
    result = extra["original_block"](args) if inner is None else inner(args, extra)
    runs = options.get("run_ax", True) and options.get("v2a_cross_attn", True)
    if runs and not override.is_done:
        log.warning(
            "The audio of this model sees the reference: another pack replaces the attention of "
            "audio to video, which has to be left to ComfyUI for the reference to be hidden."
        )
    return result


class _AudioToVideo:
    """The attention override of one block: of its attentions, audio to video is the last.

    It is known by the numbers of its queries and keys. Where earlier ones have the same, as with as
    many tokens of audio as of video, they are counted. They come in this order: video to itself
    (in parts, where guides have strengths), video to text, audio to itself, audio to text, video to
    audio, audio to video.
    """

    def __init__(self, block: dict[str, Any], *, num_tokens: int, inner: Attention | None) -> None:
        (_, video, video_width), (_, audio, self._width) = (part.shape for part in block["img"])
        text = block["a_context"].shape[1]
        self._num_tokens, self._inner = num_tokens, inner
        self._sizes = audio, video
        options, mask = block["transformer_options"], block.get("self_attention_mask")
        # Newer hosts can leave out what attends to itself (STG).
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
