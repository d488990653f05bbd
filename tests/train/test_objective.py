"""The objective of a batch against the equations, sample by sample."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from helpers import stand_in_run
from helpers.stand_in_run import Recorder, make_objective, objective_sections
from torch import Tensor

from stdrc_core.train.draws import draw
from stdrc_core.train.objective import Group, Losses, Objective


def test_loss_is_the_equations_term_by_term():
    objective, reference = objective_sections(lambda_id=0.3, lambda_tic=0.2, gamma=2.0)
    samples = stand_in_run.random_samples(5)
    draws = [draw(s, (0, 0, i), objective, reference) for i, s in enumerate(samples)]
    losses = make_objective(objective, reference)(Recorder(), samples, draws)
    faces = stand_in_run.face_losses(num_latent_frames=stand_in_run.T, num_frames=99)
    flows, totals = [], []
    for sample, choice in zip(samples, draws, strict=True):
        t, clean, noise = choice.t, sample.latent, choice.noise
        noisy = (1 - t) * clean + t * noise
        predicted = 0.7 * noisy
        flow = ((predicted - (noise - clean)) ** 2).mean()
        frames = (faces.decode((noisy - t * predicted)[None])[0].movedim(1, 0) + 1) / 2
        embeddings = faces.embed(frames, sample.landmarks)[sample.has_face]
        cos = torch.nn.functional.cosine_similarity
        l_id = (1 - cos(embeddings, sample.e_ref[None])).mean()
        l_tic = (1 - cos(embeddings, embeddings.mean(dim=0)[None])).mean()
        weight = ((1 - t) ** 2 / ((1 - t) ** 2 + t**2)) ** 2
        flows.append(flow)
        totals.append(flow + weight * (0.3 * l_id + 0.2 * l_tic))
    torch.testing.assert_close(losses.flow, torch.stack(flows).mean())
    torch.testing.assert_close(losses.total, torch.stack(totals).mean(), rtol=1e-4, atol=1e-5)
    assert losses.total > losses.flow


def test_a_dropped_reference_means_no_tokens_and_a_dropped_text_the_empty_prompt():
    objective, reference = objective_sections()
    samples = stand_in_run.random_samples(4)
    plain = [draw(s, (0, 0, i), objective, reference) for i, s in enumerate(samples)]
    draws = [
        replace(choice, drops_text=i in (1, 2), drops_reference=i in (2, 3))
        for i, choice in enumerate(plain)
    ]
    model = Recorder()
    make_objective(objective, reference)(model, samples, draws)
    (with_reference, without) = model.groups
    assert with_reference[3].shape == (2, stand_in_run.C, 1, stand_in_run.H, stand_in_run.W)
    for place, i in enumerate((0, 1)):
        assert torch.equal(
            with_reference[3][place], stand_in_run.encode_references([samples[i].photo])[0]
        )
    assert without[3] is None
    empty = torch.full(stand_in_run.CONTEXT, 9.0)
    assert torch.equal(with_reference[2], torch.stack([samples[0].context, empty]))
    assert torch.equal(without[2], torch.stack([empty, samples[3].context]))


def test_predictions_return_to_their_own_samples():
    """Samples with and without reference are computed apart; each must meet its own target."""
    objective, reference = objective_sections(lambda_id=0, lambda_tic=0)
    samples = stand_in_run.random_samples(6)
    draws = [
        replace(draw(s, (0, 0, i), objective, reference), drops_reference=i % 2 == 0)
        for i, s in enumerate(samples)
    ]
    perfect = {
        tuple(((1 - d.t) * s.latent + d.t * d.noise).flatten()[:3].tolist()): d.noise - s.latent
        for s, d in zip(samples, draws, strict=True)
    }

    def oracle(groups: list[Group]) -> list[Tensor]:
        return [
            torch.stack([perfect[tuple(video.flatten()[:3].tolist())] for video in group[0]])
            for group in groups
        ]

    losses = make_objective(objective, reference)(oracle, samples, draws)
    assert losses.flow.item() == pytest.approx(0, abs=1e-10)


def test_dropout_rates_are_independent_and_as_configured():
    objective, reference = objective_sections(text_p_drop=0.3)
    reference = reference.model_copy(update={"p_drop": 0.4})
    (sample,) = stand_in_run.random_samples(1)
    draws = [draw(sample, (0, step, 0), objective, reference) for step in range(2000)]
    text = sum(d.drops_text for d in draws) / 2000
    ref = sum(d.drops_reference for d in draws) / 2000
    both = sum(d.drops_text and d.drops_reference for d in draws) / 2000
    assert text == pytest.approx(0.3, abs=0.045)
    assert ref == pytest.approx(0.4, abs=0.045)
    assert both == pytest.approx(0.12, abs=0.03)


def test_draws_depend_on_run_step_and_place_alone():
    objective, reference = objective_sections()
    (sample,) = stand_in_run.random_samples(1)
    first = draw(sample, (1, 2, 3), objective, reference)
    again = draw(sample, (1, 2, 3), objective, reference)
    assert (first.t, first.drops_text) == (again.t, again.drops_text)
    assert torch.equal(first.noise, again.noise)
    for other in ((0, 2, 3), (1, 3, 2), (1, 2, 4)):
        assert draw(sample, other, objective, reference).t != first.t


@pytest.mark.parametrize("shift", [-1.0, 0.0, 1.5])
def test_a_shift_of_its_own_moves_the_timesteps(shift: float):
    objective, reference = objective_sections(timestep_shift=shift)
    (sample,) = stand_in_run.random_samples(1)
    drawn = [draw(sample, (0, step, 0), objective, reference).t for step in range(2000)]
    low, median, high = (1 / (1 + math.exp(-(shift + q))) for q in (-2.5758, 0, 3.0902))
    # Half of the stretched logit-normal lies beyond its median; a tenth of all is uniform.
    middle = (median - low) / (high - low)
    above = sum(t > middle for t in drawn) / len(drawn)
    assert above == pytest.approx(0.9 * 0.5 + 0.1 * (1 - middle), abs=0.04)


def test_identity_losses_reach_the_predicted_velocity():
    objective, reference = objective_sections()
    samples = stand_in_run.random_samples(2)
    draws = [draw(s, (0, 0, i), objective, reference) for i, s in enumerate(samples)]
    scale = torch.tensor(0.7, requires_grad=True)
    model = make_objective(objective, reference)
    losses = model(lambda groups: [scale * g[0] for g in groups], samples, draws)
    flow_only, _ = objective_sections(lambda_id=0, lambda_tic=0)
    bare = make_objective(flow_only, reference)(
        lambda groups: [scale * g[0] for g in groups], samples, draws
    )
    with_id, without = (torch.autograd.grad(x.total, scale)[0] for x in (losses, bare))
    assert (with_id - without).abs() > 1e-5


def test_a_share_of_the_samples_stands_for_all_in_the_identity_losses():
    """Each sample's own terms by a run of it alone; those not shown count nothing, the others
    1 / share."""
    objective, reference = objective_sections(lambda_id=0.3, lambda_tic=0.2, identity_share=0.4)
    samples = stand_in_run.random_samples(5)
    plain = [draw(s, (0, 0, i), objective, reference) for i, s in enumerate(samples)]

    def losses(shown: list[int], share: float) -> Losses:
        objective, _ = objective_sections(lambda_id=0.3, lambda_tic=0.2, identity_share=share)
        draws = [replace(choice, shows_face=i in shown) for i, choice in enumerate(plain)]
        return make_objective(objective, reference)(Recorder(), samples, draws)

    alone = [losses([i], 1.0) for i in range(5)]
    some, none = losses([1, 4], 0.4), losses([], 0.4)
    for name in ("identity", "consistency"):
        expected = sum(getattr(alone[i], name) for i in (1, 4)) / 0.4
        torch.testing.assert_close(getattr(some, name), expected)
        assert getattr(none, name) == 0
    torch.testing.assert_close(none.total, none.flow)
    added = sum(alone[i].total - none.total for i in (1, 4)) / 0.4
    torch.testing.assert_close(some.total - none.total, added, rtol=1e-4, atol=1e-5)
    shown = sum(
        draw(samples[0], (0, step, 0), objective, reference).shows_face for step in range(2000)
    )
    assert shown / 2000 == pytest.approx(0.4, abs=0.045)


def test_identity_losses_begin_at_their_step_and_change_no_other_draw():
    (sample,) = stand_in_run.random_samples(1)
    at_once, reference = objective_sections(identity_share=0.5)
    later, _ = objective_sections(identity_share=0.5, identity_from=30)
    for step in range(60):
        ours, theirs = (draw(sample, (0, step, 0), each, reference) for each in (later, at_once))
        assert ours.shows_face == (theirs.shows_face and step >= 30)
        assert (ours.t, ours.drops_text) == (theirs.t, theirs.drops_text)
        assert torch.equal(ours.noise, theirs.noise)
        assert torch.equal(ours.augmentation.get_state(), theirs.augmentation.get_state())


def test_identity_losses_without_a_face_model_are_refused():
    objective, reference = objective_sections()
    with pytest.raises(ValueError, match=r"^face_losses is missing; .*lambda_id"):
        Objective(
            objective,
            reference,
            encode_references=stand_in_run.encode_references,
            empty_context=torch.zeros(stand_in_run.CONTEXT),
        )
