"""Runs: resumed, shared by processes, with broken clips; frames streamed, batches shared."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from helpers import commands
from helpers.clips import decode
from helpers.drawn_persons import DrawnPersons, Evaluate
from helpers.one_sentence import refused

from stdrc_core.evaluate.__main__ import main
from stdrc_core.evaluate.frame_batches import FrameBatches
from stdrc_core.video import count_frames, stream_frames


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "clips").glob("*.json")}


def test_what_is_scored_stays_scored(world: DrawnPersons, tmp_path: Path, evaluate: Evaluate):
    first = evaluate(world.pairs[:2])
    before = stamps(tmp_path / "out")
    second = evaluate(world.pairs[:4])
    after = stamps(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert len(after) == 4
    assert second["results"][:2] == first["results"]
    # Nothing left to do: no model is needed any more.
    assert evaluate(world.pairs[:4], faces=None) == second


def test_who_is_who_may_be_told_later(world: DrawnPersons, tmp_path: Path, evaluate: Evaluate):
    """The clips of two photos, then of one person: nobody is left to be told apart."""
    pairs = [world.pairs[0], world.pairs[2]]
    assert evaluate(pairs)["verification"]["num_different"] == 2
    before = stamps(tmp_path / "out")
    told = evaluate([{**pair, "identity": "one"} for pair in pairs])
    assert told["verification"] is None
    assert stamps(tmp_path / "out") == before


def test_a_metric_is_added_to_those_that_are_there(
    world: DrawnPersons, tmp_path: Path, weights: Path, evaluate: Evaluate
):
    first = evaluate(world.pairs[:2], metrics=["tic"])
    both = evaluate(world.pairs[:2], metrics=["clip"], weights=weights, faces=None)
    assert both["metrics"].keys() == {"clip", "tic"}
    assert both["metrics"]["tic"] == first["metrics"]["tic"]


def test_a_clip_that_was_replaced_is_scored_anew(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate
):
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / "a.mp4").write_bytes((world.folder / "0_0.mp4").read_bytes())
    pair = [{"video": "a.mp4", "reference": "0.png"}]
    before = evaluate(pair, videos=videos)["metrics"]["facesim_arc"]["mean"]
    (videos / "a.mp4").write_bytes((world.folder / "3_0.mp4").read_bytes())
    after = evaluate(pair, videos=videos)["metrics"]["facesim_arc"]["mean"]
    assert after < before - 0.3


def test_one_broken_clip_does_not_end_a_run(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate
):
    videos = tmp_path / "videos"
    videos.mkdir()
    for pair in world.pairs[:2]:
        (videos / pair["video"]).symlink_to(world.folder / pair["video"])
    (videos / "letter.mp4").write_text("Dear reader")
    whole = (world.folder / "1_0.mp4").read_bytes()
    (videos / "torn.mp4").write_bytes(whole[: len(whole) // 2])
    with av.open(str(videos / "empty.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height = stream.width = 64
        container.start_encoding()
    broken = [{**world.pairs[0], "video": f"{n}.mp4"} for n in ("letter", "torn", "empty")]
    report = evaluate([broken[0], world.pairs[0], *broken[1:], world.pairs[1]], videos=videos)
    results = {result["video"]: result for result in report["results"]}
    assert report["metrics"]["facesim_arc"]["num_clips"] == 2
    for name in ("letter", "torn", "empty"):
        problems = results[f"{name}.mp4"]["problems"]
        assert problems.keys() == {"facesim_arc", "tic"}
        for sentence in problems.values():
            assert f"{name}.mp4" in sentence
            assert "needs a" in sentence
            assert "\n" not in sentence
    assert "letter.mp4" in (tmp_path / "out" / "metrics.md").read_text()
    # Mended, it is tried again, and the others are left alone.
    before = stamps(tmp_path / "out")
    (videos / "letter.mp4").write_bytes(whole)
    mended = evaluate([broken[0], world.pairs[0], world.pairs[1]], videos=videos)
    assert mended["metrics"]["facesim_arc"]["num_clips"] == 3
    after = stamps(tmp_path / "out")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"letter.mp4.json"}


def test_a_clip_that_changes_its_size_is_told(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate
):
    parts = []
    for side in (128, 96):
        part = tmp_path / f"{side}.h264"
        with av.open(str(part), "w", format="h264") as container:
            stream = container.add_stream("libx264", rate=24)
            stream.height = stream.width = side
            for _ in range(4):
                pixels = np.full((side, side, 3), 90, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        parts.append(part.read_bytes())
    (tmp_path / "both.h264").write_bytes(b"".join(parts))
    (tmp_path / "good.mp4").symlink_to(world.folder / "0_0.mp4")
    pairs = [{"video": name, "reference": "0.png"} for name in ("both.h264", "good.mp4")]
    both, good = evaluate(pairs, videos=tmp_path)["results"]
    sentence = "changes from 128 x 128 to 96 x 96 pixels at frame 4; needs one size"
    assert all(sentence in problem for problem in both["problems"].values())
    assert good["scores"].keys() == {"facesim_arc", "tic"}


def test_when_nothing_could_be_scored_that_is_an_error(
    world: DrawnPersons, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "letter.mp4").write_text("Dear reader")
    pairs = world.write_pairs(tmp_path / "p", [{"video": "letter.mp4", "reference": "0.png"}])
    arguments = world.arguments(tmp_path / "out", videos=tmp_path, pairs=pairs)
    said = refused(capsys, main, arguments, "python -m stdrc_core.evaluate")
    assert "none of the 1 clips could be scored" in said
    assert (tmp_path / "out" / "report.html").is_file()


def test_two_processes_share_the_clips(world: DrawnPersons, evaluated: Path, tmp_path: Path):
    out = tmp_path / "out"
    words = (*world.arguments(out), "--clips-at-once", 2)
    ended = commands.run("-m", "stdrc_core.evaluate", *words, num_processes=2)
    ours, expected = (json.loads((each / "metrics.json").read_text()) for each in (out, evaluated))
    assert ours == expected
    # The main process had half of the twelve clips.
    assert " 6/6 " in ended.stderr


def test_the_reports_tell_the_same(world: DrawnPersons, evaluated: Path):
    metrics = json.loads((evaluated / "metrics.json").read_text())
    with (evaluated / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["video"] for row in rows] == [pair["video"] for pair in world.pairs]
    values = [float(row["facesim_arc"]) for row in rows]
    mean = metrics["metrics"]["facesim_arc"]["mean"]
    assert sum(values) / len(values) == pytest.approx(mean)
    markdown = (evaluated / "metrics.md").read_text()
    assert f"**{mean:.3f} ± " in markdown
    # A row of docs/method.md section 6, and the columns in its order.
    assert "| ST-DRC (paper) | 0.631 | 0.671 | 33.04 | 0.576 | 0.682 | 0.992 | 0.93 |" in markdown
    assert markdown.startswith("|  | FaceSim-Arc | FaceSim-Cur | CLIP | AQ | IQ | MS | DD | TIC |")
    page = (evaluated / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 8
    assert "http" not in page.replace("http-equiv", "")


def test_frames_come_one_by_one_in_order(world: DrawnPersons):
    path = world.folder / "0_0.mp4"
    expected = decode(path)
    assert count_frames(path) == len(expected) == 17
    shown = list(stream_frames(path, {0, 5, 16}))
    assert [i for i, frame in enumerate(shown) if frame is not None] == [0, 5, 16]
    for index in (0, 5, 16):
        assert (shown[index].numpy() == expected[index]).all()


def test_a_wrong_index_in_the_file_is_found_out(
    world: DrawnPersons, tmp_path: Path, evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
):
    """As when the last packets of a file are damaged: what can be decoded counts."""
    import stdrc_core.evaluate.scoring as scoring

    right = evaluate(world.pairs[:1])["results"][0]["scores"]
    monkeypatch.setattr(scoring, "count_frames", lambda path: 23)
    wrong = evaluate(world.pairs[:1], out=tmp_path / "other")["results"][0]
    assert wrong["num_frames"] == 17
    assert wrong["scores"] == right


PEAK = """
import resource, sys
from stdrc_core.evaluate.__main__ import main
main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_long_clip_holds_memory_level(world: DrawnPersons, weights: Path, tmp_path: Path):
    """Every frame is looked at; of the long clip they are 270 MB."""

    def peak_mb(num_frames: int) -> float:
        name = f"{num_frames}.mp4"
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("libx264", rate=24)
            stream.height = stream.width = 224
            for i in range(num_frames):
                pixels = np.full((224, 224, 3), i % 256, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode())
        pairs = world.write_pairs(tmp_path / "pairs.jsonl", [{"video": name}])
        arguments = world.arguments(
            tmp_path / f"out_{num_frames}",
            **{"videos": tmp_path, "pairs": pairs, "weights": weights, "faces": None},
            metrics=["aq"],
        )
        return int(commands.run("-c", PEAK, *arguments).stdout) / 1024

    short, long = peak_mb(60), peak_mb(1800)
    assert long < short + 50


def test_frames_of_several_clips_share_a_batch():
    sizes = []

    def network(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x.flatten(1).sum(dim=1)

    batches = FrameBatches(network, 4, torch.device("cpu"))
    clips = [[], [], []]
    items = torch.arange(7.0).view(7, 1)
    for i, item in enumerate(items):
        batches.add(item, clips[i % 3])
    batches.add(torch.ones(2), clips[0])
    batches.flush()
    batches.flush()
    assert sizes == [4, 3, 1]
    assert [[float(value) for value in clip] for clip in clips] == [[0, 3, 6, 2], [1, 4], [2, 5]]
