"""One guided evaluation, by whoever predicts the streams: velocities, clean estimates, parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.guidance import GuidanceScales, rescale
from stdrc_core.method.guidance_options import EXACT, GuidanceOptions
from stdrc_core.method.guidance_schedule import steps_of
from stdrc_core.method.guided_run import Forwards, GuidedRun, Predictions
from stdrc_core.method.multi_reference import PlacedReference, with_common_scale
from stdrc_core.method.sampling import percent_to_sigma, sigma_schedule

SHAPE = (2, 3, 2, 4, 4)
scales = st.sampled_from((0.0, 1.0, 3.0, 5.0, 7.5))
options = st.builds(
    GuidanceOptions,
    text_scale=scales,
    reference_scale=scales,
    start_percent=st.sampled_from((0.0, 0.2)),
    end_percent=st.sampled_from((0.8, 1.0)),
    guidance_rescale=st.sampled_from((0.0, 0.6)),
    reference_every=st.integers(1, 4),
    guided_share=st.sampled_from((0.5, 1.0)),
    audio_scale=st.sampled_from((None, 0.0, 1.0, 3.0)),
)
part_scales = st.lists(st.sampled_from((0.4, 1.0, 1.5)), min_size=1, max_size=3, unique=True).map(
    lambda each: tuple(sorted(each, reverse=True))
)


def velocities(step: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(step)
    names = ("empty", "text", "vyr 0", "vyr 1", "vyr 2")
    return {name: torch.randn(SHAPE, generator=generator, dtype=torch.float64) for name in names}


def predictions(own: dict[str, Tensor], forwards: Forwards) -> Predictions:
    """As a predictor of few words gives them: the richest streams last."""
    references = [own[f"vyr {i}"] for i in range(3)][3 - forwards.num_references :]
    return (
        own["empty"] if forwards.empty else None,
        own["text"] if forwards.text else None,
        references,
    )


@settings(deadline=None, max_examples=60)
@given(options=options, part_scales=part_scales)
def test_velocities_and_clean_estimates_are_guided_alike(options, part_scales) -> None:
    """x - sigma (guided v) is the guided x - sigma v, through kept directions and rescale too."""
    sigmas = sigma_schedule(6)
    by_velocity, by_estimate = (
        GuidedRun(options, percent_to_sigma, part_scales=part_scales) for _ in range(2)
    )
    for step, sigma in enumerate(sigmas[:-1].tolist()):
        v = velocities(step)
        x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(99 + step)).double()
        clean = {name: x - sigma * each for name, each in v.items()}

        def rescaled(guided: Tensor, positive: Tensor, phi: float, x=x, sigma=sigma) -> Tensor:
            return (x - rescale(x - sigma * guided, x - sigma * positive, phi)) / sigma

        asked: list[Forwards] = []

        def predict(forwards: Forwards, own: dict[str, Tensor], asked=asked) -> Predictions:
            asked.append(forwards)
            return predictions(own, forwards)

        guided_v = by_velocity.predict(
            sigma, sigmas, lambda f, v=v, predict=predict: predict(f, v), rescale=rescaled
        )
        guided_x = by_estimate.predict(
            sigma, sigmas, lambda f, c=clean, predict=predict: predict(f, c), slope=-sigma
        )
        torch.testing.assert_close(x - sigma * guided_v, guided_x, rtol=1e-6, atol=1e-6)
        assert asked[0] == asked[1]


def with_audio_of(a: Tensor, b: Tensor) -> Tensor:
    """The last sample of a batch stands for the audio that a host packs into one tensor."""
    return torch.cat((a[:-1], b[-1:]))


def guided_apart(cond: Tensor, uncond: Tensor | None, scales: GuidanceScales) -> Tensor:
    audio = scales.text if scales.audio is None else scales.audio
    if uncond is None:
        assert scales.text == audio == 1
        return cond
    return with_audio_of(*(uncond + s * (cond - uncond) for s in (scales.text, audio)))


@pytest.mark.parametrize("s_a", [None, 0.0, 1.0, 3.0, 5.0])
@pytest.mark.parametrize("s_r", [0.0, 1.0, 3.0, 7.5])
@pytest.mark.parametrize("s_y", [0.0, 1.0, 3.0])
def test_audio_of_a_scale_of_its_own_is_the_sum_written_out(s_y, s_r, s_a) -> None:
    """The video is Eq. 13, the audio v0 + s_a (vy - v0), and no stream runs in vain."""
    v, sigmas, asked = velocities(0), sigma_schedule(4), []

    def predict(forwards: Forwards) -> Predictions:
        asked.append(forwards)
        return predictions(v, forwards)

    options = GuidanceOptions(text_scale=s_y, reference_scale=s_r, audio_scale=s_a)
    run = GuidedRun(options, percent_to_sigma)
    got = run.predict(1.0, sigmas, predict, cfg=guided_apart, join=with_audio_of)
    s_a = s_y if s_a is None else s_a
    v0, vy, vyr = v["empty"], v["text"], v["vyr 2"]
    # Where text and reference are one condition, they are that in the audio too.
    heard = vyr if s_y == s_r else vy
    expected = with_audio_of(v0 + s_y * (vy - v0) + s_r * (vyr - vy), v0 + s_a * (heard - v0))
    torch.testing.assert_close(got, expected)
    assert asked == [
        Forwards(
            empty=s_y != 1 or s_a != 1,
            text=s_y != s_r,
            num_references=int(s_r != 0 or (s_y == 0 and s_a != 0)),
        )
    ]


@pytest.mark.parametrize("s_a", [0.0, 3.0])
@pytest.mark.parametrize(("s_y", "s_r"), [(5.0, 7.5), (3.0, 3.0), (2.0, 0.0), (0.0, 0.0)])
def test_an_unguided_step_is_the_same_at_any_scale_of_the_audio(s_y, s_r, s_a) -> None:
    v, sigmas = velocities(0), sigma_schedule(4)
    got = []
    for audio_scale in (None, s_a):
        options = GuidanceOptions(
            text_scale=s_y, reference_scale=s_r, audio_scale=audio_scale, guided_share=0.0
        )
        run = GuidedRun(options, percent_to_sigma)
        got.append(
            run.predict(
                1.0, sigmas, lambda f: predictions(v, f), cfg=guided_apart, join=with_audio_of
            )
        )
    assert torch.equal(*got)


def test_references_with_scales_of_their_own_are_the_sum_written_out() -> None:
    v, sigmas = velocities(0), sigma_schedule(4)
    run = GuidedRun(EXACT, percent_to_sigma, part_scales=(1.5, 1.0, 0.4))
    got = run.predict(1.0, sigmas, lambda forwards: predictions(v, forwards))
    chain = [v["text"], v["vyr 0"], v["vyr 1"], v["vyr 2"]]
    expected = v["empty"] + 5.0 * (v["text"] - v["empty"])
    for f, before, after in zip((1.5, 1.0, 0.4), chain, chain[1:], strict=False):
        expected = expected + 7.5 * f * (after - before)
    torch.testing.assert_close(got, expected)


@settings(deadline=None, max_examples=60)
@given(options=options, part_scales=part_scales)
def test_the_schedule_tells_the_forwards_of_the_run(options, part_scales) -> None:
    sigmas = sigma_schedule(7)
    told = steps_of(GuidedRun(options, percent_to_sigma, part_scales=part_scales), sigmas)
    run, seen = GuidedRun(options, percent_to_sigma, part_scales=part_scales), []
    for step, sigma in enumerate(sigmas[:-1].tolist()):

        def predict(forwards: Forwards, step: int = step) -> Predictions:
            seen.append(forwards)
            return predictions(velocities(step), forwards)

        run.predict(sigma, sigmas, predict)
    assert [step.forwards for step in told] == seen


@pytest.mark.parametrize(
    ("own", "expected_scale", "expected_own"),
    [
        ((1.0, 1.0), 7.5, (1.0, 1.0)),
        ((0.5, 0.5), 3.75, (1.0, 1.0)),
        ((2.0, 0.0), 15.0, (1.0, 0.0)),
        ((0.0, 0.0), 0.0, (1.0, 1.0)),
        ((1.5, 0.5), 7.5, (1.5, 0.5)),
    ],
)
def test_a_scale_that_all_used_references_share_goes_into_s_r(
    own: tuple[float, ...], expected_scale: float, expected_own: tuple[float, ...]
) -> None:
    references = [PlacedReference(slot=slot, scale=scale) for slot, scale in enumerate(own)]
    options, placed = with_common_scale(EXACT, references)
    assert options.reference_scale == expected_scale
    assert tuple(each.scale for each in placed) == expected_own
