"""`prepare` on a folder as people have them: each file is used rightly, or named."""

from __future__ import annotations

import io
import logging
import os
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
from helpers.clips import encode
from helpers.drawn_faces import RED, SIDE, draw
from helpers.json_lines import read_json_lines
from PIL import Image

from stdrc_core.train.__main__ import main
from stdrc_core.train.cache import Cache
from stdrc_core.train.dataset_entry import Reason
from stdrc_core.train.sources import read_sources

CAPTION = "a person in a café nods slowly"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
OWN_FRAMES = "same clip"

Make = Callable[[Path], object]


@dataclass(frozen=True)
class Row:
    """Files of a clip called `name`, and what has to become of it."""

    name: str
    files: dict[str, bytes | str | Make]
    """What lies in the folder besides the clip and, unless it is told, its caption in UTF-8."""
    caption: str = CAPTION
    reference: str = OWN_FRAMES
    """How the words on the sample's reference begin."""
    reason: Reason | None = None
    detail: str = ""
    """What the report says, where the clip has to be set aside."""

    @property
    def id(self) -> str:
        """What the reports call it: a name that is no text has escapes for what is none."""
        return self.name.encode(errors="backslashreplace").decode()


def photo(kind: str) -> bytes:
    """A photo of the person in the clips."""
    data = io.BytesIO()
    Image.fromarray(draw(1, RED, shade=90)[0].numpy()).save(data, format=kind)
    return data.getvalue()


def used(name: str, ending: str, kind: str) -> Row:
    stem = Path(name).stem
    return Row(name, {f"{stem}{ending}": photo(kind)}, reference=f"photo {stem}{ending}")


def unusable(name: str, ending: str, content: bytes | Make, detail: str) -> Row:
    files = {f"{Path(name).stem}{ending}": content}
    return Row(name, files, reason=Reason.UNREADABLE, detail=detail)


def turned(name: str, ending: str) -> Row:
    """A photo that lies on its side, and says in its EXIF data how it is meant."""
    image = Image.fromarray(draw(1, RED, shade=90)[0].numpy()).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=95, exif=exif)
    row = used(name, ending, "JPEG")
    return replace(row, files={f"{Path(name).stem}{ending}": data.getvalue()})


def film(name: str, write: Make, reason: Reason | None = None, detail: str = "") -> Row:
    return Row(name, {name: write}, reason=reason, detail=detail)


def with_streams(*, cover: bool, sound: bool, num_frames: int) -> Make:
    """Writes the clip with other streams before its own, or without one of its own."""

    def write(path: Path) -> None:
        with av.open(str(path), "w") as container:
            if cover:
                picture = container.add_stream("mjpeg", rate=24)
                picture.width, picture.height, picture.pix_fmt = SIDE, SIDE, "yuvj420p"
                picture.disposition = av.stream.Disposition.attached_pic
            if num_frames:
                stream = container.add_stream("libx264", rate=24, options={"crf": "10"})
                stream.height, stream.width, stream.pix_fmt = SIDE, SIDE, "yuv420p"
            if sound:
                tone = container.add_stream("aac", rate=44100)
                quiet = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                quiet.rate = 44100
                container.mux(tone.encode(quiet))
                container.mux(tone.encode())
            if cover:
                green = np.full((SIDE, SIDE, 3), (0, 255, 0), dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(green, format="rgb24")
                container.mux(picture.encode(frame.reformat(format="yuvj420p")))
                container.mux(picture.encode())
            if num_frames:
                for pixels in draw(num_frames, RED).numpy():
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())

    return write


def told(name: str, content: bytes, caption: str = CAPTION) -> Row:
    return Row(name, {f"{Path(name).stem}.txt": content}, caption=caption)


def foreign(name: str, content: bytes) -> Row:
    files = {f"{Path(name).stem}.txt": content}
    return Row(name, files, reason=Reason.ENCODING, detail="is not UTF-8 (")


def folder_called(path: Path) -> None:
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    path.symlink_to("gone.png")


ROWS = [
    # Those of the issue.
    Row(
        "camera.MP4",
        {"camera.TXT": CAPTION, "camera.ref.JPG": photo("JPEG")},
        reference="photo camera.ref.JPG",
    ),
    used("upper.mp4", ".ref.PNG", "PNG"),
    unusable("heic.mp4", ".ref.heic", HEIC, "pip install pillow-heif, or save it again as JPEG"),
    used("bitmap.mp4", ".ref.bmp", "BMP"),
    told("bom.mp4", CAPTION.encode("utf-8-sig") + b"\r\n"),
    told("utf16.mp4", CAPTION.encode("utf-16")),
    foreign("cp1252.mp4", CAPTION.encode("cp1252")),
    foreign("gbk.mp4", "一个人慢慢点头".encode("gbk")),
    # Photos of other kinds, and photos that are there and of no use.
    used("webp.mp4", ".ref.webp", "WEBP"),
    used("tif.mp4", ".ref.tif", "TIFF"),
    used("tiff.mp4", ".ref.TIFF", "TIFF"),
    used("gif.mp4", ".ref.gif", "GIF"),
    used("jfif.mp4", ".ref.jfif", "JPEG"),
    used("mislabelled.mp4", ".ref.png", "JPEG"),
    unusable("phone.mp4", ".ref.jpg", HEIC, "is a HEIC photo"),
    unusable("raw.mp4", ".ref.dng", b"II*\0" + bytes(40), "raw.ref.dng could not be read"),
    unusable("torn.mp4", ".ref.png", photo("PNG")[:300], "torn.ref.png could not be read"),
    unusable("none.mp4", ".ref.png", b"", "none.ref.png could not be read"),
    unusable("folder.mp4", ".ref.png", folder_called, "folder.ref.png could not be read"),
    unusable("link.mp4", ".ref.png", link_to_nothing, "link.ref.png could not be read"),
    unusable("endless.mp4", ".ref", b"no photo", "endless.ref could not be read"),
    # Names.
    Row(
        "Mixed.Mp4", {"mixed.txt": CAPTION, "MIXED.REF.png": photo("PNG")}, reference="photo MIXED"
    ),
    Row(
        unicodedata.normalize("NFD", "Zoé.mp4"),
        {"Zoé.txt": CAPTION, "Zoé.ref.png": photo("PNG")},
        reference="photo Zoé.ref.png",
    ),
    used("a$$.mp4", ".ref.png", "PNG"),
    used("50% off {x} [1].mp4", ".ref.png", "PNG"),
    used("line\nend.mp4", ".ref.png", "PNG"),
    used("点头 🙂.mp4", ".ref.png", "PNG"),
    used("t\udce9t\udce9.mp4", ".ref.png", "PNG"),
    used("two.dots.mp4", ".ref.png", "PNG"),
    used("space .mp4", ".ref.png", "PNG"),
    used("l" * 230 + ".mp4", ".ref.png", "PNG"),
    # Captions.
    told("utf32.mp4", CAPTION.encode("utf-32")),
    told("lines.mp4", "a person\u2028nods\x0c".encode(), "a person\u2028nods"),
    told("twice.mp4", CAPTION.encode("utf-8-sig"), CAPTION),
    foreign("unmarked.mp4", CAPTION.encode("utf-16-le")),
    foreign("latin.mp4", CAPTION.encode("latin-1")),
    Row(
        "empty.mp4", {"empty.txt": b"\xef\xbb\xbf\r\n"}, reason=Reason.INCOMPLETE, detail="is empty"
    ),
    Row("untold.mp4", {"untold.txt": folder_called}, reason=Reason.INCOMPLETE, detail="is missing"),
    foreign("mail.mp4", "人がうなずく".encode("iso-2022-jp")),
    told("unseen.mp4", f"\ufeff\u200b{CAPTION}\u200b\r\n\x1a".encode()),
    Row(
        "textedit.mp4",
        {"textedit.txt": rb"{\rtf1\ansi a person nods}"},
        reason=Reason.ENCODING,
        detail="is rich text (RTF), no plain text",
    ),
    Row("named.mp4", {"named.mp4.txt": CAPTION}, reason=Reason.INCOMPLETE, detail="is missing"),
    # Further names.
    used("-n --out=x.mp4", ".ref.png", "PNG"),
    used("12:30 #1?a=b&c=d+e%20.mp4", ".ref.png", "PNG"),
    used("%s `a` $(b) *? back\\slash.mp4", ".ref.png", "PNG"),
    used("e\u0301 \u202egnp \u2028.mp4", ".ref.png", "PNG"),
    # Further photos.
    turned("sideways.mp4", ".ref.jpg"),
    unusable("page.mp4", ".ref.jpg", b"<!DOCTYPE html><html>", "it is a web page"),
    unusable("pointer.mp4", ".ref.png", b"version https://git-lfs", "a pointer of Git LFS"),
    unusable("film.mp4", ".ref.mp4v", b"\0\0\0\x18ftypmp42", "film.ref.mp4v could not be read"),
    # Further films.
    film("cover.mkv", with_streams(cover=True, sound=False, num_frames=24)),
    film("sound first.mkv", with_streams(cover=False, sound=True, num_frames=24)),
    film(
        "sound alone.mp4",
        with_streams(cover=False, sound=True, num_frames=0),
        Reason.UNREADABLE,
        "has no video stream",
    ),
    film(
        "one frame.mp4",
        with_streams(cover=False, sound=False, num_frames=1),
        Reason.TOO_SHORT,
        "holds 1 of the 9 frames",
    ),
    # Folders, and other endings of videos.
    Row("deep/Refs.3gp", {"deep/REFS/refs.Jpeg": photo("JPEG")}, reference="photo refs.Jpeg"),
    used("camcorder.MTS", ".ref.png", "PNG"),
]
HIDDEN = ("._camera.MP4", ".DS_Store", "Thumbs.db", "__MACOSX/._upper.mp4", ".cache/x.mp4")
HIDDEN += ("deep/._Refs.3gp", "deep/@eaDir/Refs.3gp", "#recycle/gone.mp4", "deep/@Recycle/a.mp4")
HIDDEN += ("$RECYCLE.BIN/$R1.mp4", "System Volume Information/a.mp4", "lost+found/#1.mp4", "Icon\r")
HIDDEN += ("#snapshot/daily/upper.mp4", "@tmp/a.mp4", ".Trash-1000/files/a.mp4", ".sync/a.mp4")
LOST = {"gone.txt": "caption", "gone.ref.JPG": "photo", "named.mp4.txt": "caption"}
STRAY = ("notes.pdf", "upper.json", "cover.jpg")


def write(path: Path, content: bytes | str | Make) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if callable(content):
        content(path)
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Longer than the window, so that each clip has frames of its own to take for a photo."""
    return encode(tmp_path_factory.mktemp("clip") / "a.mp4", draw(24, RED)).read_bytes()


@pytest.fixture(scope="module")
def folder(clip: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data [1]")
    for row in ROWS:
        write(root / row.name, clip)
        for name, content in row.files.items():
            write(root / name, content)
        has_caption = any(name.lower().endswith(".txt") for name in row.files)
        if not has_caption:
            write((root / row.name).with_suffix(".txt"), CAPTION)
    for name in HIDDEN:
        write(root / name, clip)
    for name in (*LOST, *STRAY):
        write(root / name, CAPTION)
    # A folder elsewhere that is linked into this one, and a link that leads round in a circle.
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere / "far.mp4", clip)
    write(elsewhere / "far.txt", CAPTION)
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "round").symlink_to(root)
    return root


@pytest.fixture(scope="module")
def prepared(
    folder: Path, mini_checkpoint: Path, pack: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The cache and what the log said."""
    out = tmp_path_factory.mktemp("out") / "cache"
    words = [
        "prepare",
        f"--data={folder}{os.sep}",
        f"--out={out}",
        f"--checkpoint={mini_checkpoint}",
    ]
    words += [f"--faces={pack}{os.sep}", "--text-encoder=miniature", "--num-frames=9", "--fps=24"]
    words += [f"--height={SIDE}", f"--width={SIDE}", "--device=cpu"]
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    logging.getLogger().addHandler(handler)
    try:
        main(words)
    finally:
        logging.getLogger().removeHandler(handler)
    return out, said.getvalue()


def test_there_are_fifty():
    assert len(ROWS) >= 50
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: ascii(row.name)[:40])
def test_a_clip_is_used_rightly_or_set_aside_with_its_reason(prepared: tuple[Path, str], row: Row):
    out, _ = prepared
    kept = {line["id"]: line for line in read_json_lines(out / "samples.jsonl")}
    aside = {line["id"]: line for line in read_json_lines(out / "report.jsonl")}
    if row.reason is None:
        assert row.id not in aside, aside[row.id]["detail"]
        assert kept[row.id]["caption"] == row.caption
        assert kept[row.id]["reference_source"].startswith(row.reference)
    else:
        assert row.id not in kept, kept[row.id]["reference_source"]
        assert aside[row.id]["reason"] == row.reason
        assert row.detail in aside[row.id]["detail"]
        assert "\n" not in aside[row.id]["detail"]


def test_nothing_else_became_a_clip_and_what_is_left_is_named(
    prepared: tuple[Path, str], folder: Path
):
    out, said = prepared
    aside = {line["id"]: line["detail"] for line in read_json_lines(out / "report.jsonl")}
    names = {row.id for row in ROWS} | {"linked/far.mp4"}
    assert set(Cache(out).ids) | set(aside) == names | set(LOST)
    for name, what in LOST.items():
        assert aside[name] == f"{what} {folder / name} has no video beside it"
    passed = next(line for line in said.splitlines() if "passed over" in line)
    assert all(name in passed for name in STRAY)
    assert not any(name in said for name in ("._camera", "DS_Store", "Thumbs", "MACOSX", "ecycle"))


def test_a_name_in_its_own_case_is_not_taken_from_its_clip(tmp_path: Path, clip: bytes):
    """Where names that differ in case are two, as on Linux."""
    for name in ("A", "a"):
        write(tmp_path / f"{name}.mp4", clip)
    write(tmp_path / "a.txt", CAPTION)
    write(tmp_path / "a.ref.png", photo("PNG"))
    upper, lower = read_sources(tmp_path, window_s=1)
    assert (upper.reference, upper.problem) == (None, f"caption {tmp_path / 'A.txt'} is missing")
    assert (lower.reference, lower.problem) == (tmp_path / "a.ref.png", None)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (r'{"video": "sub\\a.mp4", "caption": "x"}', r"sub\a.mp4 is a path of Windows; needs /"),
        (r'{"video": "C:\\a.mp4", "caption": "x"}', r"C:\a.mp4 is a path of Windows"),
        (
            r'{"video": "a.mp4", "caption": "x", "reference": "p\\a.png"}',
            r"p\a.png is a path of Windows",
        ),
        (
            r'{"video": "a.mp4", "caption": "x", "references": ["b.png", "p\\a.png"]}',
            r"p\a.png is a path of Windows",
        ),
    ],
)
def test_a_path_of_windows_in_a_manifest_is_named(tmp_path: Path, line: str, says: str):
    (tmp_path / "DATA.JSONL").write_text(line)
    (entry,) = read_sources(tmp_path / "DATA.JSONL", window_s=1)
    assert says in entry.problem


def test_paths_of_a_manifest_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "data.jsonl").write_text(
        '{"video": "~/a.mp4", "caption": "x", "reference": "~/a.png"}\n'
        r'{"video": "back\\slash.mp4", "caption": "a name that has one"}'
    )
    (tmp_path / "back\\slash.mp4").touch()
    home, odd = read_sources(tmp_path / "data.jsonl", window_s=1)
    assert (home.video, home.reference) == (tmp_path / "home/a.mp4", tmp_path / "home/a.png")
    assert (odd.video, odd.problem) == (tmp_path / "back\\slash.mp4", None)
