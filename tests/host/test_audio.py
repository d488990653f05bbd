"""A photo is invisible to the audio of a joint audio and video latent; ID-LoRA's voice is not."""

from __future__ import annotations

import pytest
import torch
from helpers.comfyui import Worker

pytestmark = pytest.mark.host

NUM_VIDEO, NUM_REFERENCE = 3 * 4 * 4, 4 * 4


@pytest.mark.parametrize("text_scale", [3.0, 1.0])
def test_a_step_of_the_audio_is_the_same_with_any_photo_and_with_none(
    host: Worker, text_scale: float
) -> None:
    scales = {"text_scale": text_scale, "reference_scale": 7.5}
    one, another = host("audio.with_photos", **scales)
    assert torch.equal(one["audio"], another["audio"])
    torch.testing.assert_close(one["audio"], host("audio.by_core", cfg=text_scale)["audio"])
    assert not torch.allclose(one["video"], another["video"], rtol=1e-3, atol=1e-3)


def test_over_a_run_the_audio_follows_the_video_alone(host: Worker) -> None:
    one, another = host("audio.with_photos", steps=3)
    differences = {name: _difference(one[name], another[name]) for name in one}
    assert differences["audio"] < 0.2 * differences["video"]


def test_where_the_video_does_not_see_the_photo_nothing_of_it_reaches_the_audio(
    host: Worker,
) -> None:
    """vyr alone, at strength 0: what is left to the photo is the audio's own attention to it."""
    one, another = host("audio.with_photos", strength=0.0, text_scale=1.0, reference_scale=1.0)
    assert torch.equal(one["audio"], another["audio"])
    assert torch.equal(one["video"], another["video"])
    seen, other = host("audio.with_photos", text_scale=1.0, reference_scale=1.0)
    # Of a photo that the video sees, the audio hears by way of the video.
    assert not torch.equal(seen["audio"], other["audio"])


@pytest.mark.parametrize("placement", ["tass", "strata"])
@pytest.mark.parametrize("strength", [1.0, 0.4])
@pytest.mark.parametrize("num_audio", [12, NUM_VIDEO, NUM_REFERENCE, NUM_VIDEO + NUM_REFERENCE])
def test_of_all_attentions_only_that_of_audio_to_video_misses_the_photo(
    host: Worker, num_audio: int, strength: float, placement: str
) -> None:
    """With as many tokens of audio as of video and photo, too."""
    got = host("audio.attentions", num_audio=num_audio, strength=strength, placement=placement)
    wide, narrow = got["video_width"], got["audio_width"]
    everything = NUM_VIDEO + NUM_REFERENCE
    own = [NUM_VIDEO, NUM_REFERENCE] if strength != 1 else [everything]
    blocks = len(own) + 5
    calls = got["seen"][-blocks * got["num_blocks"] :]
    num_text = calls[len(own)][1]
    expected = [
        *([part, everything, wide] for part in own),
        [everything, num_text, wide],
        [num_audio, num_audio, narrow],
        [num_audio, num_text, narrow],
        [everything, num_audio, narrow],
        [num_audio, NUM_VIDEO, narrow],
    ]
    assert calls == expected * got["num_blocks"]


@pytest.mark.parametrize("patch_first", [True, False])
@pytest.mark.parametrize("scale", [0.0, 3.0])
def test_id_loras_voice_and_a_photo_in_one_clip(
    host: Worker, scale: float, patch_first: bool
) -> None:
    """The sum written out of core's own streams; identity guidance as core's node defines it."""
    got = host("audio.with_voice", photo_seed=1, voice_seed=5, scale=scale, patch_first=patch_first)
    streams = host("audio.streams_with_voice", photo_seed=1, voice_seed=5)
    for part in ("video", "audio"):
        empty, text, both, voiceless = (
            streams[name][part] for name in ("empty", "text", "both", "voiceless")
        )
        expected = empty + 3.0 * (text - empty) + scale * (text - voiceless)
        if part == "video":
            expected = expected + 4.5 * (both - text)
        torch.testing.assert_close(got[part], expected, rtol=1e-3, atol=2e-4)
    other_photo = host(
        "audio.with_voice", photo_seed=9, voice_seed=5, scale=scale, patch_first=patch_first
    )
    other_voice = host(
        "audio.with_voice", photo_seed=1, voice_seed=6, scale=scale, patch_first=patch_first
    )
    assert torch.equal(got["audio"], other_photo["audio"])
    assert _difference(got["video"], other_photo["video"]) > 1e-2
    assert _difference(got["audio"], other_voice["audio"]) > 1e-4


def _difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())
