"""InsightFace's buffalo_l, downloaded when a user asks for it, and checked before it is unpacked.

The archive is that of InsightFace's own release. Its SHA-256 is written here, so that what is
unpacked is what this project was written for. The pack does not have this project's licence:
InsightFace's packs are for non-commercial research only.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.request import urlopen

from ..folders import is_hidden

log = logging.getLogger(__name__)

LICENCE = "for non-commercial research only (InsightFace's model licence)"
_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30


@dataclass(frozen=True, kw_only=True)
class PackArchive:
    """A zip archive with the ONNX files of a pack, which may lie in folders there."""

    name: str
    """The pack's name, and the name of the folder that it is unpacked to."""
    url: str
    """The address of the archive."""
    sha256: str
    """The SHA-256 of the archive, in hexadecimal digits."""
    num_bytes: int
    """The size of the archive in bytes."""


BUFFALO_L = PackArchive(
    name="buffalo_l",
    # The release that insightface 2.1 itself names.
    url="https://github.com/deepinsight/insightface/releases/download/model-zoo/buffalo_l.zip",
    sha256="80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
    num_bytes=288_621_354,
)


def download_pack(
    archive: PackArchive,
    packs: Path,
    on_bytes: Callable[[int], None] = lambda num_bytes: None,
) -> Path:
    """Downloads and checks `archive`, unpacks it to a folder in `packs`, and returns that folder.

    The folder has the archive's name, and it appears whole or not at all. `on_bytes` is called with
    the number of bytes that have come since the last call; it may raise an exception to stop.

    Raises ValueError where the archive cannot be downloaded, is another one or is no pack, and
    where the folder exists already.
    """
    folder = packs / archive.name
    if folder.exists():
        raise ValueError(f"face pack {folder} is there already; nothing is downloaded over it.")
    packs.mkdir(parents=True, exist_ok=True)
    partial = packs / f".{archive.name}.{uuid.uuid4().hex}.partial"
    partial.mkdir()
    log.info("Downloading %s, %s: %s", archive.name, LICENCE, archive.url)
    try:
        zipped, unpacked = partial / "archive.zip", partial / archive.name
        _fetch(archive, zipped, on_bytes)
        _unpack(archive, zipped, unpacked)
        unpacked.rename(folder)
    finally:
        shutil.rmtree(partial)
    log.info("%s is in %s, %s.", archive.name, folder, LICENCE)
    return folder


def by_hand(archive: PackArchive, packs: Path) -> str:
    """Returns what a user can do instead of this download, as the end of a sentence."""
    return f"download {archive.url} by hand and unpack its .onnx files to {packs / archive.name}"


def _fetch(archive: PackArchive, path: Path, on_bytes: Callable[[int], None]) -> None:
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with urlopen(archive.url, timeout=_TIMEOUT_S) as source, path.open("wb") as target:
            # A server that sends more than the archive's size is not read any further.
            while num_bytes <= archive.num_bytes and (chunk := source.read(_CHUNK_BYTES)):
                digest.update(chunk)
                target.write(chunk)
                num_bytes += len(chunk)
                on_bytes(len(chunk))
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"{archive.name} could not be downloaded ({reason}); needs the internet: try again, or "
            f"{by_hand(archive, path.parents[1])}."
        ) from error
    if digest.hexdigest() != archive.sha256:
        raise ValueError(
            f"{archive.url} gave {num_bytes} bytes of SHA-256 {digest.hexdigest()}; needs "
            f"{archive.num_bytes} bytes of {archive.sha256}: try again; what came was thrown away."
        )


def _is_model(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() == ".onnx" and not any(
        is_hidden(part) for part in path.parts if part != ".."
    )


def _unpack(archive: PackArchive, zipped: Path, folder: Path) -> None:
    """Unpacks the archive's ONNX files into `folder`, whatever folder they are in there."""
    folder.mkdir()
    with zipfile.ZipFile(zipped) as zip_file:
        members = [each for each in zip_file.infolist() if _is_model(each.filename)]
        for member in members:
            name = PurePosixPath(member.filename).name
            with zip_file.open(member) as source, (folder / name).open("wb") as target:
                shutil.copyfileobj(source, target)
    if not members:
        raise ValueError(
            f"{archive.url} holds no .onnx file; needs an InsightFace pack: look at the address."
        )
