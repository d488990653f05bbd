"""Face packs in folders as people have them: unpacked twice, and with what systems leave behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from stdrc_core.commands import parse_arguments
from stdrc_core.evaluate.__main__ import make_parser as evaluate_parser
from stdrc_core.faces.finder import open_face_pack
from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.faces.pack import FaceTask, find_packs, read_pack
from stdrc_core.generate.arguments import make_parser
from stdrc_core.mini.shipped import FACES

TASKS = {FaceTask.DETECTION, FaceTask.RECOGNITION}


def unpacked(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for file in FACES.glob("*.onnx"):
        shutil.copy(file, folder / file.name)
    return folder


def nested(root: Path) -> None:
    unpacked(root / "antelopev2" / "antelopev2")


def nested_with_leftovers(root: Path) -> None:
    nested(root)
    (root / "antelopev2" / "__MACOSX").mkdir()
    for name in ("__MACOSX/._det.onnx", "._antelopev2", ".DS_Store", "antelopev2/._det.onnx"):
        (root / "antelopev2" / name).write_bytes(bytes(4096))


def nested_under_another_name(root: Path) -> None:
    unpacked(root / "antelopev2" / "glintr100 pack [1]")


def with_apple_double(root: Path) -> None:
    unpacked(root / "antelopev2")
    (root / "antelopev2" / "._det.onnx").write_bytes(bytes(4096))


def with_thumbnails(root: Path) -> None:
    unpacked(root / "antelopev2")
    for name in ("Thumbs.db", "desktop.ini", ".det.onnx.swp", "notes.txt", "det.onnx.part"):
        (root / "antelopev2" / name).write_bytes(bytes(4096))


def with_a_download_beside(root: Path) -> None:
    unpacked(root / "antelopev2")
    unpacked(root / ".buffalo_l.1234.partial" / "buffalo_l")


def in_capitals(root: Path) -> None:
    folder = unpacked(root / "antelopev2")
    for file in list(folder.iterdir()):
        file.rename(file.with_suffix(".ONNX"))


def linked(root: Path) -> None:
    elsewhere = unpacked(root.parent / "elsewhere")
    root.mkdir()
    (root / "antelopev2").symlink_to(elsewhere)


def nested_and_linked(root: Path) -> None:
    elsewhere = unpacked(root.parent / "elsewhere" / "antelopev2")
    root.mkdir()
    (root / "antelopev2").symlink_to(elsewhere.parent)


def linked_files(root: Path) -> None:
    (root / "antelopev2").mkdir(parents=True)
    for file in FACES.glob("*.onnx"):
        (root / "antelopev2" / file.name).symlink_to(file)


def with_a_folder_called_like_a_model(root: Path) -> None:
    unpacked(root / "antelopev2")
    (root / "antelopev2" / "old.onnx").mkdir()


def three_deep(root: Path) -> None:
    unpacked(root / "antelopev2" / "insightface" / "models" / "antelopev2")


def with_a_bin_beside(root: Path) -> None:
    unpacked(root / "antelopev2")
    for name in ("#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"):
        unpacked(root / name)
        unpacked(root / "antelopev2" / name)


def with_a_readme_below(root: Path) -> None:
    nested(root)
    (root / "antelopev2" / "docs" / "img").mkdir(parents=True)
    (root / "antelopev2" / "docs" / "README.md").touch()


LAYOUTS: list[Callable[[Path], None]] = [
    nested,
    nested_with_leftovers,
    nested_under_another_name,
    with_apple_double,
    with_thumbnails,
    with_a_download_beside,
    in_capitals,
    linked,
    nested_and_linked,
    linked_files,
    with_a_folder_called_like_a_model,
    three_deep,
    with_a_bin_beside,
    with_a_readme_below,
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_pack_is_found_and_read(tmp_path: Path, layout: Callable[[Path], None]):
    root = tmp_path / "models [x] $$"
    layout(root)
    assert list(find_packs(root)) == ["antelopev2"]
    for folder in (root / "antelopev2", find_packs(root)["antelopev2"]):
        pack = read_pack(folder)
        assert set(pack.models) == TASKS
        assert len(pack.files) == 2


def test_a_pack_opens_from_where_it_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    nested_with_leftovers(tmp_path)
    folder = tmp_path / "antelopev2"
    assert open_face_pack(folder).name == open_onnx_pack(folder).name == "antelopev2"
    monkeypatch.chdir(folder)
    assert open_face_pack(Path(".")).name == "antelopev2"
    monkeypatch.chdir(folder / "antelopev2")
    assert open_face_pack(Path("..")).name == "antelopev2"


def test_of_several_packs_one_has_to_be_named(tmp_path: Path):
    for name in ("buffalo_l", "antelopev2"):
        unpacked(tmp_path / name)
    with pytest.raises(ValueError, match=r"holds antelopev2, buffalo_l; needs one pack: name its"):
        read_pack(tmp_path)
    assert list(find_packs(tmp_path)) == ["antelopev2", "buffalo_l"]


def test_a_folder_of_nothing_is_no_pack(tmp_path: Path):
    (tmp_path / "antelopev2" / "antelopev2").mkdir(parents=True)
    (tmp_path / "antelopev2" / "antelopev2" / "PUT_THE_PACK_HERE").touch()
    assert find_packs(tmp_path) == find_packs(tmp_path / "none") == {}
    unpacked(tmp_path / "antelopev2" / "a" / "b" / "c" / "too_deep")
    assert find_packs(tmp_path) == {}
    with pytest.raises(ValueError, match=r"holds no \.onnx file"):
        read_pack(tmp_path / "antelopev2")


def test_home_and_trailing_slashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = [f"--faces=~/packs{os.sep}", "--out=~/out", "--reference=~/a.png", "--prompt=~/no path"]
    args = parse_arguments(make_parser(), words)
    assert (args.faces, args.out) == (tmp_path / "packs", tmp_path / "out")
    assert (args.reference, args.prompt) == ([tmp_path / "a.png"], "~/no path")
    words = ["--faces=~/packs", "--out=~/out", "--videos=~nobody-of-that-name/x", "--pairs=a~b"]
    args = parse_arguments(evaluate_parser(), words)
    assert (args.videos, args.pairs) == (Path("~nobody-of-that-name/x"), Path("a~b"))
