"""Each distinct frame is looked at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stdrc_core.faces.caching_finder import CachingFinder
from stdrc_core.faces.detector import Face
from stdrc_core.faces.finder import EmbeddedFace


class CountingFinder:
    """Finds one face a frame, placed by the frame's first pixel; keeps how often it looked."""

    name = "counting"

    def __init__(self) -> None:
        self.looks: list[int] = []

    def find(self, frames: Tensor) -> list[tuple[EmbeddedFace, ...]]:
        found = []
        for frame in frames:
            level = int(frame[0, 0, 0])
            self.looks.append(level)
            face = Face(box=torch.full((4,), float(level)), landmarks=torch.zeros(5, 2), score=1.0)
            found.append((EmbeddedFace(face=face, embedding=torch.ones(3)),))
        return found


def plain(*levels: int, size: tuple[int, int] = (4, 6)) -> Tensor:
    return torch.stack([torch.full((*size, 3), level, dtype=torch.uint8) for level in levels])


def levels(found: list[tuple[EmbeddedFace, ...]]) -> list[int]:
    return [int(each[0].face.box[0]) for each in found]


def test_a_frame_that_comes_again_is_not_looked_at_again():
    inner = CountingFinder()
    finder = CachingFinder(inner)
    assert levels(finder.find(plain(5, 7, 5, 5, 9))) == [5, 7, 5, 5, 9]
    assert inner.looks == [5, 7, 9]
    assert levels(finder.find(plain(9, 8, 7))) == [9, 8, 7]
    assert inner.looks == [5, 7, 9, 8]
    assert finder.find(plain(5)[:0]) == []
    assert finder.name == "counting"


def test_one_pixel_or_another_shape_makes_another_frame():
    inner = CountingFinder()
    finder = CachingFinder(inner)
    frame = plain(5)
    finder.find(frame)
    other = frame.clone()
    other[0, 3, 5, 2] += 1
    finder.find(other)
    finder.find(frame.reshape(1, 6, 4, 3))
    finder.find(frame.expand(2, -1, -1, -1).flip(2))
    assert inner.looks == [5, 5, 5]


@pytest.mark.parametrize("max_frames", [1, 2])
def test_the_frames_not_seen_for_longest_are_forgotten(max_frames: int):
    inner = CountingFinder()
    finder = CachingFinder(inner, max_frames=max_frames)
    assert levels(finder.find(plain(1, 2, 3))) == [1, 2, 3]
    finder.find(plain(3))
    assert inner.looks == [1, 2, 3]
    finder.find(plain(1))
    assert inner.looks == [1, 2, 3, 1]
    finder.find(plain(2))
    assert inner.looks == [1, 2, 3, 1, 2]
