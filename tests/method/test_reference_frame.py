"""The reference as one more latent frame of the video (Eq. 2)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.method.reference import (
    append_reference,
    strip_reference,
)

latent_shapes = st.tuples(*(st.integers(1, 4) for _ in range(5)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@settings(deadline=None, max_examples=25)
@given(shape=latent_shapes, per_video=st.booleans())
def test_the_reference_is_one_more_frame_and_stripping_gives_the_video_back_bit_for_bit(
    dtype: torch.dtype, shape: tuple[int, ...], per_video: bool
):
    batch, channels, num_frames, height, width = shape
    video = torch.randn(shape).to(dtype)
    video.view(-1)[0] = float("nan")
    reference = torch.randn(batch if per_video else 1, channels, 1, height, width)
    kept = video.clone(), reference.clone()
    extended = append_reference(video, reference)
    assert extended.shape == (batch, channels, num_frames + 1, height, width)
    assert extended.dtype == dtype
    for index in range(batch):
        own = reference[index if per_video else 0, :, 0]
        assert torch.equal(extended[index, :, num_frames], own.to(dtype))
    bits = torch.int32 if dtype == torch.float32 else torch.int16
    assert torch.equal(strip_reference(extended).contiguous().view(bits), video.view(bits))
    extended.zero_()
    assert torch.equal(video.view(bits), kept[0].view(bits))
    assert torch.equal(reference, kept[1])
