"""FaceSim with several photos of a person, and drift, through the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.drawn_persons import DrawnPersons, Evaluate
from helpers.json_lines import write_json_lines
from PIL import Image

from stdrc_core.evaluate.__main__ import main
from stdrc_core.evaluate.results import Store


def in_other_light(world: DrawnPersons, tmp_path: Path) -> list[str]:
    """The first person's photo, and two others of it."""
    photo = Image.open(world.folder / "0.png").convert("RGB")
    dim = tmp_path / "dim.png"
    photo.point(lambda level: int(level * 0.7)).save(dim)
    turned = tmp_path / "turned.png"
    photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(turned)
    return [str(world.folder / "0.png"), str(dim), str(turned)]


def run(world: DrawnPersons, tmp_path: Path, pairs: list[dict], **changes: str) -> dict:
    tmp_path.mkdir(exist_ok=True)
    path = write_json_lines(tmp_path / "pairs.jsonl", pairs)
    main(world.arguments(tmp_path / "out", pairs=path, metrics=["facesim_arc"], **changes))
    return json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_mean_and_nearest_are_of_the_scores_with_each_photo(world: DrawnPersons, tmp_path: Path):
    photos = in_other_light(world, tmp_path)
    names = [f"{i}.mp4" for i in range(len(photos))]
    for name in names:
        (tmp_path / name).symlink_to(world.folder / "0_0.mp4")
    (tmp_path / "all.mp4").symlink_to(world.folder / "0_0.mp4")
    apart = [{"video": n, "reference": p} for n, p in zip(names, photos, strict=True)]
    pairs = [*apart, {"video": "all.mp4", "reference": photos}]
    results = run(world, tmp_path, pairs, videos=tmp_path)["results"]
    *each, mean = (np.array(r["scores"]["facesim_arc"]["curve"]) for r in results)
    embeddings = torch.stack(
        [Store(out=tmp_path / "out").read_faces(name)[0] for name in names]
    ).double()
    length = float(embeddings.sum(dim=0).norm())
    assert mean == pytest.approx(sum(each) / length, abs=1e-5)
    assert "FaceSim of 1 clips is with several photos of the person, by their mean" in (
        (tmp_path / "out" / "metrics.md").read_text()
    )
    # Another rule scores anew the clips that it is for, and no others.
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "clips").glob("*.json")}
    report = run(world, tmp_path, pairs, videos=tmp_path, gallery="nearest")
    after = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out" / "clips").glob("*.json")}
    assert {name for name in after if after[name] != before[name]} == {"all.mp4.json"}
    nearest = report["results"][-1]["scores"]["facesim_arc"]["curve"]
    assert nearest == pytest.approx(np.max(each, axis=0), abs=1e-6)
    assert report["results"][-1]["asked"]["gallery"] == "nearest"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "by the nearest photo of each frame" in page


def test_a_list_of_one_photo_is_the_published_protocol(
    world: DrawnPersons, tmp_path: Path, evaluated: Path
):
    pair = {**world.pairs[0], "reference": [str(world.folder / world.pairs[0]["reference"])]}
    (result,) = run(world, tmp_path, [pair])["results"]
    before = json.loads((evaluated / "metrics.json").read_text())["results"][0]
    assert result["scores"]["facesim_arc"] == before["scores"]["facesim_arc"]
    assert result["asked"] == before["asked"]


def test_lines_of_a_training_manifest_are_pairs_where_they_are_of_one_person(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos = in_other_light(world, tmp_path)
    line = {"video": "0_0.mp4", "caption": "a person", "identity": "p1"}
    line |= {"origins": [None] * 3, "shot": ["film", 0, 2]}
    by_manifest, by_pairs = (
        run(world, tmp_path / name, [{**line, name: photos}])
        for name in ("references", "reference")
    )
    scores = [report["results"][0]["scores"] for report in (by_manifest, by_pairs)]
    assert scores[0] == scores[1]
    two = {"video": "0_0.mp4", "caption": "x", "references": photos[:2], "persons": ["p1", "p2"]}
    with pytest.raises(SystemExit):
        run(world, tmp_path / "two", [two])
    assert "persons was ['p1', 'p2'], and FaceSim is of one person" in capsys.readouterr().err


def test_photos_of_two_persons_are_told_with_their_cosine(world: DrawnPersons, tmp_path: Path):
    """Of all pairs of the drawn persons, one is less alike than photos of one person may be."""
    pairs = [
        {
            "video": f"{i}_0.mp4",
            "reference": [str(world.folder / f"{i}.png"), str(world.folder / f"{(i + 1) % 6}.png")],
        }
        for i in range(6)
    ]
    results = run(world, tmp_path, pairs)["results"]
    problems = [r["problems"]["facesim_arc"] for r in results if r["problems"]]
    assert problems
    for said in problems:
        assert "seem to show two persons, as their faces' cosine is" in said
        assert said.count(".png") == 2 and "take one of them out" in said


def test_a_photo_that_is_named_twice_is_refused(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pair = {"video": "0_0.mp4", "reference": [str(world.folder / "0.png")] * 2}
    with pytest.raises(SystemExit):
        run(world, tmp_path, [pair])
    assert "names a reference twice; needs each photo once" in capsys.readouterr().err


def test_drift_stands_in_every_report(
    world: DrawnPersons, evaluated: Path, tmp_path: Path, evaluate: Evaluate
):
    report = json.loads((evaluated / "metrics.json").read_text())
    slopes = []
    for result in report["results"]:
        score = result["scores"]["facesim_arc"]
        (slope, _), covariance = np.polyfit(score["frames"], score["curve"], 1, cov=True)
        assert score["drift"]["slope"] == pytest.approx(100 * slope, abs=1e-6)
        assert score["drift"]["error"] == pytest.approx(100 * covariance[0, 0] ** 0.5, abs=1e-6)
        slopes.append(100 * slope)
    assert report["drift"]["mean"] == pytest.approx(np.mean(slopes), abs=1e-6)
    assert (report["drift"]["num_clips"], report["drift"]["num_persons"]) == (12, 6)
    shown = f"over 100 frames: {np.mean(slopes):+.3f} ± {report['drift']['standard_error']:.3f}"
    assert shown in (evaluated / "metrics.md").read_text()
    assert "drift over 100 frames" in (evaluated / "report.html").read_text()
    with (evaluated / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["drift"]) for line in lines] == pytest.approx(slopes, abs=1e-6)
