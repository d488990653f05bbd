"""`prepare` on clips that the test draws: what is kept, what is set aside, and that it resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from helpers.clips import encode
from helpers.drawn_faces import BLUE, GREEN, PATCH, RED, SIDE, caption, draw, write_photo
from helpers.json_lines import write_json_lines
from helpers.prepared_clips import CONFIG, reasons
from torch import Tensor

from stdrc_core.mini.config import VIDEO_DIM
from stdrc_core.mini.text import STAND_INS, MiniatureText
from stdrc_core.train import clip_stages
from stdrc_core.train import prepare as prepare_module
from stdrc_core.train.__main__ import main
from stdrc_core.train.cache import Cache, Sample
from stdrc_core.train.dataset_entry import Origin
from stdrc_core.train.prepare import Models, Reason, prepare
from stdrc_core.train.sources import read_sources
from stdrc_core.video import read_clip

GOOD = ["ann.mp4", "bob.mp4", "sub/cat.mp4", "tall.mp4"]
BAD = {
    "alone.mp4": Reason.NO_REFERENCE,
    "blank.mp4": Reason.NO_FACE,
    "cut.mp4": Reason.UNREADABLE,
    "empty.mp4": Reason.UNREADABLE,
    "letter.mp4": Reason.UNREADABLE,
    "lost.mp4": Reason.NO_REFERENCE,
    "short.mp4": Reason.TOO_SHORT,
    "stranger.mp4": Reason.OTHER_PERSON,
    "torn.mp4": Reason.UNREADABLE,
    "untold.mp4": Reason.INCOMPLETE,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of use, each of its own kind, and ten that are not."""
    root = tmp_path_factory.mktemp("clips")
    encode(root / "ann.mp4", draw(12, RED))
    write_photo(root / "ann.ref.png", RED)
    encode(root / "bob.mp4", draw(16, GREEN, size=(SIDE, 128)), Fraction(30), rotation=90)
    write_photo(root / "refs" / "bob.jpg", GREEN)
    # No photo, but more clip than the window.
    encode(root / "sub" / "cat.mp4", draw(40, BLUE, size=(SIDE, 160)), Fraction(24000, 1001))
    encode(root / "tall.mp4", draw(12, RED, size=(160, SIDE)))
    write_photo(root / "tall.ref.png", RED)
    encode(root / "alone.mp4", draw(9, RED))
    encode(root / "blank.mp4", draw(12, None))
    whole = encode(root / "cut.mp4", draw(12, RED)).read_bytes()
    (root / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (root / "empty.mp4").touch()
    (root / "letter.mp4").write_text("Dear reader,\n" * 99)
    encode(root / "lost.mp4", draw(12, RED))
    write_photo(root / "lost.ref.png", None)
    encode(root / "short.mp4", draw(5, RED))
    encode(root / "stranger.mp4", draw(12, RED))
    write_photo(root / "stranger.ref.png", GREEN)
    encode(root / "torn.mp4", draw(12, RED))
    (root / "torn.ref.png").write_bytes(b"\x89PNG\r\n and no more")
    for video in root.rglob("*.mp4"):
        caption(video, f"this is {video.stem}")
    encode(root / "untold.mp4", draw(12, RED))
    return root


@pytest.fixture(scope="session")
def whole(folder: Path, models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of one run that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole")
    prepare(read_sources(folder, window_s=CONFIG.window_s), out, CONFIG, models)
    return out


def assert_same_cache(one: Path, other: Path) -> None:
    a, b = Cache(one), Cache(other)
    assert a.ids == b.ids
    assert a.manifest == b.manifest
    assert torch.equal(a.empty_context, b.empty_context)
    for first, second in zip(a, b, strict=True):
        for field in fields(Sample):
            x, y = getattr(first, field.name), getattr(second, field.name)
            assert torch.equal(x, y) if isinstance(x, Tensor) else x == y, field.name
    assert reasons(one) == reasons(other)


def test_what_is_kept_and_what_is_set_aside(whole: Path):
    assert Cache(whole).ids == GOOD
    assert reasons(whole) == BAD


def test_a_sample_is_what_its_clip_shows(whole: Path, folder: Path, models: Models):
    cache = Cache(whole)
    made = cache.manifest
    assert (made.num_frames, made.height, made.width) == (9, SIDE, SIDE)
    cache.require(context_dim=VIDEO_DIM, latent_channels=128)
    assert torch.equal(cache.empty_context, models.text.encode("").bfloat16())
    for sample in cache:
        clip = read_clip(sample.video, num_frames=9, fps=24, height=SIDE, width=SIDE)
        pixels = clip.movedim(-1, 0)[None].float() / 127.5 - 1
        # diffusers' own encoder; the miniature's statistics are 0 and 1.
        with torch.no_grad():
            latent = models.vae.vae.encode(pixels).latent_dist.mode()[0]
        assert torch.equal(sample.latent, latent.bfloat16())
        assert sample.latent.shape == (128, 2, 3, 3)
        told = models.text.encode(f"this is {Path(sample.video).stem}")
        assert torch.equal(sample.context, told.bfloat16())
        assert sample.has_face.all()
        assert sample.boxes.shape == (9, 4)
        for frame, points in zip(clip, sample.landmarks, strict=True):
            x, y = points[2].round().long().tolist()
            assert frame[y, x].min() > 200, "the nose is in the white square"


def test_boxes_follow_the_face(whole: Path):
    ann = Cache(whole)[0]
    middle = (ann.boxes[:, 0] + ann.boxes[:, 2]) / 2
    drawn = (SIDE - PATCH) // 2 - 8 + torch.arange(9) + PATCH / 2
    assert (middle - drawn).abs().max() <= 8


def test_the_photo_is_kept_as_it_was_given(whole: Path):
    ann = Cache(whole)[0]
    assert torch.equal(ann.reference, draw(1, RED, shade=90)[0])
    assert ann.reference_source == "photo ann.ref.png"
    assert Path(ann.origin.file).name == "ann.ref.png"
    assert ann.origin.time_s is None
    assert ann.e_ref.norm().item() == pytest.approx(1)
    assert ann.e_ref.argmax() == 0


def test_without_a_photo_the_reference_is_from_outside_the_window(whole: Path):
    cat = Cache(whole)[2]
    kind, time = cat.reference_source.split(" at ")
    assert kind == "same clip"
    assert float(time.split(" s")[0]) > CONFIG.window_s
    assert cat.origin.file == cat.shot.file == str(Path(cat.video).resolve())
    assert cat.origin.time_s > cat.shot.end_s == pytest.approx(CONFIG.window_s)
    assert not cat.shot.holds(cat.origin)
    assert cat.e_ref.argmax() == 2


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


class AtCaption(MiniatureText):
    """Calls `act` when it is to embed a caption that ends in `word`."""

    def __init__(self, word: str, act: Callable[[], None]) -> None:
        self.word, self.act = word, act

    def encode(self, text: str) -> Tensor:
        if text.endswith(self.word) and text:
            self.act()
        return super().encode(text)


def die(*_: object, **__: object) -> None:
    raise Killed


def test_a_killed_run_goes_on_to_the_same_cache(
    folder: Path, whole: Path, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    entries = read_sources(folder, window_s=CONFIG.window_s)
    with pytest.raises(Killed):
        prepare(entries, tmp_path, CONFIG, replace(models, text=AtCaption("tall", die)))
    assert Cache(tmp_path).ids == GOOD[:2], "one shard of two was written"
    prepare(entries, tmp_path, CONFIG, models)
    assert_same_cache(tmp_path, whole)
    # Nothing is left to do: neither kept nor set-aside clips are read again.
    monkeypatch.setattr(clip_stages, "read_clip", die)
    summary = prepare(entries, tmp_path, CONFIG, models)
    assert summary.num_samples == len(GOOD)
    assert sum(summary.set_aside.values()) == len(BAD)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_several_clips_at_a_time_are_one_after_another_byte_for_byte(
    folder: Path, whole: Path, models: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prepare_module, "CLIPS_AHEAD", 0)
    entries = read_sources(folder, window_s=CONFIG.window_s)
    prepare(entries, tmp_path, CONFIG, models)
    assert files(tmp_path) == files(whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_all_that_is_done_written(
    number: signal.Signals,
    folder: Path,
    whole: Path,
    mini_checkpoint: Path,
    pack: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """The signal comes while the third of four samples is made, of which a shard holds 32."""
    caplog.set_level("INFO")
    handlers = [signal.getsignal(number), threading.active_count()]
    text = AtCaption("cat", lambda: os.kill(os.getpid(), number))
    with monkeypatch.context() as patch:
        patch.setitem(STAND_INS, "miniature", text)
        main(_command(folder, mini_checkpoint, pack, tmp_path))
    assert "stopped; the same command goes on from here" in caplog.text
    assert "is ready" not in caplog.text
    assert set(GOOD[:2]) <= set(Cache(tmp_path).ids) < set(GOOD)
    assert [signal.getsignal(number), threading.active_count()] == handlers
    main(_command(folder, mini_checkpoint, pack, tmp_path))
    assert_same_cache(tmp_path, whole)


def test_an_error_names_its_file_and_leaves_no_thread(folder: Path, models: Models, tmp_path: Path):
    def fail() -> None:
        raise RuntimeError("out of memory")

    before = threading.active_count()
    entries = read_sources(folder, window_s=CONFIG.window_s)
    with pytest.raises(RuntimeError, match="out of memory") as raised:
        prepare(entries, tmp_path, CONFIG, replace(models, text=AtCaption("cat", fail)))
    assert raised.value.__notes__ == [f"while preparing {folder / 'sub' / 'cat.mp4'}"]
    assert threading.active_count() == before


def test_two_ranks_make_the_same_cache(folder: Path, whole: Path, models: Models, tmp_path: Path):
    entries = read_sources(folder, window_s=CONFIG.window_s)
    for rank in (0, 1):
        prepare(entries, tmp_path, replace(CONFIG, rank=rank, world_size=2), models)
    assert_same_cache(tmp_path, whole)
    ranks = {path.name[:3] for path in (tmp_path / "shards").iterdir()}
    assert ranks == {"000", "001"}


def test_retry_takes_a_clip_that_was_mended(models: Models, tmp_path: Path):
    caption(encode(tmp_path / "clips" / "b.mp4", draw(12, RED)))
    write_photo(tmp_path / "clips" / "b.ref.png", RED)
    video = caption(tmp_path / "clips" / "a.mp4")
    video.touch()
    write_photo(tmp_path / "clips" / "a.ref.png", RED)
    entries = read_sources(tmp_path / "clips", window_s=CONFIG.window_s)
    assert prepare(entries, tmp_path / "out", CONFIG, models).num_samples == 1
    encode(video, draw(12, RED))
    assert prepare(entries, tmp_path / "out", CONFIG, models).num_samples == 1
    summary = prepare(entries, tmp_path / "out", replace(CONFIG, retry=True), models)
    assert summary.num_samples == 2
    assert summary.set_aside == {}


def test_no_usable_clip_is_one_sentence(models: Models, tmp_path: Path):
    caption(encode(tmp_path / "clips" / "a.mp4", draw(12, None)))
    caption(encode(tmp_path / "clips" / "b.mp4", draw(5, RED)))
    entries = read_sources(tmp_path / "clips", window_s=CONFIG.window_s)
    with pytest.raises(ValueError, match="none of the 2 clips was usable") as caught:
        prepare(entries, tmp_path / "out", CONFIG, models)
    assert "no face in the clip: 1" in str(caught.value)
    assert "too short: 1" in str(caught.value)


def test_the_reference_is_another_clip_of_the_person(models: Models, tmp_path: Path):
    """The background tells which clip a crop is from."""
    encode(tmp_path / "one.mp4", draw(12, RED, shade=20))
    encode(tmp_path / "two.mp4", draw(12, RED, shade=100))
    encode(tmp_path / "other.mp4", draw(9, GREEN, shade=180))
    lines = [
        {"video": "one.mp4", "caption": "one", "identity": "ann"},
        {"video": "two.mp4", "caption": "two", "identity": "ann"},
        {"video": "other.mp4", "caption": "three", "identity": "bob"},
    ]
    manifest = write_json_lines(tmp_path / "data.jsonl", lines)
    entries = read_sources(manifest, window_s=CONFIG.window_s)
    prepare(entries, tmp_path / "out", CONFIG, models)
    cache = Cache(tmp_path / "out")
    assert cache.ids == ["one.mp4@0", "two.mp4@0"]
    for sample, shade in zip(cache, (100, 20), strict=True):
        assert sample.reference_source.startswith("clip at ")
        assert (sample.reference[0, 0].float() - shade).abs().max() < 12
    assert reasons(tmp_path / "out") == {"other.mp4@0": Reason.NO_REFERENCE}


def test_vip_200k_beside_its_clips(models: Models, tmp_path: Path):
    """A person in two source videos: the crop is from the other one, and the right part of it."""
    encode(tmp_path / "clips" / "AAAA.mp4", torch.cat((draw(24, None), draw(16, RED, shade=20))))
    encode(tmp_path / "clips" / "BBBB_100_124.mp4", draw(24, RED, shade=100))
    part = {
        "beg": {"frame_num": 20, "framerate": 24.0},
        "end": {"frame_num": 40, "framerate": 24.0},
    }
    cut = {
        "beg": {"frame_num": 100, "framerate": 24.0},
        "end": {"frame_num": 124, "framerate": 24.0},
    }
    box = [(SIDE / 2 - 40) / SIDE] * 2 + [(SIDE / 2 + 40) / SIDE] * 2
    faces = [
        {"id": "AAAA", "clip": part, "fidx": 6, "xyxy_norm": box},
        {"id": "BBBB", "clip": cut, "fidx": 8, "xyxy_norm": box},
    ]
    segment = {"id": "AAAA", "clip": part, "fidx_beg": 4, "fidx_end": 19, "caption": "A person."}
    path = tmp_path / "vip.json"
    path.write_text(json.dumps([{"faces": faces, "segments": [segment]}]))
    entries = read_sources(path, window_s=CONFIG.window_s, clips=tmp_path / "clips")
    prepare(entries, tmp_path / "out", CONFIG, models)
    sample = Cache(tmp_path / "out")[0]
    assert sample.id == "vip-0/AAAA_20/4"
    assert sample.reference_source == "face at 0.333 s of BBBB_100_124.mp4"
    assert sample.origin == Origin("BBBB", pytest.approx((100 + 8) / 24))
    starts = (20 + 4) / 24
    assert (sample.shot.file, sample.shot.start_s) == ("AAAA", pytest.approx(starts, abs=1e-5))
    assert (sample.reference[0, 0].float() - 100).abs().max() < 12
    assert sample.has_face.all(), "the window begins where the person comes in"


def test_the_command_line_makes_the_same_cache(
    folder: Path, whole: Path, mini_checkpoint: Path, pack: Path, tmp_path: Path
):
    main(_command(folder, mini_checkpoint, pack, tmp_path))
    assert_same_cache(tmp_path, whole)


def test_a_vae_in_bfloat16_makes_nearly_the_same_latents(
    folder: Path, whole: Path, mini_checkpoint: Path, pack: Path, tmp_path: Path
):
    main([*_command(folder, mini_checkpoint, pack, tmp_path), "--vae-dtype", "bfloat16"])
    exact = {sample.id: sample.latent.float() for sample in Cache(whole)}
    assert len(exact) == len(Cache(tmp_path))
    for sample in Cache(tmp_path):
        error = (sample.latent.float() - exact[sample.id]).std() / exact[sample.id].std()
        assert 0 < error < 0.05


def test_dtypes_of_the_vae_do_not_mix(
    folder: Path,
    whole: Path,
    mini_checkpoint: Path,
    pack: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Unless the cache is older than the line that tells."""
    out = tmp_path / "cache"
    shutil.copytree(whole, out)
    words = [*_command(folder, mini_checkpoint, pack, out), "--vae-dtype", "bfloat16"]
    with pytest.raises(SystemExit):
        main(words)
    assert "was made with vae_dtype float32, this run has bfloat16" in capsys.readouterr().err
    path = out / "manifest.json"
    settings = json.loads(path.read_text())
    assert settings.pop("vae_dtype") == "float32"
    path.write_text(json.dumps(settings))
    main(words)
    assert Cache(out).ids == Cache(whole).ids


def _command(folder: Path, checkpoint: Path, pack: Path, out: Path) -> list[str]:
    arguments = ["prepare", "--data", folder, "--out", out, "--checkpoint", checkpoint]
    arguments += ["--faces", pack, "--text-encoder", "miniature", "--num-frames", 9, "--fps", 24]
    arguments += ["--height", SIDE, "--width", SIDE, "--device", "cpu"]
    return [str(argument) for argument in arguments]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_frames", 16),
        ("height", 100),
        ("width", 0),
        ("fps", 0),
        ("min_cosine", 2),
        ("shard_size", 0),
        ("rank", 1),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: int):
    with pytest.raises(ValueError, match=f"{name} was {value}"):
        replace(CONFIG, **{name: value})
