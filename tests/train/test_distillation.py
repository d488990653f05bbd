"""Distillation: the target in closed form, and the teacher's own states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import stand_in_run
from pydantic import ValidationError
from torch import Tensor, nn

from stdrc_core.method.guidance_options import GuidanceOptions
from stdrc_core.method.sampling import sample, sigma_schedule
from stdrc_core.train.draws import Draws, TrainingSample, draw
from stdrc_core.train.objective import Group, Objective

EMPTY = torch.full(stand_in_run.CONTEXT, 9.0)
SCALES = {"text_scale": 3.0, "reference_scale": 4.5}


def tiny_teacher() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        return stand_in_run.TinyBackbone().requires_grad_(False)


def answers(backbone: nn.Module, groups: Sequence[Group]) -> list[Tensor]:
    return [backbone(z, t, c, reference=r) for z, t, c, r, _ in groups]


def sections(distil: dict[str, Any], **objective: Any):
    return stand_in_run.objective_sections(distil=SCALES | distil, **objective)


def make_objective(distil: dict[str, Any], teacher: nn.Module, **changes: Any) -> Objective:
    objective, reference = sections(distil, **changes)
    return Objective(
        objective,
        reference,
        encode_references=stand_in_run.encode_references,
        empty_context=EMPTY,
        face_losses=stand_in_run.face_losses(num_latent_frames=stand_in_run.T, num_frames=99),
        teacher=lambda _, groups: answers(teacher, groups),
    )


def drawn(objective: Objective, samples: Sequence[TrainingSample], step: int = 0) -> list[Draws]:
    return [
        draw(s, (0, step, i), objective.objective, objective.reference)
        for i, s in enumerate(samples)
    ]


def equation_13(teacher: nn.Module, video: Tensor, sample: TrainingSample, choice: Draws) -> Tensor:
    """One sample alone, term by term; a dropped condition is left out of all three streams."""
    t, text = torch.tensor([choice.t]), EMPTY if choice.drops_text else sample.context
    photo = None
    if not choice.drops_reference:
        photo = stand_in_run.encode_references([sample.photo])
    empty, with_text, with_both = (
        teacher(video[None], t, context[None], reference=reference)[0]
        for context, reference in ((EMPTY, None), (text, None), (text, photo))
    )
    s_y, s_r = choice.scales
    return empty + s_y * (with_text - empty) + s_r * (with_both - with_text)


@pytest.mark.parametrize("scales", [(3.0, 4.5), (2.0, 2.0), (1.0, 0.0), (1.0, 1.0), (0.0, 3.0)])
def test_the_target_is_equation_13_of_each_sample(scales: tuple[float, float]):
    """Whatever a sample drops, and for scales at which streams are left out."""
    teacher, samples = tiny_teacher(), stand_in_run.random_samples(6)
    named = dict(zip(("text_scale", "reference_scale"), scales, strict=True))
    objective = make_objective(named | {"trajectory_share": 0}, teacher, lambda_id=0, lambda_tic=0)
    draws = [
        replace(choice, drops_text=i in (1, 2), drops_reference=i in (2, 3))
        for i, choice in enumerate(drawn(objective, samples))
    ]
    student = stand_in_run.Recorder()
    loss = objective(student, samples, draws).total
    errors = []
    for one, choice in zip(samples, draws, strict=True):
        noisy = (1 - choice.t) * one.latent + choice.t * choice.noise
        errors.append(((0.7 * noisy - equation_13(teacher, noisy, one, choice)) ** 2).mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean(), rtol=1e-5, atol=1e-6)


def test_identity_losses_are_as_without_distillation():
    teacher, samples = tiny_teacher(), stand_in_run.random_samples(4)
    distilled = make_objective({"trajectory_share": 0}, teacher)
    plain = stand_in_run.make_objective(*stand_in_run.objective_sections())
    draws = drawn(distilled, samples)
    ours, theirs = (
        each(stand_in_run.Recorder(), samples, [*map(again, draws, samples)])
        for each in (distilled, plain)
    )
    assert (ours.identity, ours.consistency) == (theirs.identity, theirs.consistency)
    assert ours.identity > 0
    assert ours.flow != theirs.flow


def again(choice: Draws, sample: TrainingSample) -> Draws:
    """The same draws, with a generator of their own that nobody has drawn from."""
    return replace(choice, augmentation=torch.Generator().manual_seed(int(1e6 * choice.t)))


def test_a_linear_student_reaches_the_guided_velocity():
    """All is linear, so that the guided velocity is a student too: A z + B c + C r + d."""
    torch.manual_seed(0)
    num_channels, width = stand_in_run.C, stand_in_run.CONTEXT[1]

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of_video = nn.Linear(num_channels, num_channels)
            self.of_text = nn.Linear(width, num_channels, bias=False)
            self.of_reference = nn.Linear(num_channels, num_channels, bias=False)

        def forward(self, video: Tensor, t: Tensor, context: Tensor, *, reference: Tensor | None):
            out = self.of_video(video.movedim(1, -1))
            out = out + self.of_text(context.mean(1))[:, None, None, None]
            if reference is not None:
                out = out + self.of_reference(reference.mean((2, 3, 4)))[:, None, None, None]
            return out.movedim(-1, 1)

    teacher, student = Linear().requires_grad_(False), Linear()
    objective = make_objective({"trajectory_share": 0.5}, teacher, lambda_id=0, lambda_tic=0)
    samples = stand_in_run.random_samples(16)
    optimizer = torch.optim.LBFGS(student.parameters(), max_iter=200, tolerance_grad=1e-9)
    draws = [replace(c, drops_text=False, drops_reference=False) for c in drawn(objective, samples)]
    assert len({choice.trajectory_step is None for choice in draws}) == 2

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(lambda groups: answers(student, groups), samples, draws).total
        loss.backward()
        return loss

    optimizer.step(closure)
    assert closure() < 1e-8
    (other,) = stand_in_run.random_samples(1, seed=5)
    choice = replace(draws[0], t=0.4)
    group = (other.latent[None], torch.tensor([0.4]), other.context[None])
    photo = stand_in_run.encode_references([other.photo])
    torch.testing.assert_close(
        student(*group, reference=photo)[0],
        equation_13(teacher, other.latent, other, choice),
        rtol=1e-3,
        atol=2e-3,
    )


@pytest.mark.parametrize("num_clean_frames", [0, 1])
def test_states_are_those_of_the_projects_sampler(num_clean_frames: int):
    """In one batch with noised clips, after different numbers of steps."""
    teacher, samples = tiny_teacher(), stand_in_run.random_samples(5)
    objective = make_objective(
        {"trajectory_share": 0.5, "trajectory_steps": 6}, teacher, lambda_id=0, lambda_tic=0
    )
    sigmas = sigma_schedule(6, samples[0].latent[0].numel())
    steps = [0, 5, None, 2, 3]
    draws = [
        replace(
            choice,
            trajectory_step=step,
            t=0.3 if step is None else sigmas[step].item(),
            drops_text=False,
            drops_reference=i == 3,
            num_clean_frames=num_clean_frames,
        )
        for i, (choice, step) in enumerate(zip(drawn(objective, samples), steps, strict=True))
    ]
    student = stand_in_run.Recorder()
    objective(student, samples, draws)
    seen = dict(zip((0, 1, 2, 4, 3), torch.cat([g[0] for g in student.groups]), strict=True))
    options = GuidanceOptions(**SCALES)
    without = replace(options, reference_scale=0.0)
    for i, (sample_, choice) in enumerate(zip(samples, draws, strict=True)):
        first = sample_.latent[None, :, :1] if num_clean_frames else None
        if choice.trajectory_step is None:
            expected = (1 - choice.t) * sample_.latent + choice.t * choice.noise
            if num_clean_frames:
                expected[:, :1] = sample_.latent[:, :1]
        else:
            (expected,) = sample(
                lambda z, t, c, r: teacher(z, t, c, reference=r),
                choice.noise[None],
                sigmas[: choice.trajectory_step + 1],
                text=sample_.context[None],
                empty=EMPTY[None],
                reference=stand_in_run.encode_references([sample_.photo]),
                guidance=without if choice.drops_reference else options,
                first=first,
            )
        torch.testing.assert_close(seen[i], expected, rtol=1e-4, atol=1e-4)


def test_draws_share_states_and_scales_as_asked():
    distil = {"trajectory_share": 0.3, "trajectory_steps": 4, "text_scale": [1.0, 3.0]}
    objective, reference = sections(distil)
    (sample_,) = stand_in_run.random_samples(1)
    draws = [draw(sample_, (0, step, 0), objective, reference) for step in range(1500)]
    states = [choice for choice in draws if choice.trajectory_step is not None]
    assert len(states) / 1500 == pytest.approx(0.3, abs=0.05)
    sigmas = sigma_schedule(4, sample_.latent[0].numel()).tolist()
    assert {c.trajectory_step: c.t for c in states} == dict(enumerate(sigmas[:4]))
    assert not any(choice.shows_face for choice in states)
    texts = torch.tensor([choice.scales[0] for choice in draws])
    assert 1 <= texts.min() < 1.05
    assert 2.95 < texts.max() <= 3
    assert {choice.scales[1] for choice in draws} == {SCALES["reference_scale"]}
    # What the identity losses are divided by.
    shown = sum(choice.shows_face for choice in draws) / 1500
    assert objective.share_with_faces == 0.7 == pytest.approx(shown, abs=0.05)


def test_without_it_all_is_drawn_as_before():
    plain, reference = stand_in_run.objective_sections()
    distilled, _ = sections({"trajectory_share": 0})
    (sample_,) = stand_in_run.random_samples(1)
    ours, theirs = (draw(sample_, (1, 2, 3), each, reference) for each in (distilled, plain))
    assert (ours.t, ours.drops_text, ours.shows_face) == (
        theirs.t,
        theirs.drops_text,
        theirs.shows_face,
    )
    assert torch.equal(ours.noise, theirs.noise)
    assert theirs.scales is theirs.trajectory_step is None


def test_a_distillation_without_a_teacher_is_refused():
    objective, reference = sections({})
    with pytest.raises(ValueError, match=r"^teacher is missing; objective.distil needs"):
        stand_in_run.make_objective(objective, reference)


def test_states_alone_leave_the_identity_losses_nothing():
    with pytest.raises(ValidationError, match="trajectory_share was 1 with identity losses"):
        sections({"trajectory_share": 1})
    sections({"trajectory_share": 1}, lambda_id=0, lambda_tic=0)
