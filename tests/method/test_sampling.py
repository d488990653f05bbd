"""Sampling without a host: exact where a closed form exists, sparing where a weight is 0."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdrc_core.method.guidance_options import GuidanceOptions
from stdrc_core.method.sampling import sample, schedule_from, sigma_schedule

SHAPE = (2, 3, 2, 4, 4)


class Streams:
    """Velocities towards three known clips: one for nothing, one for text, one for both."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.targets = {
            name: torch.randn(SHAPE, generator=generator) for name in ("empty", "text", "both")
        }
        self.calls: list[str] = []

    def __call__(self, latent: Tensor, t: Tensor, context: Tensor, reference: Tensor | None):
        name = "both" if reference is not None else ("text" if context.any() else "empty")
        self.calls.append(name)
        return (latent - self.targets[name]) / t.view(-1, 1, 1, 1, 1)


def run(streams: Streams, guidance: GuidanceOptions, num_steps: int = 4, **options) -> Tensor:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    return sample(
        streams,
        noise,
        sigma_schedule(num_steps),
        text=torch.ones(2, 5, 6),
        empty=torch.zeros(2, 5, 6),
        reference=torch.zeros(2, 3, 1, 4, 4),
        guidance=guidance,
        **options,
    )


@pytest.mark.parametrize(("s_y", "s_r"), [(5.0, 7.5), (1.0, 2.0), (3.0, 3.0), (2.0, 0.0)])
def test_straight_streams_are_integrated_exactly_to_the_guided_target(s_y: float, s_r: float):
    """Each stream flows straight to its clip, so Eq. 13 leads to the same mix of the clips."""
    streams = Streams()
    result = run(streams, GuidanceOptions(text_scale=s_y, reference_scale=s_r))
    empty, text, both = (streams.targets[name] for name in ("empty", "text", "both"))
    expected = empty + s_y * (text - empty) + s_r * (both - text)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("s_y", "s_r", "running"),
    [
        (5.0, 7.5, {"empty", "text", "both"}),
        (4.0, 4.0, {"empty", "both"}),
        (1.0, 7.5, {"text", "both"}),
        (5.0, 0.0, {"empty", "text"}),
        (1.0, 1.0, {"both"}),
    ],
)
def test_streams_of_weight_zero_do_not_run(s_y: float, s_r: float, running: set[str]):
    streams = Streams()
    run(streams, GuidanceOptions(text_scale=s_y, reference_scale=s_r), num_steps=3)
    assert set(streams.calls) == running
    assert len(streams.calls) == 3 * len(running)


def test_each_step_shows_its_estimate_of_the_clean_latent():
    streams, seen = Streams(), []
    result = run(streams, GuidanceOptions(), on_step=lambda i, denoised: seen.append((i, denoised)))
    assert [i for i, _ in seen] == [0, 1, 2, 3]
    for _, denoised in seen:
        torch.testing.assert_close(denoised, result, rtol=1e-3, atol=1e-3)


def test_a_missing_reference_is_refused_unless_its_scale_is_zero():
    options = {
        "text": torch.ones(1, 1, 1),
        "empty": torch.zeros(1, 1, 1),
        "reference": None,
    }
    noise, sigmas = torch.zeros(1, 1, 1, 1, 1), sigma_schedule(1)
    with pytest.raises(ValueError, match=r"^reference is missing and reference_scale was 7\.5"):
        sample(lambda *_: noise, noise, sigmas, guidance=GuidanceOptions(), **options)
    guidance = GuidanceOptions(reference_scale=0.0)
    assert torch.equal(sample(lambda *_: noise, noise, sigmas, guidance=guidance, **options), noise)


@pytest.mark.parametrize("num_steps", [1, 2, 8, 30])
@pytest.mark.parametrize("num_tokens", [16, 1024, 15_360])
def test_sigmas_fall_from_one_to_zero_by_way_of_the_terminal(num_steps: int, num_tokens: int):
    sigmas = sigma_schedule(num_steps, num_tokens)
    assert len(sigmas) == num_steps + 1
    assert (sigmas[0], sigmas[-1]) == (1, 0)
    assert torch.all(sigmas.diff() < 0)
    if num_steps > 1:
        assert sigmas[-2].item() == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize(("num_steps", "terminal"), [(0, 0.1), (-1, 0.1), (4, 0.0), (4, 1.0)])
def test_impossible_schedules_are_refused(num_steps: int, terminal: float):
    with pytest.raises(ValueError, match=r"^(num_steps|terminal) was"):
        sigma_schedule(num_steps, terminal=terminal)


def test_a_known_first_frame_stays_clean_in_every_step_and_the_rest_flows_on():
    streams, first = Streams(), torch.full((2, 3, 1, 4, 4), 0.25)
    seen: list[Tensor] = []
    guidance = GuidanceOptions(text_scale=1.0, reference_scale=1.0)

    def velocity(latent: Tensor, *rest: Tensor) -> Tensor:
        assert torch.equal(latent[:, :, :1], first)
        return streams(latent, *rest)

    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    contexts = {"text": torch.ones(2, 5, 6), "empty": torch.zeros(2, 5, 6)}
    result = sample(
        velocity,
        noise,
        sigma_schedule(4),
        **contexts,
        reference=torch.zeros(2, 3, 1, 4, 4),
        guidance=guidance,
        first=first,
        on_step=lambda _, denoised: seen.append(denoised),
    )
    for each in (*seen, result):
        assert torch.equal(each[:, :, :1], first)
    torch.testing.assert_close(result[:, :, 1:], streams.targets["both"][:, :, 1:])


def test_a_schedule_goes_on_from_a_sigma_of_its_own():
    whole = sigma_schedule(6)
    assert torch.equal(schedule_from(1.0, whole), whole)
    rest = schedule_from(0.5, whole)
    assert rest[0] == 0.5 and rest[-1] == 0
    assert rest[1:].tolist() == [each for each in whole.tolist() if each < 0.5]
    # From one of its own it is its end.
    assert torch.equal(schedule_from(float(whole[3]), whole), whole[3:])
    for start in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="start was"):
            schedule_from(start, whole)
