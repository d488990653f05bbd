"""Several photos of one person, clean first frames and single frames, against closed forms."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import stand_in_run
from helpers.cached_samples import make_sample, write_samples
from helpers.stand_in_run import C, H, Recorder, T, W, make_objective, objective_sections
from torch import Tensor

from stdrc_core.method.flow import resolution_shift
from stdrc_core.train.assemble import CachedSamples
from stdrc_core.train.cache import Cache, FurtherReference
from stdrc_core.train.config import load_config
from stdrc_core.train.dataset_entry import Origin, Stretch
from stdrc_core.train.draws import Draws, Portrait, TrainingSample, draw, num_references
from stdrc_core.train.galleries import most_photos
from stdrc_core.train.objective_config import ReferenceSection

PHOTOS = (0.4, 0.3, 0.2, 0.1)


def portraits(count: int, seed: int = 50) -> tuple[Portrait, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        Portrait(
            photo=torch.rand((1, 12, 10, 3), generator=generator),
            e_ref=torch.randn(stand_in_run.EMBEDDING, generator=generator),
        )
        for _ in range(count)
    )


def with_gallery(count: int) -> TrainingSample:
    (sample,) = stand_in_run.random_samples(1)
    return replace(sample, gallery=portraits(count))


def several(reference: ReferenceSection, shares: tuple[float, ...] = PHOTOS) -> ReferenceSection:
    return reference.model_copy(update={"num_photos": shares})


def drawn(sample: TrainingSample, shares: tuple[float, ...], count: int = 2000) -> list[Draws]:
    objective, reference = objective_sections()
    return [
        draw(sample, (0, step, 0), objective, several(reference, shares)) for step in range(count)
    ]


def test_numbers_of_photos_have_their_shares_and_all_photos_their_turn():
    draws = drawn(with_gallery(5), PHOTOS)
    numbers = Counter(1 + len(choice.from_gallery) for choice in draws)
    for number, share in enumerate(PHOTOS, 1):
        assert numbers[number] / len(draws) == pytest.approx(share, abs=0.04)
    assert all(len({*choice.from_gallery}) == len(choice.from_gallery) for choice in draws)
    turns = Counter(place for choice in draws for place in choice.from_gallery)
    expected = sum(turns.values()) / 5
    assert {*turns} == {*range(5)}
    assert all(abs(count - expected) < 0.15 * expected for count in turns.values())


def test_a_small_gallery_is_shown_whole():
    numbers = {num_references(with_gallery(1), c) for c in drawn(with_gallery(1), PHOTOS, 100)}
    assert numbers - {0} == {1, 2}
    assert {len(c.from_gallery) for c in drawn(with_gallery(0), PHOTOS, 100)} == {0}


@pytest.mark.parametrize("shares", [(1.0,), (1.0, 0.0, 0.0, 0.0)])
def test_one_photo_and_no_shares_draw_what_was_drawn_without_them(shares: tuple[float, ...]):
    objective, reference = objective_sections()
    sample = with_gallery(3)
    before = draw(sample, (0, 1, 2), objective, reference)
    after = draw(sample, (0, 1, 2), objective, several(reference, shares))
    assert (before.t, before.drops_text, before.drops_reference) == (
        after.t,
        after.drops_text,
        after.drops_reference,
    )
    assert torch.equal(before.noise, after.noise)
    assert torch.equal(before.augmentation.get_state(), after.augmentation.get_state())


def test_photos_stand_in_their_slots_each_augmented_by_itself():
    objective, reference = objective_sections()
    sample, model = with_gallery(3), Recorder()
    choice = replace(
        draw(sample, (0, 0, 0), objective, reference), drops_reference=False, from_gallery=(2, 0)
    )
    mirrored = reference.model_copy(
        update={"augmentation": replace(reference.augmentation, p_flip=0.5)}
    )
    make_objective(objective, mirrored)(model, [sample], [choice])
    ((_, _, _, references, num_clean),) = model.groups
    assert num_clean == 0
    assert references.shape == (1, C, 3, H, W)
    shown = [sample.photo, sample.gallery[2].photo, sample.gallery[0].photo]
    flips = []
    for slot, photo in enumerate(shown):
        latents = [stand_in_run.encode_references([each]) for each in (photo, photo.flip(2))]
        (flip,) = [
            number
            for number, latent in enumerate(latents)
            if torch.allclose(references[:, :, slot : slot + 1], latent)
        ]
        flips.append(flip)
    assert len({*flips}) == 2, "one draw for all photos would flip all of them, or none"


def test_the_identity_loss_is_against_the_mean_of_the_photos():
    """L_id of unit embeddings is 1 - cos with their mean, whose gradient is the mean's too."""
    objective, reference = objective_sections(lambda_id=1.0, lambda_tic=0.0)
    sample = with_gallery(3)
    choice = replace(
        draw(sample, (0, 0, 0), objective, reference), drops_reference=False, from_gallery=(1, 2)
    )
    shown = torch.stack([sample.e_ref, sample.gallery[1].e_ref, sample.gallery[2].e_ref])
    shown = shown / shown.norm(dim=1, keepdim=True)
    unit = replace(sample, e_ref=shown[0])
    unit = replace(
        unit,
        gallery=tuple(
            replace(each, e_ref=each.e_ref / each.e_ref.norm()) for each in sample.gallery
        ),
    )

    def loss(of: TrainingSample, drawn: Draws) -> Tensor:
        return make_objective(objective, reference)(Recorder(), [of], [drawn]).identity

    alone = replace(choice, from_gallery=())
    expected = loss(replace(unit, e_ref=shown.mean(dim=0)), alone)
    torch.testing.assert_close(loss(unit, choice), expected)
    assert loss(unit, choice) != loss(unit, alone)
    dropped = replace(choice, drops_reference=True)
    torch.testing.assert_close(loss(unit, dropped), loss(unit, alone))


def test_first_and_single_frames_have_their_shares():
    objective, reference = objective_sections(first_frame_share=0.3, single_frame_share=0.2)
    (sample,) = stand_in_run.random_samples(1)
    kinds = Counter(
        (choice.num_frames, choice.num_clean_frames)
        for choice in (draw(sample, (0, step, 0), objective, reference) for step in range(2000))
    )
    assert {*kinds} == {(T, 0), (T, 1), (1, 0)}
    assert kinds[T, 1] / 2000 == pytest.approx(0.3, abs=0.04)
    assert kinds[1, 0] / 2000 == pytest.approx(0.2, abs=0.04)
    image = replace(sample, latent=sample.latent[:, :1])
    always, reference = objective_sections(first_frame_share=1.0)
    assert draw(image, (0, 0, 0), always, reference).num_clean_frames == 0


def test_a_single_frame_has_the_times_of_its_own_number_of_tokens():
    (sample,) = stand_in_run.random_samples(1)
    whole = replace(sample, latent=torch.zeros(C, 31, 8, 8))
    image = replace(sample, latent=torch.zeros(C, 1, 8, 8))
    single, reference = objective_sections(single_frame_share=1.0)
    plain, _ = objective_sections()
    times = [draw(whole, (0, step, 0), single, reference).t for step in range(1000)]
    shifted = [draw(whole, (0, step, 0), plain, reference).t for step in range(1000)]
    alone = [draw(image, (1, step, 0), plain, reference).t for step in range(1000)]
    assert resolution_shift(31 * 64) - resolution_shift(64) > 0.5
    mean = sum(times) / 1000
    assert mean == pytest.approx(sum(alone) / 1000, abs=0.04)
    assert sum(shifted) / 1000 - mean > 0.05


@pytest.mark.parametrize("drops_reference", [False, True])
def test_a_clean_first_frame_is_seen_and_not_trained(drops_reference: bool):
    objective, reference = objective_sections(lambda_id=0.3, lambda_tic=0.2)
    (sample,) = stand_in_run.random_samples(1)
    plain = draw(sample, (0, 0, 0), objective, reference)
    choice = replace(plain, num_clean_frames=1, drops_reference=drops_reference)
    model, scale = Recorder(), torch.ones(1, 1, T, 1, 1, requires_grad=True)
    losses = make_objective(objective, reference)(
        lambda groups: [scale * each for each in model(groups)], [sample], [choice]
    )
    ((video, t, _, references, num_clean),) = model.groups
    assert (num_clean, references is None, t.item()) == (1, drops_reference, pytest.approx(plain.t))
    clean, noise = sample.latent[None], choice.noise[None]
    assert torch.equal(video[:, :, :1], clean[:, :, :1])
    torch.testing.assert_close(
        video[:, :, 1:], (1 - plain.t) * clean[:, :, 1:] + plain.t * noise[:, :, 1:]
    )
    error = 0.7 * video[:, :, 1:] - (noise - clean)[:, :, 1:]
    torch.testing.assert_close(losses.flow, (error**2).mean())
    # Neither the flow nor the faces reach the model by way of the clean frame.
    (gradient,) = torch.autograd.grad(losses.total, scale)
    assert gradient[0, 0, 0].item() == 0
    assert (gradient[0, 0, 1:] != 0).all()
    faces = stand_in_run.face_losses(num_latent_frames=T, num_frames=99)
    estimate = torch.cat((clean[:, :, :1], video[:, :, 1:] * (1 - 0.7 * plain.t)), dim=2)
    generator = torch.Generator().manual_seed(0)
    made = sample.has_face.clone()
    assert made[0]
    made[0] = False
    expected, expected_tic = faces(estimate, [replace(sample, has_face=made)], [generator])
    torch.testing.assert_close(losses.identity, expected[0])
    torch.testing.assert_close(losses.consistency, expected_tic[0])


def test_a_batch_of_all_kinds_is_the_mean_of_its_samples():
    """Micro-batches of one give each sample's losses; their mean is the batch's."""
    objective, reference = objective_sections(
        lambda_id=0.3, lambda_tic=0.2, first_frame_share=0.4, single_frame_share=0.3
    )
    reference = several(reference, (0.5, 0.5)).model_copy(update={"p_drop": 0.3})
    samples = [
        replace(each, gallery=portraits(2, seed))
        for seed, each in enumerate(stand_in_run.random_samples(12))
    ]

    def drawn_anew() -> list[Draws]:
        return [draw(s, (0, 0, i), objective, reference) for i, s in enumerate(samples)]

    shapes = {
        (c.num_frames, c.num_clean_frames, num_references(s, c))
        for s, c in zip(samples, drawn_anew(), strict=True)
    }
    assert len(shapes) >= 5
    loss = make_objective(objective, reference)
    whole = loss(Recorder(), samples, drawn_anew())
    alone = [
        loss(Recorder(), [sample], [choice])
        for sample, choice in zip(samples, drawn_anew(), strict=True)
    ]
    for name, value in vars(whole).items():
        expected = torch.stack([getattr(each, name) for each in alone]).mean()
        torch.testing.assert_close(value, expected)


def test_a_gallery_has_the_persons_other_photos_and_none_of_the_samples_own_clip(tmp_path: Path):
    own = replace(make_sample("a", 1), identity="ann", video="/clips/a.mp4")
    samples = [
        replace(own, reference_source="photo one.png"),
        replace(make_sample("b", 2), identity="ann", reference_source="photo two.png"),
        replace(make_sample("c", 3), identity="ann", reference_source="photo one.png"),
        replace(make_sample("d", 4), identity="ann", reference_source="clip at 1.000 s of a.mp4"),
        replace(make_sample("e", 5), identity="bob", reference_source="photo three.png"),
        replace(make_sample("f", 6), identity=None, reference_source="photo four.png"),
    ]
    write_samples(tmp_path, samples)
    read = CachedSamples(Cache(tmp_path), shows_several_photos=True)
    (photo,) = read[0].gallery
    assert torch.equal(photo.e_ref, samples[1].e_ref)
    assert torch.equal(photo.photo, samples[1].reference[None].float() / 255)
    assert [len(read[i].gallery) for i in range(6)] == [1, 2, 2, 2, 0, 0]
    plain = CachedSamples(Cache(tmp_path))
    assert not any(len(sample.gallery) for sample in plain)


def test_a_gallery_leaves_out_what_is_cut_from_the_samples_own_shot(tmp_path: Path):
    """Whatever clip it was cut out for, and whatever the files are called."""
    origins = [
        (Origin("a/ref.png"), "photo ref.png"),
        (Origin("b/ref.png"), "photo ref.png"),
        (Origin("a/ref.png"), "photo ref.png"),
        (Origin("film", 3.0), "photo 3.png"),
        (Origin("film", 9.95), "clip at 9.950 s of film.mp4"),
        (Origin("film", 10.2), "clip at 10.200 s of film.mp4"),
        (Origin("another film", 3.0), "clip at 3.000 s of film.mp4"),
    ]
    samples = [
        replace(
            make_sample(f"s{i}", i),
            identity="ann",
            video=f"/clips/{i}/film.mp4",
            origin=origin,
            reference_source=source,
            shot=Stretch("film", 0.0, 9.9) if i == 0 else Stretch("elsewhere", 0.0, 9.0),
        )
        for i, (origin, source) in enumerate(origins)
    ]
    write_samples(tmp_path, samples)
    cache = Cache(tmp_path)
    assert [sample.origin for sample in cache] == [origin for origin, _ in origins]
    assert cache[0].shot == samples[0].shot
    read = CachedSamples(cache, shows_several_photos=True)
    shown = [photo.e_ref for photo in read[0].gallery]
    expected = [samples[i].e_ref for i in (1, 5, 6)]
    assert len(shown) == 3
    assert all(map(torch.equal, shown, expected))
    # Elsewhere, only the photo that comes twice is left out.
    assert len(read[3].gallery) == 5
    assert [most_photos(cache, limit) for limit in (None, 1, 4, 9)] == [1, 1, 4, 6]


def test_the_log_tells_once_of_a_person_who_has_photos_of_two(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    e_ref = torch.nn.functional.normalize(make_sample("a", 1).e_ref, dim=0)
    samples = [
        replace(
            make_sample(name, number),
            identity=identity,
            reference_source=f"photo {name}",
            video=f"{name}.mp4",
            e_ref=cosine * e_ref,
        )
        for number, (name, identity, cosine) in enumerate(
            [("a", "ann", 1), ("b", "ann", -1), ("c", "bob", 1), ("d", "bob", 1)], 1
        )
    ]
    write_samples(tmp_path, samples)
    read = CachedSamples(Cache(tmp_path), shows_several_photos=True)
    assert caplog.messages == []
    shown = [photo for _ in range(2) for sample in read for photo in sample.gallery]
    assert len(shown) == 8
    (said,) = caplog.messages
    assert "identity ann: photo a of clip a.mp4 and photo b seem to show two persons" in said
    assert "cosine is -1.00" in said


def test_references_of_one_person_are_a_gallery_and_of_several_are_not(tmp_path: Path):
    sample, other = make_sample("a", 1), make_sample("x", 2)
    has_face = torch.ones_like(sample.has_face)
    boxes = torch.rand_like(sample.boxes)
    sample = replace(sample, has_face=has_face, boxes=boxes)

    def further(seed: int, own_boxes: Tensor) -> FurtherReference:
        each = make_sample("y", seed)
        return FurtherReference(
            source=f"photo {seed}",
            reference=each.reference,
            boxes=own_boxes.clone(),
            landmarks=each.landmarks,
            has_face=has_face.clone(),
            e_ref=each.e_ref,
        )

    one = replace(sample, further=(further(3, boxes), further(4, boxes)))
    two = replace(make_sample("b", 6), has_face=has_face.clone(), boxes=boxes.clone())
    two = replace(two, further=(further(3, boxes), further(5, other.boxes)))
    write_samples(tmp_path, [one, two])
    read = CachedSamples(Cache(tmp_path), shows_several_photos=True)
    assert (len(read[0].further), len(read[0].gallery)) == (0, 2)
    assert torch.equal(read[0].gallery[1].e_ref, one.further[1].e_ref)
    assert (len(read[1].further), len(read[1].gallery)) == (2, 0)
    as_before = CachedSamples(Cache(tmp_path))
    assert [len(each.further) for each in as_before] == [2, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("reference.num_photos=[0.5, 0.4]", r"num_photos was \[0.5, 0.4\], in all 0.9; needs"),
        ("reference.num_photos=[0.2, 0.2, 0.2, 0.2, 0.2]", "num_photos was"),
        ("reference.num_photos=[2, -1]", "num_photos"),
        ("objective.first_frame_share=1.5", "first_frame_share was 1.5"),
    ],
)
def test_a_share_that_is_none_is_refused(change: str, said: str):
    recipe = Path(__file__).parents[2] / "stdrc_core" / "train" / "recipes" / "mini.yaml"
    with pytest.raises(ValueError, match=said):
        load_config(recipe, [change])


def test_shares_of_first_and_single_frames_are_1_at_most():
    with pytest.raises(ValueError, match=r"first_frame_share was 0.6 and .* 0.5; needs 1 or less"):
        objective_sections(first_frame_share=0.6, single_frame_share=0.5)
