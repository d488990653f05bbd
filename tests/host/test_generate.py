"""`stdrc_core.generate` and the miniature workflow make the same frames of the same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.comfyui import Worker

from stdrc_core.generate.pipeline import Pipeline, Shot
from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.vae import load_vae
from stdrc_core.method.guidance_curve import read_scale
from stdrc_core.method.guidance_options import EXACT
from stdrc_core.mini.text import MiniatureText

pytestmark = pytest.mark.host

PROMPT = "a person with red stripes, blue checked wall"


def open_pipeline(checkpoint: Path) -> Pipeline:
    return Pipeline(
        backbone=load_backbone(checkpoint, dtype=torch.float32).eval(),
        vae=load_vae(checkpoint, torch.float32),
        empty_context=MiniatureText().encode(""),
    )


@pytest.mark.parametrize(
    ("seed", "text_scale", "reference_scale"), [(0, 5.0, 7.5), (11, 3.0, 3.0), (2, 1.0, 4.0)]
)
def test_psnr_is_over_40_db(
    host: Worker, mini_checkpoint: Path, seed: int, text_scale: float, reference_scale: float
):
    photo = torch.rand(1, 80, 60, 3, generator=torch.Generator().manual_seed(1))
    asked = {"num_steps": 6, "seed": seed, "num_frames": 17}
    scales = {"text_scale": text_scale, "reference_scale": reference_scale}
    theirs = host("generate.clip", photo=photo, prompt=PROMPT, side_px=128, **asked, **scales)
    text = MiniatureText()
    pipeline = open_pipeline(mini_checkpoint)
    shot = Shot(height=128, width=128, **asked).guided(**scales)
    ours = pipeline(photo, text.encode(PROMPT), shot)
    assert ours.shape == theirs.shape == (17, 128, 128, 3)
    error = (ours - theirs).square().mean()
    assert 10 * torch.log10(1 / error) > 40
    # Not because both are flat: another seed is another clip.
    other = pipeline(photo, text.encode(PROMPT), replace(shot, seed=seed + 1))
    assert 10 * torch.log10(1 / (ours - other).square().mean()) < 30


@pytest.mark.parametrize(
    "over_time", [{}, {"reference_every": 3, "guidance_rescale": 0.5}], ids=str
)
def test_a_first_frame_is_cores_in_place_conditioning_with_the_reference_beside(
    host: Worker, mini_checkpoint: Path, over_time: dict[str, float]
):
    photo, frame = (
        torch.rand(1, side, side, 3, generator=torch.Generator().manual_seed(side))
        for side in (80, 128)
    )
    asked = {"num_steps": 6, "seed": 4, "num_frames": 17}
    guidance = {"text_scale": 3.0, "reference_scale": 4.0} | over_time
    inputs = {"photo": photo, "prompt": PROMPT, "side_px": 128, "first_frame": frame}
    theirs = host("generate.clip", **inputs, **asked, **guidance)
    pipeline, context = open_pipeline(mini_checkpoint), MiniatureText().encode(PROMPT)[None]
    shot = Shot(height=128, width=128, **asked).guided(**guidance)
    ours = pipeline.many([photo], context, shot, [4], first_frames=frame)[0]
    assert ours.shape == theirs.shape == (17, 128, 128, 3)
    assert 10 * torch.log10(1 / (ours - theirs).square().mean()) > 40
    without = pipeline.many([photo], context, shot, [4])[0]
    assert 10 * torch.log10(1 / (ours - without).square().mean()) < 30


@pytest.mark.parametrize("has_first_frame", [False, True])
def test_two_photos_of_one_person_are_a_reference_list(
    host: Worker, mini_checkpoint: Path, has_first_frame: bool
):
    """Of two sizes, each fitted by itself; with a first frame beside them, and without."""
    generator = torch.Generator().manual_seed(6)
    sizes = ((80, 60), (50, 90), (128, 128))
    photo, other, frame = (torch.rand(1, *size, 3, generator=generator) for size in sizes)
    asked = {"num_steps": 2, "seed": 2, "num_frames": 9}
    guidance = {"text_scale": 3.0, "reference_scale": 20.0}
    theirs = host(
        "generate.clip",
        photo=photo,
        more_photos=[other],
        prompt=PROMPT,
        side_px=128,
        first_frame=frame if has_first_frame else None,
        **asked,
        **guidance,
    )
    pipeline, context = open_pipeline(mini_checkpoint), MiniatureText().encode(PROMPT)[None]
    shot = Shot(height=128, width=128, **asked).guided(**guidance)
    first = {"first_frames": frame} if has_first_frame else {}
    ours, turned, alone = (
        pipeline.many([photos], context, shot, [2], **first)[0]
        for photos in ([photo, other], [other, photo], [photo])
    )
    error = (ours - theirs).square().mean()
    assert 10 * torch.log10(1 / error) > 40
    # The slots count, and so does the second photo.
    for another in (turned, alone):
        assert (ours - another).square().mean() > 10 * error


WINDOWS = {
    "context_schedule": "standard_static",
    "context_stride": 1,
    "closed_loop": False,
    "fuse_method": "pyramid",
    "freenoise": True,
}


def test_a_window_may_begin_behind_the_first_frame_with_as_many_photos_as_the_clip_is_long(
    host: Worker, mini_checkpoint: Path
):
    """25 frames are 4 latent ones: windows of 3 begin at 0 and 1, where core's has the clean first
    frame in front. Core cuts tensors that are as long as the clip, and photos are not to be cut."""
    generator = torch.Generator().manual_seed(4)
    photos = [torch.rand(1, 80, 80, 3, generator=generator) for _ in range(4)]
    frame = torch.rand(1, 128, 128, 3, generator=generator)
    asked = {"num_steps": 4, "seed": 3, "num_frames": 25}
    scales = {"text_scale": 3.0, "reference_scale": 4.0}
    theirs = host(
        "generate.clip",
        photo=photos[0],
        more_photos=photos[1:],
        prompt=PROMPT,
        side_px=128,
        windows=WINDOWS | {"context_length": 3, "context_overlap": 1},
        first_frame=frame,
        **asked,
        **scales,
    )
    pipeline, context = open_pipeline(mini_checkpoint), MiniatureText().encode(PROMPT)[None]
    shot = Shot(height=128, width=128, window=17, window_overlap=8, **asked).guided(**scales)
    ours, fewer = (
        pipeline.many([given], context, shot, [3], first_frames=frame)[0]
        for given in (photos, photos[:3])
    )
    # With a noisy frame in front it would be 68 dB.
    assert 10 * torch.log10(1 / (ours - theirs).square().mean()) > 90
    assert (ours - fewer).abs().max() > 0.01


@pytest.mark.parametrize("has_first_frame", [False, True])
def test_windows_are_cores_context_windows_with_the_reference_in_each(
    host: Worker, mini_checkpoint: Path, has_first_frame: bool
):
    """49 frames are 7 latent ones: windows of 4 that overlap by 2 begin at 0, 2 and 3."""
    generator = torch.Generator().manual_seed(1)
    photo, frame = (torch.rand(1, side, side, 3, generator=generator) for side in (80, 128))
    asked = {"num_steps": 6, "seed": 3, "num_frames": 49}
    scales = {"text_scale": 3.0, "reference_scale": 4.0}
    theirs = host(
        "generate.clip",
        photo=photo,
        prompt=PROMPT,
        side_px=128,
        windows=WINDOWS | {"context_length": 4, "context_overlap": 2},
        first_frame=frame if has_first_frame else None,
        **asked,
        **scales,
    )
    pipeline, context = open_pipeline(mini_checkpoint), MiniatureText().encode(PROMPT)[None]
    whole = Shot(height=128, width=128, **asked).guided(**scales)
    first = {"first_frames": frame} if has_first_frame else {}
    ours, in_one = (
        pipeline.many([photo], context, shot, [3], **first)[0]
        for shot in (replace(whole, window=25, window_overlap=16), whole)
    )
    assert ours.shape == theirs.shape == (49, 128, 128, 3)
    assert 10 * torch.log10(1 / (ours - theirs).square().mean()) > 40
    assert 10 * torch.log10(1 / (ours - in_one).square().mean()) < 30


def test_guidance_over_time_is_that_of_the_nodes(host: Worker, mini_checkpoint: Path):
    photo = torch.rand(1, 80, 60, 3, generator=torch.Generator().manual_seed(1))
    asked = {"num_steps": 8, "seed": 5, "num_frames": 17}
    over_time = {"start_percent": 0.2, "end_percent": 0.95, "guidance_rescale": 0.7}
    over_time |= {"reference_every": 2}
    curve = {"start": 5.0, "end": 1.0, "shape": "cosine", "start_sigma": 0.95, "end_sigma": 0.5}
    theirs = host(
        "generate.clip",
        photo=photo,
        prompt=PROMPT,
        side_px=128,
        text_scale=5.0,
        text_curve=curve,
        reference_scale=7.5,
        **asked,
        **over_time,
    )
    pipeline, context = open_pipeline(mini_checkpoint), MiniatureText().encode(PROMPT)
    guidance = {"text_scale": read_scale("5:1:cosine:0.95:0.5"), **over_time}
    shot = Shot(height=128, width=128, **asked).guided(**guidance)
    ours = pipeline(photo, context, shot)
    assert 10 * torch.log10(1 / (ours - theirs).square().mean()) > 40
    for name in over_time:
        other = pipeline(photo, context, shot.guided(**{name: getattr(EXACT, name)}))
        assert not torch.allclose(other, ours, atol=1e-3), name
