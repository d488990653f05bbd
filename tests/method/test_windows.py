"""Windows over time: where they begin, what they weigh, and what is joined."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stdrc_core.method.windows import Windows, pyramid

cuts = st.integers(1, 9).flatmap(
    lambda length: st.builds(Windows, length=st.just(length), overlap=st.integers(0, length - 1))
)


@settings(deadline=None)
@given(cuts, st.integers(1, 40))
def test_windows_cover_the_video_and_overlap_as_asked(windows: Windows, num_frames: int):
    cut = windows.over(num_frames)
    assert {frame for window in cut for frame in window} == {*range(num_frames)}
    assert {len(window) for window in cut} == {min(windows.length, num_frames)}
    shared = [len({*one} & {*other}) for one, other in itertools.pairwise(cut)]
    assert all(number == windows.overlap for number in shared[:-1])
    assert all(number >= windows.overlap for number in shared)
    assert len({window.start for window in cut}) == len(cut)


@settings(deadline=None)
@given(cuts, st.integers(1, 40))
def test_what_is_the_same_in_all_windows_is_joined_as_it_is(windows: Windows, num_frames: int):
    """A velocity that depends on each frame alone does not see that there are windows."""
    video = torch.randn(2, 3, num_frames, 1, 2, generator=torch.Generator().manual_seed(num_frames))
    t, context = torch.rand(2), torch.zeros(2, 1, 1)

    def alone(part: Tensor, *_: object) -> Tensor:
        return part.sin()

    joined = windows.velocity(alone, 0, video, t, context, None)
    torch.testing.assert_close(joined, video.sin())


def test_a_frame_is_the_weighted_mean_of_its_windows():
    """Windows 0-3 and 2-5 that answer 1 and 2: frames 2 and 3 weigh 2 : 1 and 1 : 2."""
    answers, seen = iter((1.0, 2.0)), []

    def constant(part: Tensor, t: Tensor, context: Tensor, reference: Tensor, clean: int) -> Tensor:
        seen.append((part[0, 0, :, 0, 0].tolist(), clean, reference))
        return torch.full_like(part, next(answers))

    video = torch.arange(6.0).reshape(1, 1, 6, 1, 1)
    reference = torch.ones(1, 1, 1, 1, 1)
    joined = Windows(length=4, overlap=2).velocity(
        constant, 1, video, torch.ones(1), torch.zeros(1, 1, 1), reference
    )
    expected = torch.tensor([1, 1, (2 * 1 + 1 * 2) / 3, (1 * 1 + 2 * 2) / 3, 2, 2])
    torch.testing.assert_close(joined.flatten(), expected)
    # The second window has the frame before it in front, and only the first has the clean frame.
    assert seen == [([0, 1, 2, 3], 1, reference), ([1, 2, 3, 4, 5], 0, reference)]
    assert pyramid(4).tolist() == [1, 2, 2, 1]
    assert pyramid(5).tolist() == [1, 2, 3, 2, 1]


@given(length=st.integers(2, 6), more=st.integers(1, 9), num_clean=st.integers(0, 3))
def test_each_window_has_the_clean_frames_that_are_in_it(length: int, more: int, num_clean: int):
    """The frame before a window, too: it is clean where the video's is."""
    num_frames, seen = length + more, []

    def record(part: Tensor, t: Tensor, context: Tensor, reference: None, clean: int) -> Tensor:
        frames = part[0, 0, :, 0, 0].tolist()
        seen.append((sum(frame < num_clean for frame in frames), clean))
        return part

    video = torch.arange(float(num_frames)).reshape(1, 1, -1, 1, 1)
    windows = Windows(length=length, overlap=length - 1)
    windows.velocity(record, num_clean, video, torch.ones(1), torch.zeros(1, 1, 1), None)
    assert len(seen) == more + 1
    assert all(held == clean for held, clean in seen)


def test_shuffled_noise_repeats_the_frames_of_a_window_before():
    noise = torch.randn(1, 2, 17, 1, 1, generator=torch.Generator().manual_seed(0))
    windows = Windows(length=6, overlap=2)
    shuffled = windows.shuffled(noise, 5)
    assert torch.equal(shuffled[:, :, :6], noise[:, :, :6])
    frames = [tuple(frame.flatten().tolist()) for frame in shuffled.unbind(2)]
    for place in range(6, 17, 4):
        stretch = frames[place : place + 4]
        assert set(stretch) <= set(frames[place - 6 : place - 2])
        assert len(set(stretch)) == len(stretch)
    assert torch.equal(windows.shuffled(noise, 5), shuffled)
    assert not torch.equal(windows.shuffled(noise, 6), shuffled)
    short = noise[:, :, :6]
    assert torch.equal(windows.shuffled(short, 5), short)


def test_pixel_frames_are_those_of_the_nodes_input():
    assert Windows.of_pixels(49, 16) == Windows(length=7, overlap=2)
    assert Windows.of_pixels(145, 40) == Windows(length=19, overlap=5)
    assert Windows.of_pixels(1, 0) == Windows(length=1, overlap=0)


@pytest.mark.parametrize(
    ("num_frames", "overlap", "said"),
    [
        (48, 16, "window was 48 frames; needs 8n"),
        (-7, 0, "window was -7 frames"),
        (49, 20, "window_overlap was 20 frames; needs a multiple of 8"),
        (17, 24, "window was 17 frames and window_overlap 24; needs a window that is longer"),
        (9, 16, "longer than its overlap"),
    ],
)
def test_a_window_that_cannot_be_is_refused(num_frames: int, overlap: int, said: str):
    with pytest.raises(ValueError, match=said):
        Windows.of_pixels(num_frames, overlap)
