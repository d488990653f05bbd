"""Samples with several references, each in its slot: from the manifest's line to the loss."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import mini_run, stand_in_run
from helpers.cached_samples import SAMPLES, assert_same, make_sample, write_samples
from helpers.clips import encode
from helpers.drawn_faces import BLUE, RED, draw, write_photo
from helpers.json_lines import write_json_lines
from helpers.prepared_clips import CONFIG, reasons
from helpers.stand_in_run import NO_AUGMENTATION, Recorder, make_objective, objective_sections
from PIL import Image

from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.similarity import NUM_SCORED_FRAMES, find_padding, spread
from stdrc_core.method.augmentation import Augmentation
from stdrc_core.mini.text import MiniatureText
from stdrc_core.photo_file import load_photo
from stdrc_core.train.assemble import CachedSamples, assemble
from stdrc_core.train.batches import Batches
from stdrc_core.train.cache import Cache, FurtherReference, read_lines
from stdrc_core.train.draws import Person, TrainingSample
from stdrc_core.train.draws import draw as draw_choices
from stdrc_core.train.loop import training_step
from stdrc_core.train.objective_config import ReferenceSection
from stdrc_core.train.prepare import Models, Reason, prepare
from stdrc_core.train.rehearsal import largest_sample
from stdrc_core.train.rehearsal_parts import ClipSize
from stdrc_core.train.sources import read_sources
from stdrc_core.train.validation import Validator, read_cases


def test_a_manifests_photos_keep_their_order(tmp_path: Path):
    path = tmp_path / "data.jsonl"
    lines = [{"references": ["b.png", "/photos/a.png"]}, {"references": ["c.png"]}, {}]
    write_json_lines(path, [{"video": "a.mp4", "caption": "x"} | line for line in lines])
    two, one, none = read_sources(path, window_s=1)
    assert (two.reference, two.further) == (tmp_path / "b.png", (Path("/photos/a.png"),))
    assert (one.reference, one.further) == (tmp_path / "c.png", ())
    assert (none.reference, none.further) == (None, ())


@pytest.mark.parametrize(
    "line",
    [
        {"references": []},
        {"references": ["a.png", 3]},
        {"references": ["a.png"], "reference": "a.png"},
        {"references": "a.png"},
    ],
)
def test_references_that_are_no_photos_are_told(tmp_path: Path, line: dict):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"video": "a.mp4", "caption": "x"} | line))
    (bad,) = read_sources(path, window_s=1)
    assert re.match(r"line 1 of .* has references .*a\.png|.* references \[\]", bad.problem)


def further(seed: int) -> FurtherReference:
    other = make_sample("other", seed)
    names = ("reference", "boxes", "landmarks", "has_face", "e_ref")
    return FurtherReference(
        source=f"photo {seed}", **{name: getattr(other, name) for name in names}
    )


def test_further_references_come_back_from_the_cache_in_their_order(tmp_path: Path):
    several = replace(make_sample("several", 5), further=(further(6), further(7)))
    write_samples(tmp_path, [*SAMPLES, several])
    cache = Cache(tmp_path)
    assert cache.num_references == {1, 3}
    *others, back = cache
    for sample, expected in zip(others, sorted(SAMPLES, key=lambda s: s.id), strict=True):
        assert_same(sample, expected)
    assert_same(replace(back, further=()), replace(several, further=()))
    assert [each.source for each in back.further] == ["photo 6", "photo 7"]
    for each, expected in zip(back.further, several.further, strict=True):
        for name, value in vars(expected).items():
            kept = getattr(each, name)
            assert torch.equal(kept, value) if isinstance(value, torch.Tensor) else kept == value
    sample = CachedSamples(cache)[len(cache) - 1]
    assert [tuple(each.shape) for each in sample.photos] == [(1, 5, 7, 3)] * 3
    assert torch.equal(sample.seen_from(2).e_ref, several.further[1].e_ref)


def test_a_cache_from_before_has_one_reference_a_sample(tmp_path: Path):
    write_samples(tmp_path, SAMPLES)
    path = tmp_path / "samples.jsonl"
    lines = read_lines(path)
    write_json_lines(
        path, [{k: v for k, v in line.items() if k != "further_sources"} for line in lines]
    )
    cache = Cache(tmp_path)
    assert cache.num_references == {1}
    for sample, expected in zip(cache, sorted(SAMPLES, key=lambda s: s.id), strict=True):
        assert_same(sample, expected)


def with_others(sample: TrainingSample, *others: TrainingSample) -> TrainingSample:
    names = ("photo", "landmarks", "has_face", "e_ref")
    persons = (Person(**{name: getattr(each, name) for name in names}) for each in others)
    return replace(sample, further=tuple(persons))


def test_samples_of_each_number_of_references_form_a_group():
    objective, reference = objective_sections(lambda_id=0, lambda_tic=0)
    a, b, c, d, e = stand_in_run.random_samples(5)
    samples = [with_others(a, b), c, with_others(d, e), e, with_others(b, a)]
    drops = [False, False, False, True, True]
    draws = [
        replace(
            draw_choices(s, (0, 0, i), objective, reference),
            drops_reference=dropped,
            drops_text=False,
        )
        for i, (s, dropped) in enumerate(zip(samples, drops, strict=True))
    ]
    model = Recorder()
    losses = make_objective(objective, reference)(model, samples, draws)
    one, two, none = model.groups
    assert torch.equal(one[3], stand_in_run.encode_references([c.photo]))
    assert two[3].shape == (2, stand_in_run.C, 2, stand_in_run.H, stand_in_run.W)
    for place, slots in enumerate(((a, b), (d, e))):
        for slot, sample in enumerate(slots):
            expected = stand_in_run.encode_references([sample.photo])[0, :, 0]
            assert torch.equal(two[3][place, :, slot], expected)
    # A dropped reference drops all of them.
    assert none[3] is None
    assert torch.equal(none[2], torch.stack([e.context, b.context]))
    # Each prediction meets its own target, whatever the groups.
    alone = [
        make_objective(objective, reference)(Recorder(), [s], [c])
        for s, c in zip(samples, draws, strict=True)
    ]
    torch.testing.assert_close(losses.total, torch.stack([each.total for each in alone]).mean())


def test_every_photo_is_augmented_by_itself():
    objective, _ = objective_sections(lambda_id=0, lambda_tic=0)
    augmentation = Augmentation(p_flip=0.5, p_rotate=0, p_crop=1, p_color=1)
    reference = ReferenceSection(augmentation=augmentation)
    first, second = stand_in_run.random_samples(2)
    sample = with_others(first, replace(second, photo=first.photo))
    choice = replace(draw_choices(sample, (0, 0, 0), objective, reference), drops_reference=False)
    generator = choice.augmentation.clone_state()
    model = Recorder()
    make_objective(objective, reference)(model, [sample], [choice])
    latents = model.groups[0][3][0].movedim(1, 0)
    for latent in latents:
        expected = stand_in_run.encode_references([augmentation(first.photo, generator)])
        assert torch.equal(latent, expected[0, :, 0])
    assert not torch.equal(*latents)


def test_the_identity_losses_look_at_each_person_in_turn():
    objective, reference = objective_sections(lambda_id=0.3, lambda_tic=0.2)
    first, second = stand_in_run.random_samples(2)
    several = with_others(first, second)
    plain = draw_choices(first, (0, 0, 0), objective, reference)
    make = make_objective(objective, reference)

    def losses(sample: TrainingSample, seed: int):
        generator = torch.Generator().manual_seed(seed)
        return make(Recorder(), [sample], [replace(plain, augmentation=generator)])

    as_one, as_other = (losses(several.seen_from(slot), 0).identity for slot in (0, 1))
    assert as_one != as_other
    seen = torch.stack([losses(several, seed).identity for seed in range(60)])
    shares = [(seen == each).float().mean().item() for each in (as_one, as_other)]
    assert sum(shares) == 1
    assert 0.3 < shares[0] < 0.7


def test_a_step_counts_the_tokens_of_all_references(tmp_path: Path):
    from accelerate import Accelerator

    config = stand_in_run.config(
        tmp_path,
        reference={"p_drop": 0, "augmentation": NO_AUGMENTATION},
        run={"out": tmp_path, "batch_size": 4, "micro_batch_size": 4},
    )
    parts = stand_in_run.parts(config)
    a, b, *_ = parts.samples
    parts = replace(parts, samples=[with_others(a, b), b, a, b])
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(parts.model.parameters(), lr=0.1)
    model, optimizer = accelerator.prepare(parts.model, optimizer)
    before = [p.detach().clone() for p in model.parameters()]
    made = Batches(config, parts.samples, parts.objective, rank=0, num_processes=1, pins=False)
    _, norm, num_tokens = training_step(
        config, parts.objective, accelerator, model, optimizer, 0, made.ahead([0])
    )
    assert num_tokens == (4 * stand_in_run.T + 3 + 2) * stand_in_run.H * stand_in_run.W
    assert norm > 0
    assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_prepare_keeps_each_photo_and_sets_aside_whom_the_clip_does_not_show(
    models: Models,
    tmp_path: Path,
):
    for name in ("good", "stranger", "nobody"):
        encode(tmp_path / f"{name}.mp4", draw(12, RED))
    write_photo(tmp_path / "one.png", RED)
    write_photo(tmp_path / "blue.png", BLUE)
    write_photo(tmp_path / "empty.png", None)
    (tmp_path / "two.png").write_bytes((tmp_path / "one.png").read_bytes())
    second = {"good": "two.png", "stranger": "blue.png", "nobody": "empty.png"}
    lines = [
        {"video": f"{name}.mp4", "caption": name, "references": ["one.png", other]}
        for name, other in second.items()
    ]
    manifest = write_json_lines(tmp_path / "data.jsonl", lines)
    prepare(read_sources(manifest, window_s=CONFIG.window_s), tmp_path / "out", CONFIG, models)
    (sample,) = Cache(tmp_path / "out")
    (other,) = sample.further
    assert (sample.reference_source, other.source) == ("photo one.png", "photo two.png")
    for name in ("reference", "boxes", "landmarks", "has_face", "e_ref"):
        assert torch.equal(getattr(sample, name), getattr(other, name))
    assert reasons(tmp_path / "out") == {
        "stranger.mp4@0": Reason.OTHER_PERSON,
        "nobody.mp4@0": Reason.NO_REFERENCE,
    }
    details = (tmp_path / "out" / "report.jsonl").read_text()
    assert "the best mean cosine with reference blue.png is" in details


def test_a_rehearsal_has_the_most_references(tmp_path: Path):
    for count in (0, 2):
        others = tuple(further(6 + i) for i in range(count))
        cache = tmp_path / str(count)
        write_samples(cache, [*SAMPLES, replace(make_sample("several", 5), further=others)])
        config = mini_run.config(tmp_path, Path("unused"), cache)
        made, num_references = largest_sample(config)
        assert num_references == 1 + count
        # 9 frames of 64 x 96 px are 2 latent frames of 2 x 3 tokens.
        size = ClipSize(num_frames=made.num_frames, height=made.height, width=made.width)
        assert size.num_tokens(num_references) == (2 + 1 + count) * 6


def test_sharded_processes_run_samples_of_different_lengths_alone(tmp_path: Path):
    write_samples(tmp_path, [*SAMPLES, replace(make_sample("several", 5), further=(further(6),))])
    shown = {"reference": {"p_drop": 0.0}}
    config = mini_run.config(tmp_path / "out", Path("unused"), tmp_path, **shown)
    said = r"micro_batch_size was 2 with FSDP2 and .* with 1 and 2 references; needs 1"
    with pytest.raises(ValueError, match=said):
        assemble(config, torch.device("cpu"), will_shard=True)


def test_an_item_of_a_validation_has_its_photos_in_their_slots(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, pack: Path
):
    red, blue = tmp_path / "red.png", tmp_path / "blue.png"
    for path, color in ((red, RED), (blue, BLUE)):
        write_photo(path, color)
    item = {"prompt": "two people", "photo": red, "further": [blue], "seed": 3}
    section = {"every": 1, "text_encoder": "miniature", "num_steps": 2, "width": 128}
    section["items"] = [item]
    config = mini_run.config(tmp_path, mini_checkpoint, mini_cache, validation=section)
    parts = assemble(config, torch.device("cpu"))
    groups = []
    parts.model.register_forward_pre_hook(lambda _, arguments: groups.extend(arguments[0]))
    faces = open_face_pack(pack)
    (case,) = read_cases(config.validation, MiniatureText(), faces)
    validate = Validator(
        config,
        model=parts.model,
        vae=parts.objective.encode_references.vae,
        manifest=parts.samples.cache.manifest,
        empty_context=parts.objective.empty_context,
        cases=[case],
        faces=faces,
    )
    mean = validate(1)
    seen = [group[3] for group in groups if group[3] is not None]
    assert seen[0].shape[2] == 2
    for slot, path in enumerate((red, blue)):
        sides = (mini_run.SIZE_PX, 128, torch.device("cpu"))
        alone = validate.vae.encode_photos([load_photo(path)], *sides)
        torch.testing.assert_close(seen[0][:, :, slot : slot + 1], alone, rtol=1e-4, atol=1e-5)
    clip = validate.decode(validate.sample(case))
    frames = clip[spread(len(clip), NUM_SCORED_FRAMES)]
    best = []
    for e_ref in case.e_refs:
        found = [here for here in find_padding(frames, faces) if here]
        likeness = [max(float(each.embedding @ e_ref) for each in here) for here in found]
        best.append(np.mean([max(0.0, each) for each in likeness]) if likeness else 0.0)
    assert mean == pytest.approx(np.mean(best), abs=1e-5)
    (entry,) = read_lines(tmp_path / "validation.jsonl")
    assert entry["items"][0]["further"] == [str(blue)]
    with Image.open(tmp_path / "validation" / "step_00000001" / "sheet.png") as sheet:
        tiles = np.asarray(sheet.convert("RGB")).astype(int)
    # A line of a label, then six tiles: red and blue patches first.
    middles = [tiles[14 + 40, round((i + 0.5) * tiles.shape[1] / 6)] for i in range(2)]
    assert [int(middle.argmax()) for middle in middles] == [0, 2]
