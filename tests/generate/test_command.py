"""`python -m stdrc_core.generate` on random weights: its files, batches, mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.clips import decode, frame_rate
from helpers.drawn_persons import read_picture
from helpers.generate_command import words
from helpers.json_lines import write_json_lines
from PIL import Image

from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.similarity import largest_embeddings
from stdrc_core.generate import models
from stdrc_core.generate.__main__ import main, make_parser
from stdrc_core.generate.jobs import read_jobs
from stdrc_core.generate.run import run
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.method.guidance import REFERENCE_SCALE
from stdrc_core.method.guidance_curve import CurveShape, GuidanceCurve
from stdrc_core.method.guidance_options import PRESETS
from stdrc_core.mini.shipped import FACES

NOTHING_SAID = LayoutChoice().decide([], {})


def test_a_clip_its_sheet_its_curve_and_what_was_asked(
    tmp_path: Path, mini_checkpoint: Path, photo: Path
):
    asked = ["--reference", photo, "--prompt", "a person", "--seed", "3", "--fps", "12"]
    main(words(mini_checkpoint, tmp_path, *asked))
    assert {path.name for path in tmp_path.iterdir()} == {
        f"person_3.{end}" for end in ("mp4", "sheet.png", "similarity.png", "json")
    }
    clip = decode(tmp_path / "person_3.mp4")
    assert clip.shape == (9, 64, 96, 3)
    assert frame_rate(tmp_path / "person_3.mp4") == 12
    result = json.loads((tmp_path / "person_3.json").read_text())
    assert result["asked"]["seed"] == 3
    assert len(result["similarity"]) == 9
    # The first tile is the photo in the clip's frame: padded at the sides, unlike a clip of noise.
    tile = read_picture(tmp_path / "person_3.sheet.png")[-160:, :240].astype(float)
    assert tile[:, :35].max() == 0
    assert tile[:, 120].std() > 20


def test_likeness_is_measured_on_the_clip_and_the_photo_itself_is_like_itself(photo: Path):
    faces = open_face_pack(FACES)
    pixels = torch.from_numpy(read_picture(photo).copy())[None]
    (embedding,) = largest_embeddings(pixels, faces)
    assert float(embedding @ embedding) == pytest.approx(1, abs=1e-5)
    assert largest_embeddings(torch.zeros_like(pixels), faces) == [None]


def test_a_batch_goes_on_and_makes_again_what_was_asked_otherwise(
    tmp_path: Path, mini_checkpoint: Path, photo: Path
):
    lines = [
        {"reference": photo.name, "prompt": "a person", "name": "one"},
        {"reference": photo.name, "prompt": "a person", "seed": 7, "num_frames": 17},
    ]
    batch = write_json_lines(photo.parent / "jobs.jsonl", lines[:1])
    command = words(mini_checkpoint, tmp_path, "--batch", batch)
    main(command)
    first = (tmp_path / "one.json").stat().st_mtime_ns
    batch.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    main(command)
    assert (tmp_path / "one.json").stat().st_mtime_ns == first
    assert len(decode(tmp_path / "person_7.mp4")) == 17
    main([*command, "--reference-scale", "2"])
    assert (tmp_path / "one.json").stat().st_mtime_ns > first
    asked = json.loads((tmp_path / "one.json").read_text())["asked"]
    assert asked["reference_scale"] == 2


def test_a_seed_is_a_clip_and_the_photo_counts(tmp_path: Path, mini_checkpoint: Path, photo: Path):
    upside_down = tmp_path / "other.png"
    Image.open(photo).rotate(180).save(upside_down)
    clips = {}
    for name, reference, seed in (
        ("first", photo, 0),
        ("again", photo, 0),
        ("seed", photo, 1),
        ("photo", upside_down, 0),
    ):
        asked = ["--reference", reference, "--prompt", "a", "--seed", str(seed), "--name", name]
        (path,) = run(make_parser().parse_args(words(mini_checkpoint, tmp_path / "out", *asked)))
        clips[name] = decode(path)
    assert (clips["first"] == clips["again"]).all()
    assert (clips["first"] != clips["seed"]).mean() > 0.1
    assert (clips["first"] != clips["photo"]).mean() > 0.01


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--prompt", "a"], "reference and prompt are needed"),
        (["--reference", "gone.png", "--prompt", "a"], "gone.png could not be read"),
        (
            ["--reference", "PHOTO", "--prompt", "a", "--frames", "10"],
            "num_frames was 10; needs",
        ),
        (["--reference", "PHOTO", "--prompt", "a", "--width", "50"], "width was 50; needs a mult"),
        (["--reference", "PHOTO", "--prompt", "a", "--fps", "0"], "fps was 0.0; needs a frame"),
        (["--reference", "PHOTO", "--prompt", "a", "--steps", "0"], "num_steps was 0"),
        (["--reference", "PHOTO", "--prompt", "a", "--offload"], "it needs a GPU"),
        (["--reference", "PHOTO", "--prompt", "a", "--lora", "gone.st"], "gone.st could not be"),
        (["--reference", "PHOTO", "--prompt", "a", "--device", "tpu9"], "device was 'tpu9'"),
        (["--reference", "PHOTO", "--prompt", "a", "--text-device", "tpu9"], "device was 'tpu9'"),
        (["--batch", "gone.jsonl"], "gone.jsonl could not be read"),
        (["--reference", "PHOTO", "--prompt", "a", "--text-scale", "much"], "scale was 'much'"),
        (["--reference", "PHOTO", "--prompt", "a", "--reference-every", "0"], "_every was 0"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(
    tmp_path: Path,
    mini_checkpoint: Path,
    photo: Path,
    more: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
):
    more = [str(photo) if word == "PHOTO" else word for word in more]
    with pytest.raises(SystemExit) as stopped:
        main(words(mini_checkpoint, tmp_path / "out", *more))
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("python -m stdrc_core.generate: ")
    assert says in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "text_device"),
    [
        (["--device", "cuda:1"], "cuda:1"),
        (["--device", "cuda:1", "--offload"], "cpu"),
        (["--device", "cuda:1", "--offload", "--text-device", "cuda:1"], "cuda:1"),
        (["--device", "cuda:1", "--text-device", "cpu"], "cpu"),
        (["--device", "cpu"], "cpu"),
    ],
)
def test_the_text_encoder_is_on_the_cpu_where_the_transformer_is_offloaded(
    flags: list[str], text_device: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(models, "open_device", torch.device)
    device, own = models.open_devices(make_parser().parse_args(flags))
    assert str(device) == flags[1]
    assert str(own) == text_device


def test_the_text_encoder_is_opened_on_its_own_device(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
):
    opened = []

    def open_text_encoder(name: str, checkpoint: Path, device: torch.device, *_: object) -> None:
        opened.append(device)
        raise ValueError("seen")

    monkeypatch.setattr("stdrc_core.generate.run.open_text_encoder", open_text_encoder)
    asked = ["--reference", photo, "--prompt", "a", "--text-device", "meta"]
    with pytest.raises(ValueError, match="seen"):
        run(make_parser().parse_args(words(mini_checkpoint, tmp_path, *asked)))
    assert opened == [torch.device("meta")]


def test_a_folder_that_cannot_be_written_is_one_sentence(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stopped:
        main(words(mini_checkpoint, tmp_path / "file", "--reference", photo, "--prompt", "a"))
    assert stopped.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("python -m stdrc_core.generate: ") and str(tmp_path / "file") in said


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("", "has no clips"),
        ('{"prompt": "a"}', "line 1 could not be used ('reference')"),
        ("{", "line 1 could not be used"),
        ('{"reference": "p.png", "prompt": "a", "sead": 3}', "sead"),
        ('{"reference": "p.png", "prompt": "a"}\n' * 2, "two clips named p_0"),
    ],
)
def test_a_batch_that_cannot_be_used_is_told(
    tmp_path: Path, mini_checkpoint: Path, lines: str, says: str
):
    (tmp_path / "jobs.jsonl").write_text(lines)
    command = words(mini_checkpoint, tmp_path / "out", "--batch", tmp_path / "jobs.jsonl")
    with pytest.raises(ValueError, match=r"batch .*jobs\.jsonl") as raised:
        run(make_parser().parse_args(command))
    assert says in str(raised.value)


def test_guidance_over_time_on_the_command_line_and_in_a_batch(tmp_path: Path):
    curve = GuidanceCurve(start=5, end=1, shape=CurveShape.COSINE)
    asked = ["--text-scale", "5:1:cosine", "--reference-every", "3", "--guidance-rescale", "0.7"]
    alone = ["--reference", "a.png", "--prompt", "a person"]
    (job,) = read_jobs(
        make_parser().parse_args([*asked, *alone, "--end-percent", "0.6"]), NOTHING_SAID
    )
    options = job.shot.guidance
    assert (options.text_scale, options.reference_scale) == (curve, REFERENCE_SCALE)
    assert (options.reference_every, options.guidance_rescale, options.end_percent) == (3, 0.7, 0.6)
    # What was asked comes back from its file as it was: a batch goes on by it.
    assert json.loads(json.dumps(job.asked())) == job.asked()
    fast = PRESETS["fast"]
    (job,) = read_jobs(make_parser().parse_args(["--preset", "fast", *alone]), NOTHING_SAID)
    assert {name: getattr(job.shot.guidance, name) for name in fast} == fast
    by_hand = ["--preset", "fast", "--guided-share", "1", *alone]
    (job,) = read_jobs(make_parser().parse_args(by_hand), NOTHING_SAID)
    options = job.shot.guidance
    assert (options.guided_share, options.reference_every) == (1, fast["reference_every"])
    line = {"reference": "a.png", "prompt": "a person", "reference_scale": "7:2"}
    (tmp_path / "jobs.jsonl").write_text(json.dumps(line | {"reference_every": 2}))
    batch = ["--batch", str(tmp_path / "jobs.jsonl")]
    (job,) = read_jobs(make_parser().parse_args([*asked, *batch]), NOTHING_SAID)
    assert (job.shot.guidance.text_scale, job.shot.guidance.reference_every) == (curve, 2)
    assert job.shot.guidance.reference_scale == GuidanceCurve(start=7, end=2)
