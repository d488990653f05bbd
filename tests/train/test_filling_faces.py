"""A face that fills the photo or the frame: `prepare` looks once more with grey around it.

So do the nodes, `generate`, `evaluate` and validation; a table here asks each of them on files.
A face is a white block here, and the finder is shy: it sees none that touches the picture's edge.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.clips import encode
from helpers.found_faces import embedded_face
from helpers.prepared_clips import CONFIG
from PIL import Image
from torch import Tensor

from stdrc_core.evaluate.face_scans import FaceScans
from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.faces.similarity import largest_embeddings
from stdrc_core.photo_file import load_opaque_photo
from stdrc_core.train.clip_stages import Reason, Work, make_stages
from stdrc_core.train.dataset_entry import Entry, KnownFace, Origin
from stdrc_core.train.prepare import by_identity
from stdrc_core.train.references import find_references, given_reference
from stdrc_core.train.validation import _embedding
from stdrc_core.uint8 import to_uint8

SIDE = CONFIG.height
SIZE = (CONFIG.height, CONFIG.width)


class Shy:
    """Finds the white of a picture as one face, unless it touches the edge."""

    name = "shy"

    def __init__(self) -> None:
        self.num_looks = 0

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        self.num_looks += len(frames)
        return [self._face(frame) for frame in frames]

    def _face(self, frame: Tensor) -> tuple[EmbeddedFace, ...]:
        white = frame.min(dim=-1).values > 200
        rows, columns = white.any(dim=1).nonzero(), white.any(dim=0).nonzero()
        if not len(rows):
            return ()
        top, bottom, left, right = *rows[[0, -1], 0], *columns[[0, -1], 0]
        height, width = white.shape
        if top == 0 or left == 0 or bottom == height - 1 or right == width - 1:
            return ()
        box = [float(each) for each in (left, top, right + 1, bottom + 1)]
        return (embedded_face([1, 0], box),)


def picture(fills: bool, height: int = SIDE, width: int = SIDE) -> Tensor:
    pixels = torch.full((height, width, 3), 40, dtype=torch.uint8)
    inset = 0 if fills else height // 4
    pixels[inset : height - inset, inset : width - inset] = 255
    return pixels


def photo(path: Path, fills: bool = True, **size: int) -> Path:
    Image.fromarray(picture(fills, **size).numpy()).save(path)
    return path


def clip(path: Path, fills: list[bool]) -> Path:
    return encode(path, torch.stack([picture(each) for each in fills]))


def looked_at(entry: Entry, finder: Shy) -> Work:
    """What `prepare` makes of a clip up to its faces and reference."""
    stages = make_stages(by_identity([entry]), CONFIG, vae=None, text=None, finder=finder)
    return stages["look"](stages["read"](Work(entry=entry)))


def test_the_photo_of_a_clip(tmp_path: Path):
    entry = Entry(
        id="a",
        video=clip(tmp_path / "a.mp4", [False] * 12),
        reference=photo(tmp_path / "a.ref.png"),
    )
    work = looked_at(entry, Shy())
    assert work.reference.source == "photo a.ref.png"
    assert work.track.has_face.all()


def test_the_further_photos_of_a_clip(tmp_path: Path):
    entry = Entry(
        id="a",
        video=clip(tmp_path / "a.mp4", [False] * 12),
        reference=photo(tmp_path / "one.png", fills=False),
        further=(photo(tmp_path / "two.png"), photo(tmp_path / "three.png", width=64)),
    )
    assert len(looked_at(entry, Shy()).further) == 2


@pytest.mark.parametrize("fills", [[True] * 12, [False] * 4 + [True] * 8, [True, False] * 6])
def test_the_frames_of_a_clip(tmp_path: Path, fills: list[bool]):
    entry = Entry(
        id="a",
        video=clip(tmp_path / "a.mp4", fills),
        reference=photo(tmp_path / "p.png", fills=False),
    )
    track = looked_at(entry, Shy()).track
    assert track.has_face.all()
    for box, is_filling in zip(track.boxes, fills, strict=False):
        inset = 0 if is_filling else SIDE // 4
        expected = torch.tensor([inset, inset, SIDE - inset, SIDE - inset]).float()
        assert (box - expected).abs().max() <= 2, "in pixels of the frame itself"


def test_a_reference_out_of_the_same_clip(tmp_path: Path):
    entry = Entry(id="a", video=clip(tmp_path / "a.mp4", [False] * 9 + [True] * 30))
    found = list(find_references(entry, {}, Shy(), window_s=CONFIG.window_s, size=SIZE))
    assert found and all(each.source.startswith("same clip") for each in found)


def test_a_reference_out_of_another_clip(tmp_path: Path):
    entries = [
        Entry(id=name, video=clip(tmp_path / name, [fills] * 12), identity="p")
        for name, fills in (("a.mp4", False), ("b.mp4", True))
    ]
    others = by_identity(entries)
    found = list(find_references(entries[0], others, Shy(), window_s=CONFIG.window_s, size=SIZE))
    assert any(each.source.endswith("b.mp4") for each in found)


def test_a_face_that_the_dataset_points_at(tmp_path: Path):
    """Its crop of a frame is all face."""
    video = clip(tmp_path / "a.mp4", [True] * 40)
    moment = Origin("a film", 61.2)
    known = KnownFace(video=video, time_s=1.2, box=(0.3, 0.3, 0.7, 0.7), origin=moment)
    entry = Entry(id="a", video=video, faces=(known,))
    first = next(find_references(entry, {}, Shy(), window_s=CONFIG.window_s, size=SIZE))
    assert first.source.startswith("face at 1.200 s")
    assert first.origin == moment


@pytest.mark.parametrize("size", [(96, 96), (400, 300), (64, 500), (30, 30)])
@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "rgba", "grey"])
def test_photos_of_all_kinds_and_sizes(tmp_path: Path, kind: str, size: tuple[int, int]):
    path = photo(tmp_path / "p.png", height=size[0], width=size[1])
    if kind == "rgba":
        Image.open(path).convert("RGBA").save(path)
    elif kind == "grey":
        Image.open(path).convert("L").save(path)
    elif kind != "png":
        path = tmp_path / f"p.{kind}"
        Image.open(tmp_path / "p.png").save(path)
    (found,) = given_reference(path, Shy(), SIZE)
    assert found.e_ref.tolist() == [1, 0]


def by_prepare(path: Path, finder: Shy) -> bool:
    return next(iter(given_reference(path, finder, SIZE)), None) is not None


def by_evaluate(path: Path, finder: Shy) -> bool:
    return FaceScans(finder).photo(path) is not None


def by_generate(path: Path, finder: Shy) -> bool:
    return largest_embeddings(to_uint8(load_opaque_photo(path)), finder)[0] is not None


def by_validation(path: Path, finder: Shy) -> bool:
    return _embedding(path, load_opaque_photo(path), finder) is not None


LOOKERS = (by_prepare, by_evaluate, by_generate, by_validation)


@pytest.mark.parametrize("looks", LOOKERS)
def test_every_command_looks_once_more(tmp_path: Path, looks: Callable[[Path, Shy], bool]):
    finder = Shy()
    assert looks(photo(tmp_path / "filled.png"), finder)
    assert finder.num_looks == 2


@pytest.mark.parametrize("looks", LOOKERS)
def test_a_face_that_is_seen_at_once_is_looked_at_once(
    tmp_path: Path, looks: Callable[[Path, Shy], bool]
):
    finder = Shy()
    assert looks(photo(tmp_path / "roomy.png", fills=False), finder)
    assert finder.num_looks == 1


def test_what_shows_no_face_then_either_is_set_aside_as_before(tmp_path: Path):
    Image.fromarray(np.full((SIDE, SIDE, 3), 40, np.uint8)).save(tmp_path / "nobody.png")
    assert list(given_reference(tmp_path / "nobody.png", Shy(), SIZE)) == []
    path = encode(tmp_path / "nobody.mp4", torch.full((12, SIDE, SIDE, 3), 40, dtype=torch.uint8))
    with pytest.raises(ValueError, match="shows no face") as caught:
        looked_at(Entry(id="a", video=path), Shy())
    assert caught.value.reason is Reason.NO_FACE
