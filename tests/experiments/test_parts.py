"""Tiny runs of the parts on the shipped weights: what they write, keep, and make anew."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from helpers.tiny_build import measure
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stdrc_core.experiments import sweeps
from stdrc_core.experiments.__main__ import main
from stdrc_core.experiments.arguments import PARTS
from stdrc_core.experiments.best_of_n import NUM_CANDIDATES, row_name
from stdrc_core.experiments.drift import PHOTO, START, WITH, WITHOUT, frame_curves, summarize
from stdrc_core.experiments.photos import draw_albums, score_albums
from stdrc_core.experiments.run import open_part
from stdrc_core.experiments.scores import draw_cases
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.mini.shipped import CHECKPOINT_NAME, FACES

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


def pieces(out: Path) -> dict[str, int]:
    """When each kept piece was written."""
    return {str(path): path.stat().st_mtime_ns for path in sorted(out.glob("kept/*/*.json"))}


def test_every_part_has_a_module_and_pictures_of_its_own():
    parts = [open_part(name) for name in PARTS]
    assert [part.name for part in parts] == list(PARTS)
    pictures = [name for part in parts for name in part.pictures]
    assert len(pictures) == len(set(pictures))


def test_a_part_is_kept_until_its_weights_or_settings_change(
    build: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeps, "SWEPT", (0.0, 4.0))
    own = tmp_path / "build"
    shutil.copytree(build, own)
    numbers = measure(own, out, "sweeps")["sweeps"]
    assert set(numbers) == {"command", "commit", "machine", "asked", "files", "results"}
    assert set(numbers["files"]) == {
        *(CHECKPOINT_NAME, "faces/det_mini.onnx", "faces/rec_mini.onnx", "reader.pt"),
    }
    assert numbers["command"].endswith("--second-steps 1 --drift-frames 33")
    points = numbers["results"]["sweeps"]
    assert [point["scale"] for point in points["text_scale"]] == [0, 4]
    before = pieces(out)
    assert len(before) == 4

    # The same again measures nothing, and neither do pieces of numbers that are lost.
    (out / "numbers" / "sweeps.json").unlink()
    assert measure(own, out, "sweeps")["sweeps"] == numbers
    assert pieces(out) == before
    # Settings of other parts do not count.
    measure(own, out, "sweeps", num_pairs=3)
    assert pieces(out) == before

    _change(own / CHECKPOINT_NAME)
    changed = measure(own, out, "sweeps")["sweeps"]
    assert changed["files"][CHECKPOINT_NAME] != numbers["files"][CHECKPOINT_NAME]
    after = pieces(out)
    assert after.keys() == before.keys()
    assert all(after[name] != before[name] for name in before)


def _change(path: Path) -> None:
    """Moves one weight of a file, whose metadata stay."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1e-2
    save_file(tensors, path, metadata)


def test_photos_and_two_people_and_long_clips_are_measured_and_drawn(build: Path, out: Path):
    numbers = measure(build, out, "photos", "two-people", "drift")
    rows = numbers["photos"]["results"]["rows"]
    assert list(rows) == ["1", "2", "3", "4"]
    true = numbers["photos"]["results"]["true clips"]
    assert true["gallery"]["mean"] > 0.7
    rows = numbers["two-people"]["results"]["rows"]
    assert rows["true clips"]["left_first"]["mean"] > 0.6
    ways = numbers["drift"]["results"]["ways"]
    assert ways[WITH][PHOTO]["cosine"]["mean"] > ways[WITHOUT][PHOTO]["cosine"]["mean"]
    # Five stretches of eight frames hold 33.
    assert [point["frame"] for point in ways[WITH][PHOTO]["curve"]] == [3.5, 11.5, 19.5, 27.5, 32]
    for part in ("photos", "two-people", "drift"):
        for name in open_part(part).pictures:
            with Image.open(out / "pictures" / name) as picture:
                expected = "JPEG" if name.endswith(".jpg") else "PNG"
                assert picture.format == expected
    page = (out / "miniature.md").read_text(encoding="utf-8")
    assert page.count("This has not been measured with these weights yet.") == 6


def test_staged_and_direct_clips_are_measured(build: Path, out: Path):
    results = measure(build, out, "staged")["staged"]["results"]
    assert len(results["rows"]) == 2 * len(NUM_CANDIDATES) + 2
    direct = [
        results["rows"][row_name("direct", count)]["facesim"]["mean"] for count in NUM_CANDIDATES
    ]
    assert direct == sorted(direct)
    # One more stage is more time, one frame is less than a clip.
    time = {name: row["time_s"]["mean"] for name, row in results["rows"].items()}
    assert time["staged, best of 8"] < time["direct, best of 8"]
    assert (out / "pictures" / "staged.png").stat().st_size > 10_000


def test_a_perfect_generator_neither_drifts_nor_leaves_its_photos():
    faces = open_face_pack(FACES)
    albums = draw_albums(3, seed=3)
    for album, score in zip(
        albums, score_albums([each.true_clip() for each in albums], albums, faces), strict=True
    ):
        assert len(album.given) == len(album.others) == 4
        assert min(score.gallery, score.first) > 0.6
    strangers = score_albums([albums[1].true_clip()], albums[:1], faces)
    assert strangers[0].gallery < 0.4
    (case,) = draw_cases(1, seed=3)
    curves = frame_curves(case.true_clip(), case, faces)
    assert min(curves[PHOTO]) > 0.6
    assert min(curves[START]) > 0.8


def test_slopes_are_those_of_straight_lines():
    falling = [0.9 - 0.001 * frame for frame in range(241)]
    steady = [0.5] * 241
    bent = [0.9 - 0.002 * frame for frame in range(241)]
    curves = {
        WITH: {PHOTO: [falling, falling, bent, bent], START: [steady] * 4},
        WITHOUT: {PHOTO: [steady] * 4, START: [falling, falling, bent, bent]},
    }
    results = summarize(curves)
    slope = results["ways"][WITH][PHOTO]["slope"]
    # -0.1, -0.1, -0.2 and -0.2 over 100 frames.
    assert (slope["mean"], slope["standard_error"]) == pytest.approx((-0.15, 0.05 / math.sqrt(3)))
    assert slope["direction"] == "below"
    assert results["ways"][WITH][START]["slope"]["direction"] == "not told apart"
    assert results["difference"][START]["mean"] == pytest.approx(0.15)
    assert results["difference"][START]["direction"] == "above"
    # Of two persons the error is known so badly that three errors tell nothing.
    two = {
        way: {against: values[1:3] for against, values in own.items()}
        for way, own in curves.items()
    }
    assert summarize(two)["ways"][WITH][PHOTO]["slope"]["direction"] == "not told apart"
    # The clip's start is like itself and does not count: the mean is of frames 17 to 240.
    assert results["ways"][WITHOUT][START]["cosine"]["mean"] == pytest.approx(
        (0.9 - 0.001 * 128.5 + 0.9 - 0.002 * 128.5) / 2
    )


def test_the_reader_that_another_process_wrote_first_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from stdrc_core.experiments import models
    from stdrc_core.experiments.reader import CaptionReader

    path = tmp_path / "reader.pt"

    def train(**_) -> CaptionReader:
        torch.manual_seed(1)
        torch.save(CaptionReader().state_dict(), path)
        torch.manual_seed(2)
        return CaptionReader()

    monkeypatch.setattr(models, "train_reader", train)
    own, stored = models.open_reader(path, 0).state_dict(), torch.load(path)
    assert all(torch.equal(own[name], stored[name]) for name in stored)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--num-persons", "1"], "num-persons was 1; needs 2 or more"),
        (["--drift-frames", "40"], "drift-frames was 40; needs 8n + 1"),
        (["--training-steps", "0"], "training-steps was 0; needs 1 or more"),
        (["--only", "sweeps"], "build was left out"),
        (["--build", "nowhere", "--only", "drift"], "has no stdrc_mini.safetensors"),
        (["--only", "page"], "has no build.json"),
        (["--only", "walk"], "invalid choice: 'walk'"),
    ],
)
def test_what_cannot_be_measured_is_told(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as stopped:
        main(["--out", str(tmp_path / "new"), *words])
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_page_alone_needs_no_build(build: Path, out: Path):
    numbers = out / "numbers"
    numbers.mkdir()
    files = {CHECKPOINT_NAME: {"bytes": 12_900_000, "sha256": "0"}}
    told = dict.fromkeys(("command", "build_command"), "python -m stdrc_core.experiments")
    told |= {"report": {}, "files": files}
    (numbers / "build.json").write_text(json.dumps(told))
    main(["--out", str(out), "--only", "page"])
    assert "12.9 MB" in (out / "miniature.md").read_text(encoding="utf-8")
