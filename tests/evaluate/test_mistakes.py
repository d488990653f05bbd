"""What users get wrong: one sentence that names it, status 2, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.drawn_persons import DrawnPersons
from helpers.one_sentence import refused

from stdrc_core.evaluate.__main__ import main
from stdrc_core.evaluate.metric_registry import COLUMNS


def refusal(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    return refused(capsys, main, arguments, "python -m stdrc_core.evaluate")


LINES = {
    '{"video": "0_0.mp4", "prompt"': ["line 2 of pairs", "is not JSON", "needs a line like"],
    '["0_0.mp4"]': ["line 2 of pairs", "could not be used", "needs a line like"],
    '{"prompt": "x"}': ["line 2", "video", "needs a line like"],
    '{"video": "none.mp4", "reference": "0.png"}': [
        "line 2",
        "video none.mp4, which is not in",
        "--videos",
    ],
    '{"video": "0_1.mp4", "reference": "none.png"}': ["line 2", "none.png", "needs a photo"],
    '{"video": "0_1.mp4"}': ["line 2", "has no reference", "leave those metrics out"],
    '{"video": "0_0.mp4", "reference": "0.png"}': ["line 2", "as line 1 does", "once"],
    '{"video": "../0_0.mp4", "reference": "0.png"}': ["line 2", "below the folder of videos"],
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_cannot_be_used(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
):
    good = {"video": "0_0.mp4", "reference": str(world.folder / "0.png")}
    line = line.replace('"0.png"', json.dumps(good["reference"]))
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps(good) + "\n" + line + "\n")
    out = tmp_path / "out"
    sentence = refusal(capsys, world.arguments(out, pairs=pairs))
    parts = next(parts for key, parts in LINES.items() if key.split('"reference"')[0] in line)
    parts = LINES.get(line.replace(json.dumps(good["reference"]), '"0.png"'), parts)
    for part in parts:
        assert part in sentence
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"videos": "nowhere"}, ["videos nowhere is no folder", "--videos"]),
        ({"pairs": "nowhere"}, ["pairs nowhere could not be read", "JSON lines"]),
        ({"pairs": "{tmp}/empty"}, ["empty is empty", "needs JSON lines"]),
        ({"metrics": ["fid"]}, ["metrics was 'fid'", *COLUMNS]),
        ({"faces": None}, ["facesim_arc needs an InsightFace pack", "--faces", "non-commercial"]),
        ({"faces": "nowhere"}, ["face pack nowhere is no folder"]),
        ({"frames": -1}, ["frames was '-1'", "greater than or equal to 0"]),
        ({"batch_size": 0}, ["batch_size was", "greater than or equal to 1"]),
        ({"device": "cuda:99"}, ["device was 'cuda:99'", "needs cpu"]),
        *(
            (
                {"metrics": [name], "weights": "{tmp}/weights"},
                [f"metric {name} needs", "nothing is downloaded", "https://", "leave the metric"],
            )
            for name in ("facesim_cur", "clip", "aq")
        ),
    ],
    ids=str,
)
def test_options_that_cannot_be_used(
    world: DrawnPersons,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    parts: list[str],
):
    (tmp_path / "empty").touch()
    changes = {
        name: value.format(tmp=tmp_path) if isinstance(value, str) else value
        for name, value in changes.items()
    }
    out = tmp_path / "out"
    sentence = refusal(capsys, world.arguments(out, **changes))
    for part in parts:
        assert part.replace("'-1'", "-1") in sentence
    assert not out.exists()


@pytest.mark.parametrize("name", ["iq", "dd"])
def test_a_library_that_is_not_there_is_named(
    world: DrawnPersons,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    sentence = refusal(capsys, world.arguments(tmp_path / "out", metrics=[name]))
    assert f"metric {name} needs the library" in sentence
    assert "pip install" in sentence


def test_weights_that_would_run_code_are_not_read(
    world: DrawnPersons, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    own = tmp_path / "weights"
    own.mkdir()
    name = COLUMNS["facesim_cur"].weights[0].name
    torch.save({"a": Harm()}, own / name)
    arguments = {"metrics": ["facesim_cur"], "weights": own}
    sentence = refusal(capsys, world.arguments(tmp_path / "out", **arguments))
    assert f"{name} could not be read" in sentence
    assert not (tmp_path / "harm").exists()
    torch.save({"a": torch.zeros(2)}, own / name)
    sentence = refusal(capsys, world.arguments(tmp_path / "out", **arguments))
    assert f"{name} are of another network" in sentence


def test_vbench_that_is_not_there_is_named(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    torch.save({"state_dict": {}}, tmp_path / "amt-s.pth")
    arguments = {"metrics": ["ms"], "weights": tmp_path}
    sentence = refusal(capsys, world.arguments(tmp_path / "out", **arguments))
    assert "--vbench-python is not given" in sentence
    assert "pip install vbench" in sentence
    # A Python without VBench.
    import sys

    arguments["vbench_python"] = sys.executable
    sentence = refusal(capsys, world.arguments(tmp_path / "out", **arguments))
    assert "VBench could not be run (ModuleNotFoundError" in sentence


def test_other_settings_do_not_go_on_with_a_folder(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    pairs = world.write_pairs(tmp_path / "one.jsonl", world.pairs[:1])
    main(world.arguments(out, pairs=pairs))
    pairs = world.write_pairs(tmp_path / "two.jsonl", world.pairs[:2])
    sentence = refusal(capsys, world.arguments(out, pairs=pairs, frames=8))
    assert "holds scores of facesim_arc made with other frames" in sentence
    assert "choose another --out" in sentence
    # Also where all is scored.
    pairs = world.write_pairs(tmp_path / "one.jsonl", world.pairs[:1])
    assert "other frames" in refusal(capsys, world.arguments(out, pairs=pairs, frames=8))


def test_a_photo_without_a_face_is_told_and_the_rest_is_scored(world: DrawnPersons, tmp_path: Path):
    from PIL import Image

    Image.new("RGB", (128, 128), (90, 90, 90)).save(tmp_path / "wall.png")
    pair = {"video": "0_0.mp4", "reference": str(tmp_path / "wall.png")}
    pairs = world.write_pairs(tmp_path / "p.jsonl", [pair])
    main(world.arguments(tmp_path / "out", pairs=pairs))
    (result,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"]
    assert "wall.png shows no face that faces finds" in result["problems"]["facesim_arc"]
    assert result["scores"].keys() == {"tic"}


def test_comparing_what_is_no_evaluation(
    evaluated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    sentence = refusal(
        capsys, ["--compare", str(evaluated), str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert "holds no metrics.json" in sentence
