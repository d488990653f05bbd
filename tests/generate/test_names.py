"""Names of photos as people have them: drawn as they are, and no clip is made for nothing."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.generate_command import words
from matplotlib.figure import Figure
from PIL import Image

from stdrc_core.generate import results
from stdrc_core.generate import run as command
from stdrc_core.generate.__main__ import main
from stdrc_core.generate.arguments import make_parser
from stdrc_core.generate.jobs import Job, read_jobs
from stdrc_core.generate.likeness_plot import plot_over_time
from stdrc_core.ltx.reference_layout import LayoutChoice
from stdrc_core.video import contact_sheet, read_frames, write_clip

# Those of the issue, and others that a shell, a plot, a page or a file system reads otherwise.
NAMES = {
    "a$$.png": "an empty formula",
    "50% off {x} [1].png": "percent, braces and a pattern of glob",
    "$\\frac{a}$.png": "a broken formula",
    "$x$.png": "a sound formula",
    "_ann.png": "matplotlib leaves such labels out of a legend",
    "a<b>&\"c'.png": "HTML",
    "line\nend.png": "an end of a line",
    "tab\tand\x07bell.png": "control characters",
    "慢慢点头.png": "characters that the font lacks",
    "🙂🧑‍🚀.png": "emoji",
    "x" * 240 + ".png": "as long as a file system takes",
    "名" * 80 + ".png": "as long in bytes",
    "ends in a dot..png": "a dot before the ending",
    "ends in a space .png": "a space before the ending",
    " begins with a space.png": "a space in front",
    "-n.png": "looks like a flag",
    "%s%d%(name)s.png": "a field of the log",
    "12:30.png": "FFmpeg reads it as an address",
    "a|b.png": "ends a cell in Markdown",
    "\udce9t\udce9.png": "a name in Latin-1, which is no UTF-8",
    "e\u0301 \u202egnp.png": "a combining accent, and a mark of right to left",
}


def letters(text: str) -> list[str]:
    return [each for each in text if each.isalnum()]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def job_of(folder: Path, *photos: str) -> Job:
    given = words(folder / "none", folder, "--prompt", "a person")
    given += [f"--reference={photos[0]}"] if len(photos) == 1 else ["--reference", *photos]
    (job,) = read_jobs(make_parser().parse_args(given), LayoutChoice().decide([], {}))
    return job


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_drawn_as_it_is(tmp_path: Path, drawn: list[Figure], name: str):
    job = job_of(tmp_path, str(tmp_path / name), str(tmp_path / "b$$.png"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_over_time(tmp_path / "plot.png", [[0.5, None, 0.7], [0.1, 0.2, 0.3]], job)
    (figure,) = drawn
    (axes,) = figure.axes
    texts = [axes.title, *axes.get_legend().get_texts()]
    assert not any(text.get_parse_math() for text in texts)
    assert len(texts) == 3
    shown = texts[1].get_text()
    assert "\n" not in shown and "\t" not in shown
    assert letters(shown)[:20] == letters(name)[:20]
    Image.open(tmp_path / "plot.png").load()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_the_clips_own_name_is_one_that_can_be_written(tmp_path: Path, name: str):
    job = job_of(tmp_path, str(tmp_path / name))
    results.check_place(tmp_path, job)
    frames = torch.full((9, 32, 32, 3), 90, dtype=torch.uint8)
    path = write_clip(job.file(tmp_path, "mp4"), frames, 24)
    assert len(read_frames(path, [0.0])) == 1
    sheet = contact_sheet(job.file(tmp_path, "sheet.png"), [frames], labels=[name])
    # A label is one line: what is below it are the frames.
    below = torch.frombuffer(
        bytearray(Image.open(sheet).convert("RGB").tobytes()), dtype=torch.uint8
    )
    assert (below.view(174, -1, 3)[16:] == 90).all()
    results.write_json(job.file(tmp_path, "json"), {"asked": job.asked()})
    assert results.is_done(tmp_path, job)


def test_a_clip_in_the_current_folder_is_no_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    frames = torch.full((9, 32, 32, 3), 90, dtype=torch.uint8)
    for name in ("12:30.mp4", "http:.mp4", "concat:a|b.mp4", "-y.mp4"):
        assert len(read_frames(write_clip(name, frames, 24), [0.0])) == 1


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts of the clips that are sampled; what they show is a photo, over and over."""
    made: list[str] = []

    class Sampler:
        def many(self, photos: list, context: Any, shot: Any, *_: Any, **__: Any) -> list:
            made.append("clip")
            photo = photos[0][0].movedim(-1, 1)
            size = (shot.height, shot.width)
            frame = torch.nn.functional.interpolate(photo, size).movedim(1, -1)
            return [frame.expand(shot.num_frames, -1, -1, -1)]

    monkeypatch.setattr(command, "load_pipeline", lambda *_: Sampler())
    return made


@pytest.mark.parametrize("name", ["a$$.png", "_50% {x} [1].png", "\udce9 🙂\n.png"], ids=ascii)
def test_the_command_takes_the_name(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, name: str, sampled: list[str], recwarn: Any
):
    folder = tmp_path / "in [1] $$"
    folder.mkdir()
    shutil.copy(photo, folder / name)
    given = words(mini_checkpoint, tmp_path / "out [x]", "--prompt", "$ 50% {a} <b>")
    given.append(f"--reference={folder / name}")
    main(given)
    main(given)
    assert len(sampled) == 1
    (made,) = (tmp_path / "out [x]").glob("*_0.json")
    result = json.loads(made.read_text())
    assert "problems" not in result
    assert result["asked"]["reference"] == str(folder / name)
    assert len(list((tmp_path / "out [x]").iterdir())) == 4
    assert not [each for each in recwarn if "Glyph" in str(each.message)]


def broken(*_: Any, **__: Any) -> None:
    raise RuntimeError("no room on the plot")


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


AFTER_THE_CLIP: dict[str, tuple[str, Callable, str]] = {
    "the plot": ("plot_over_time", broken, "person_0.similarity.png"),
    "the similarity": ("_likeness", broken, "FaceSim"),
    "the score": ("facesim", full, "FaceSim"),
    "the contact sheet": ("contact_sheet", full, "person_0.sheet.png"),
}


@pytest.mark.parametrize("name", AFTER_THE_CLIP)
def test_a_clip_that_is_made_stays_made(
    tmp_path: Path,
    mini_checkpoint: Path,
    photo: Path,
    sampled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
):
    step, fails, what = AFTER_THE_CLIP[name]
    given = words(mini_checkpoint, tmp_path, "--reference", photo, "--prompt", "a")
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(results, step, fails)
        main(given)
    assert f"person_0.mp4 is made, but {what} could not be" in caplog.text
    result = json.loads((tmp_path / "person_0.json").read_text())
    assert list(result["problems"]) == [what]
    before = (tmp_path / "person_0.mp4").stat().st_mtime_ns
    caplog.clear()
    main(given)
    assert len(sampled) == 1
    assert (tmp_path / "person_0.mp4").stat().st_mtime_ns == before
    assert f"but {what} could not be made" in caplog.text and "delete person_0.json" in caplog.text


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_clip_stays_made_when_its_end_is_not_written(
    tmp_path: Path,
    mini_checkpoint: Path,
    photo: Path,
    sampled: list[str],
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
):
    given = words(mini_checkpoint, tmp_path, "--reference", photo, "--prompt", "a")
    write, times = results.write_json, []

    def write_once(path: Path, value: Any) -> None:
        times.append(path)
        if len(times) > 1:
            raise failure
        write(path, value)

    with monkeypatch.context() as patched:
        patched.setattr(results, "write_json", write_once)
        with pytest.raises((SystemExit, KeyboardInterrupt)):
            main(given)
    main(given)
    assert len(sampled) == 1


@pytest.mark.parametrize("content", ["{}", "[]", "no json", "\udce9"])
def test_a_file_of_anothers_is_not_written_over(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, content: str, capsys: Any
):
    (tmp_path / "person_0.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(SystemExit):
        main(words(mini_checkpoint, tmp_path, "--reference", photo, "--prompt", "a"))
    assert "person_0.json is no file that this command wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Ann", "ann"), "clips named Ann and ann, which are one name"),
        (("\u00e9", "e\u0301"), "which are one name"),
        (("a", "a"), "two clips named a;"),
        (("STRASSE", "straße"), "which are one name"),
    ],
)
def test_names_that_are_one_on_another_system(tmp_path: Path, names: tuple[str, str], says: str):
    lines = [json.dumps({"reference": "p.png", "prompt": "a", "name": name}) for name in names]
    (tmp_path / "jobs.jsonl").write_text("\n".join(lines))
    given = words(tmp_path / "none", tmp_path, "--batch", tmp_path / "jobs.jsonl")
    with pytest.raises(ValueError, match=says):
        read_jobs(make_parser().parse_args(given), LayoutChoice().decide([], {}))


@pytest.mark.parametrize("name", ["n" * 250, "a/" + "b" * 250])
def test_a_name_that_no_file_can_have_is_told_before_sampling(
    tmp_path: Path, mini_checkpoint: Path, photo: Path, sampled: list[str], name: str, capsys: Any
):
    given = words(mini_checkpoint, tmp_path, "--reference", photo, "--prompt", "a", "--name", name)
    with pytest.raises(SystemExit):
        main(given)
    assert "could not be written (File name too long)" in capsys.readouterr().err
    assert not sampled


def test_a_path_of_windows_in_a_batch_is_named(tmp_path: Path):
    (tmp_path / "jobs.jsonl").write_text(r'{"reference": "photos\\ann.png", "prompt": "a"}')
    given = words(tmp_path / "none", tmp_path, "--batch", tmp_path / "jobs.jsonl")
    with pytest.raises(ValueError, match=r"photos\\ann.png is a path of Windows; needs /"):
        read_jobs(make_parser().parse_args(given), LayoutChoice().decide([], {}))
