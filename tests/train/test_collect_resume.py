"""`collect` that is killed, stopped, shared between processes, or meets what cannot be used."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import commands
from helpers.chat_server import chat_server
from helpers.collected import CONFIG, run_collect
from helpers.drawn_footage import Part, write_video
from helpers.drawn_persons import write_photo
from helpers.json_lines import read_json_lines
from helpers.one_sentence import refused

from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.mini.character import draw_numbers
from stdrc_core.mini.shipped import FACES
from stdrc_core.train.__main__ import main
from stdrc_core.train.collect import clips, cut
from stdrc_core.train.collect.chat_captioner import ChatCaptioner
from stdrc_core.train.collect.cut import Cut
from stdrc_core.train.dataset_entry import Origin, Stretch
from stdrc_core.train.stopping import Stopper

# The whole of the issue: STDRC_COLLECT_KILLS=10.
NUM_KILLS = int(os.environ.get("STDRC_COLLECT_KILLS", "2"))
ANNA, BEN = draw_numbers(2, random.Random(5), unseen=True)


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons, each in two videos, and a file that is no video."""
    folder = tmp_path_factory.mktemp("little")
    rng = random.Random(1)
    for i in range(2):
        parts = [Part(kind="good", people=(person,), seconds=1.4) for person in (ANNA, BEN)]
        write_video(folder / f"take_{i}.mp4", parts, rng, Fraction(24))
    (folder / "broken.mp4").write_bytes(b"no video" * 400)
    return folder


@pytest.fixture(scope="module")
def whole(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run makes that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "set"
    run_collect(footage, out)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def command(footage: Path, out: Path, *more: object) -> list[str]:
    words = ["collect", "--footage", footage, "--out", out, "--faces", FACES]
    words += ["--num-frames", CONFIG.num_frames, "--min-face", CONFIG.min_face_px, *more]
    return [str(word) for word in words]


def reasons(out: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in read_json_lines(out / "report.jsonl"):
        found.setdefault(line["reason"], set()).add(line["file"])
    return found


def test_each_person_has_a_clip_in_each_video_and_the_broken_file_is_named(whole: Path):
    lines = read_json_lines(whole / "manifest.jsonl")
    assert len(lines) == 4
    assert sorted(line["identity"] for line in lines) == ["p0001", "p0001", "p0002", "p0002"]
    assert reasons(whole)["unreadable"] == {"broken.mp4"}
    for line in lines:
        # What a photo is cut out of is noted, and is not the clip's own shot.
        ((footage, time_s),) = line["origins"]
        assert Path(line["reference"]).parent.name == footage
        assert not Stretch(*line["shot"]).holds(Origin(footage, time_s))
        assert Path(line["video"]).parent.name == line["shot"][0]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


class Mortal:
    """A face finder that dies the `life`-th time that it is asked."""

    def __init__(self, life: int) -> None:
        self._finder = open_onnx_pack(FACES)
        self.name, self.life = self._finder.name, life

    def find(self, frames: torch.Tensor) -> Any:
        self.life -= 1
        if self.life == 0:
            raise Killed
        return self._finder.find(frames)


@pytest.mark.parametrize("life", [2, 5, 9])
def test_a_killed_run_goes_on_to_the_same_data_set(
    life: int, footage: Path, whole: Path, tmp_path: Path
):
    out = tmp_path / "set"
    with pytest.raises(Killed):
        run_collect(footage, out, finder=Mortal(life))
    assert not (out / "manifest.jsonl").exists()
    (out / "clips").mkdir(exist_ok=True)
    (out / "clips" / ".half.mp4.0.partial").write_bytes(b"half")
    run_collect(footage, out)
    assert files(out) == files(whole)


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_sigkill_at_any_moment(seed: int, footage: Path, whole: Path, tmp_path: Path):
    """The moment is that of a random file's appearance, and a little more."""
    rng, out = random.Random(seed), tmp_path / "set"
    num_files = rng.randrange(2, len(files(whole)))
    give_up_at = time.monotonic() + 300
    process = commands.start("-m", "stdrc_core.train", *command(footage, out))
    while process.poll() is None and time.monotonic() < give_up_at:
        if sum(path.is_file() for path in out.rglob("*")) >= num_files:
            break
        time.sleep(0.01)
    time.sleep(rng.uniform(0, 0.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run_collect(footage, out)
    assert files(out) == files(whole)


def test_a_stopped_run_says_so_and_goes_on(footage: Path, whole: Path, tmp_path: Path):
    class Stopping(Mortal):
        def find(self, frames: torch.Tensor) -> Any:
            stopper.request()
            return self._finder.find(frames)

    stopper, out = Stopper(), tmp_path / "set"
    assert run_collect(footage, out, finder=Stopping(0), stopper=stopper) is None
    assert not (out / "manifest.jsonl").exists()
    run_collect(footage, out)
    assert files(out) == files(whole)


def test_several_processes_make_the_same_data_set(footage: Path, whole: Path, tmp_path: Path):
    """The other one has done its share before the first one ends."""
    out = tmp_path / "set"
    others = [
        commands.start(
            "-m", "stdrc_core.train", *command(footage, out, "--rank", rank, "--world-size", 2)
        )
        for rank in (0, 1)
    ]
    for process in others:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert files(out) == files(whole)


def test_footage_that_is_added_keeps_the_persons_ids(footage: Path, whole: Path, tmp_path: Path):
    more, out = tmp_path / "more", tmp_path / "set"
    more.mkdir()
    for path in footage.glob("take_*"):
        (more / path.name).symlink_to(path)
    run_collect(more, out)
    before = {line["video"]: line["identity"] for line in read_json_lines(out / "manifest.jsonl")}
    parts = [Part(kind="good", people=(person,), seconds=1.4) for person in (BEN, ANNA)]
    write_video(more / "a_new_one.mp4", parts, random.Random(9), Fraction(25))
    # The same file once more, and a photo of Ben.
    (more / "take_1_copy.mp4").write_bytes((footage / "take_1.mp4").read_bytes())
    write_photo(more / "ben.png", BEN)
    write_photo(more / "stranger.png", draw_numbers(9, random.Random(77), unseen=True)[8])
    run_collect(more, out)
    lines = read_json_lines(out / "manifest.jsonl")
    after = {line["video"]: line["identity"] for line in lines}
    assert len(after) == 6
    assert after.items() >= before.items()
    assert set(after.values()) == {"p0001", "p0002"}
    assert reasons(out)["same contents as another file"] == {"take_1_copy.mp4"}
    assert reasons(out)["photo not used"] == {"stranger.png"}
    of_ben = [line for line in lines if line["reference"].startswith("references/photos/")]
    assert len(of_ben) == 3
    assert len({line["identity"] for line in of_ben}) == 1


def test_what_is_excluded_is_gone_and_comes_back(footage: Path, whole: Path, tmp_path: Path):
    out = tmp_path / "set"
    run_collect(footage, out)
    first, *others = read_json_lines(out / "manifest.jsonl")
    (out / "exclude.txt").write_text(first["video"] + "\n")
    run_collect(footage, out)
    left = read_json_lines(out / "manifest.jsonl")
    # Of two clips of a person one is out, and its faces are nobody's reference.
    assert [line["video"] for line in left] == [
        line["video"] for line in others if line["identity"] != first["identity"]
    ]
    assert {"excluded by hand", "no reference from another shot"} <= reasons(out).keys()
    assert first["video"] in (out / "report.html").read_text()
    (out / "exclude.txt").unlink()
    run_collect(footage, out)
    assert files(out) == files(whole)


def test_captions_by_a_server_that_fails_now_and_then(footage: Path, tmp_path: Path):
    said = iter(["A person turns around in a bright room.", 500, "lorem", "lorem", "lorem"])
    rest = "A person walks along a striped wall."
    out = tmp_path / "set"
    config = replace(CONFIG, jobs=1)
    with chat_server(lambda _: next(said, rest)) as server:
        captioner = ChatCaptioner(server.address, "m", 5)
        run_collect(footage, out, config, captioner=captioner)
        lines = read_json_lines(out / "manifest.jsonl")
        captions = [line["caption"] for line in lines]
        assert captions == ["A person turns around in a bright room.", "", "", rest]
        (files_without,) = [
            [
                line["detail"]
                for line in read_json_lines(out / "report.jsonl")
                if line["reason"] == "no caption"
            ]
        ]
        assert "answered with 500" in files_without[0]
        assert "of no use 3 times" in files_without[1]
        asked = len(server.asked)
        run_collect(footage, out, config, captioner=captioner)
        assert len(server.asked) == asked, "nothing is asked twice"
        # A text of the user's counts whatever a captioner says.
        own = out / Path(lines[1]["video"]).with_suffix(".txt")
        own.write_text("A text of my own.\n")
        run_collect(footage, out, config, captioner=captioner, retry=True)
    captions = [line["caption"] for line in read_json_lines(out / "manifest.jsonl")]
    assert captions == ["A person turns around in a bright room.", "A text of my own.", rest, rest]
    # Without a captioner its captions stay.
    run_collect(footage, out, config)
    assert [line["caption"] for line in read_json_lines(out / "manifest.jsonl")] == captions


def test_texts_beside_the_videos(footage: Path, tmp_path: Path):
    folder = tmp_path / "told"
    folder.mkdir()
    for path in footage.glob("take_*"):
        (folder / path.name).symlink_to(path)
    (folder / "take_0.txt").write_text("People in a studio,\nfilmed from the front.\n")
    run_collect(folder, tmp_path / "set", beside_videos=True)
    captions = [line["caption"] for line in read_json_lines(tmp_path / "set" / "manifest.jsonl")]
    assert captions == ["People in a studio, filmed from the front."] * 2 + [""] * 2


resource = pytest.importorskip("resource", reason="needs limits on the size of files")


@pytest.fixture
def files_limited() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_one_sentence(footage: Path, tmp_path: Path, files_limited: None):
    with pytest.raises(OSError, match=r"could not be written .*free space: make room") as raised:
        run_collect(footage, tmp_path / "set")
    said = str(raised.value)
    assert said.count("could not be written") == 1
    assert "\n" not in said
    assert said.endswith(".")


def test_clips_that_do_not_fit_are_named_and_made_by_the_same_command(
    footage: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, full = tmp_path / "set", iter([False, True, False, True])

    def cut_on_a_full_disk(*arguments: Any) -> Cut:
        if next(full):
            raise OSError(errno.ENOSPC, "No space left on device")
        return cut.cut_clip(*arguments)

    monkeypatch.setattr(clips, "cut_clip", cut_on_a_full_disk)
    with pytest.raises(
        OSError, match=r"could not be written \(2 of 4 clips, which the report"
    ) as raised:
        run_collect(footage, out)
    assert str(raised.value).endswith("make room and give the same command again.")
    assert len(read_json_lines(out / "manifest.jsonl")) == 2
    told = [each for each in read_json_lines(out / "report.jsonl") if "written" in each["reason"]]
    assert [each["detail"] for each in told] == ["No space left on device"] * 2
    monkeypatch.undo()
    run_collect(footage, out)
    assert files(out) == files(whole)


MISTAKES = {
    "no folder": (["--footage", "{tmp}/none"], "is no folder"),
    "no video": (["--footage", "{tmp}/empty"], "holds no video"),
    "no pack": (["--faces", "{tmp}/none"], "face pack"),
    "other folder": (["--out", "{tmp}/other"], "is no data set of collect"),
    "frames": (["--num-frames", "24"], "num_frames was 24"),
    "yaw": (["--max-yaw", "99"], "max_yaw_deg was 99"),
    "captions": (["--captions", "{tmp}/none"], "captions was"),
    "timeout": (["--captions", "sidecar", "--caption-timeout", "0"], "caption_timeout was 0"),
    "persons.txt": (["--out", "{tmp}/decided"], "line 1 of"),
    "other program": (["--out", "{tmp}/program"], "is no data set of collect"),
    "rank": (["--rank", "3"], "rank was 3"),
    "retry": (["--retry", "--world-size", "2"], "retry was given to 2 processes"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_bad_input_is_one_sentence(
    name: str, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    (tmp_path / "decided").mkdir()
    (tmp_path / "decided" / "persons.txt").write_text("p1 is p2")
    (tmp_path / "decided" / "settings.json").write_text('{"face_pack": "any"}')
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "settings.json").write_text('{"volume": 11}')
    changes, words = MISTAKES[name]
    more = [word.format(tmp=tmp_path) for word in changes]
    said = refused(
        capsys,
        main,
        command(footage, tmp_path / "set", *more),
        "python -m stdrc_core.train collect",
    )
    assert words in said
    assert not (tmp_path / "set" / "manifest.jsonl").exists()


def test_footage_without_a_use_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "a.mp4").write_text("Dear reader,\n" * 99)
    said = refused(
        capsys,
        main,
        command(tmp_path / "f", tmp_path / "set"),
        "python -m stdrc_core.train collect",
    )
    assert "no clip could be made of the footage (unreadable: 1)" in said
    assert json.loads((tmp_path / "set" / "report.jsonl").read_text())["file"] == "a.mp4"
    assert os.listdir(tmp_path / "f") == ["a.mp4"]
