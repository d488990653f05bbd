"""buffalo_l on request: what comes is checked, and nothing half-unpacked stays."""

from __future__ import annotations

import hashlib
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from stdrc_core.faces.download import BUFFALO_L, LICENCE, PackArchive, by_hand, download_pack

FILES = {"det_10g.onnx": b"a detector", "w600k_r50.onnx": b"a recogniser" * 1000}


def archive_at(path: Path, files: dict[str, bytes], prefix: str = "") -> PackArchive:
    """The zip written, and what is to be known about it."""
    with zipfile.ZipFile(path, "w") as target:
        for name, content in files.items():
            target.writestr(prefix + name, content)
    content = path.read_bytes()
    return PackArchive(
        name="small_pack",
        url=path.as_uri(),
        sha256=hashlib.sha256(content).hexdigest(),
        num_bytes=len(content),
    )


def test_the_archive_is_insightfaces_own():
    from insightface.utils.storage import model_zoo_download_url

    assert BUFFALO_L.url == model_zoo_download_url("buffalo_l.zip")
    assert re.fullmatch(r"[0-9a-f]{64}", BUFFALO_L.sha256)


@pytest.mark.parametrize("prefix", ["", "small_pack/", "../../"])
def test_a_pack_is_unpacked_whole(tmp_path: Path, prefix: str, caplog: pytest.LogCaptureFixture):
    """In a folder of the archive or not; a path that leads elsewhere leads nowhere."""
    caplog.set_level("INFO")
    archive = archive_at(tmp_path / "a.zip", FILES | {"readme.txt": b"read me"}, prefix)
    told: list[int] = []
    packs = tmp_path / "insightface" / "models"
    folder = download_pack(archive, packs, told.append)
    assert folder == packs / "small_pack"
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    assert list(packs.iterdir()) == [folder]
    assert sum(told) == archive.num_bytes
    assert sum(LICENCE in line for line in caplog.messages) == 2
    with pytest.raises(ValueError, match=r"is there already"):
        download_pack(archive, packs)


@pytest.mark.parametrize("change", ["another", "longer", "shorter"])
def test_what_is_not_the_pinned_archive_is_thrown_away(tmp_path: Path, change: str):
    archive = archive_at(tmp_path / "a.zip", FILES)
    content = (tmp_path / "a.zip").read_bytes()
    changed = {"another": b"x" + content[1:], "longer": content + b"x", "shorter": content[:-1]}
    (tmp_path / "a.zip").write_bytes(changed[change])
    with pytest.raises(ValueError, match=f"SHA-256 .*needs .*{archive.sha256}"):
        download_pack(archive, tmp_path / "packs")
    assert list((tmp_path / "packs").iterdir()) == []


def test_a_source_without_end_is_not_read_to_its_end(tmp_path: Path):
    """It gives zeros for ever."""
    archive = replace(archive_at(tmp_path / "a.zip", FILES), url="file:///dev/zero")
    told: list[int] = []
    with pytest.raises(ValueError, match=r"SHA-256"):
        download_pack(archive, tmp_path / "packs", told.append)
    assert len(told) == 1


def test_stopping_leaves_nothing(tmp_path: Path):
    archive = archive_at(tmp_path / "a.zip", FILES)

    class StopHere(BaseException):
        pass

    def stop(num_bytes: int) -> None:
        raise StopHere

    with pytest.raises(StopHere):
        download_pack(archive, tmp_path / "packs", stop)
    assert list((tmp_path / "packs").iterdir()) == []


def test_an_address_that_gives_nothing_is_one_sentence(tmp_path: Path):
    archive = archive_at(tmp_path / "a.zip", FILES)
    nowhere = replace(archive, url=(tmp_path / "none.zip").as_uri())
    with pytest.raises(ValueError, match=r"^small_pack could not be downloaded .*by hand"):
        download_pack(nowhere, tmp_path / "packs")
    assert list((tmp_path / "packs").iterdir()) == []
    assert str(tmp_path / "packs" / "small_pack") in by_hand(nowhere, tmp_path / "packs")


def test_an_archive_without_models_is_one_sentence(tmp_path: Path):
    archive = archive_at(tmp_path / "a.zip", {"readme.txt": b"read me"})
    with pytest.raises(ValueError, match=r"holds no \.onnx file"):
        download_pack(archive, tmp_path / "packs")
    assert list((tmp_path / "packs").iterdir()) == []
