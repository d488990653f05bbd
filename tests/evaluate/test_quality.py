"""IQ and DD against pyiqa and torchvision, which are extras; DD's definition in plain numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.clips import decode
from helpers.drawn_persons import Evaluate

from stdrc_core.evaluate.dynamic_degree import DynamicDegree, flow_length, moves
from stdrc_core.evaluate.imaging_quality import prepared
from stdrc_core.evaluate.metric import Clip
from stdrc_core.evaluate.metric_registry import MUSIQ, RAFT
from stdrc_core.evaluate.resources import Resources
from stdrc_core.video import write_clip

_EXTRA = "an extra of the evaluation (requirements-evaluate.txt)"


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 frames a second of noise that moves 2 pixels a frame; 130 x 150 pixels."""
    folder = tmp_path_factory.mktemp("drift")
    wide = torch.randint(0, 256, (1, 3, 34, 60), generator=torch.Generator().manual_seed(0))
    wide = F.interpolate(wide.float(), scale_factor=4, mode="bicubic").clamp(0, 255)[0]
    frames = [wide[:, :130, 2 * i : 2 * i + 150].movedim(0, -1) for i in range(10)]
    write_clip(folder / "drift.mp4", torch.stack(frames).to(torch.uint8), 24)
    return folder


@torch.no_grad()
def test_imaging_quality_is_pyiqas(drift: Path, tmp_path: Path, evaluate: Evaluate):
    pytest.importorskip("torchvision", reason=_EXTRA)
    pyiqa = pytest.importorskip("pyiqa", reason=_EXTRA)
    from pyiqa.archs.musiq_arch import MUSIQ as Musiq  # noqa: N811

    torch.manual_seed(0)
    network = Musiq(pretrained=False)
    for name, weight in network.named_parameters():
        if name.startswith("head"):
            torch.nn.init.normal_(weight)
    torch.save({"params": network.state_dict()}, tmp_path / MUSIQ.name)
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    report = evaluate(
        [{"video": "drift.mp4"}], videos=drift, metrics=["iq"], weights=tmp_path, faces=None
    )
    metric = pyiqa.create_metric(
        "musiq-spaq", pretrained_model_path=str(tmp_path / "plain.pth"), device="cpu"
    )
    pixels = [
        torch.from_numpy(frame).movedim(-1, 0)[None].float() / 255
        for frame in decode(drift / "drift.mp4")
    ]
    expected = np.mean([float(metric(image)) for image in pixels]) / 100
    (result,) = report["results"]
    assert result["scores"]["iq"]["value"] == pytest.approx(expected, abs=1e-6)


def test_large_frames_are_scaled_as_in_vbench():
    transforms = pytest.importorskip("torchvision.transforms", reason=_EXTRA)
    frame = torch.randint(0, 256, (300, 777, 3), dtype=torch.uint8)
    scale = 512 / 777
    resize = transforms.Resize((int(scale * 300), int(scale * 777)), antialias=False)
    expected = resize(frame.movedim(-1, 0)[None].float())[0] / 255
    torch.testing.assert_close(prepared(frame), expected, rtol=0, atol=1e-6)
    small = frame[:, :512]
    assert torch.equal(prepared(small), small.movedim(-1, 0).float() / 255)


@torch.no_grad()
def test_dynamic_degree_is_by_torchvisions_raft(drift: Path, tmp_path: Path, evaluate: Evaluate):
    flow = pytest.importorskip("torchvision.models.optical_flow", reason=_EXTRA)
    torch.manual_seed(0)
    network = flow.raft_large(weights=None).eval()
    torch.save(network.state_dict(), tmp_path / RAFT.name)
    frames = [
        torch.from_numpy(frame).movedim(-1, 0)[None].float() / 255 * 2 - 1
        for frame in decode(drift / "drift.mp4")
    ]
    # 24 frames/s: every third; 130 x 150 grows to 136 x 152, evenly, by its edges.
    frames = [F.pad(frame, (1, 1, 3, 3), mode="replicate") for frame in frames[::3]]
    longest = []
    for one, two in itertools.pairwise(frames):
        u, v = network(one, two, num_flow_updates=20)[-1][0].numpy()
        lengths = np.sort(np.sqrt(u**2 + v**2).ravel())[::-1]
        longest.append(float(lengths[: int(136 * 152 * 0.05)].mean()))
    moving = sum(length > 6 * 130 / 256 for length in longest)
    report = evaluate(
        [{"video": "drift.mp4"}], videos=drift, metrics=["dd"], weights=tmp_path, faces=None
    )
    (result,) = report["results"]
    assert result["scores"]["dd"]["value"] == float(moving >= 1)

    device = torch.device("cpu")
    metric = DynamicDegree(Resources(device=device, weights=tmp_path, num_frames=16, batch_size=16))
    facts = {"num_frames": 10, "fps": 24.0, "height": 130, "width": 150}
    clip = Clip(name="d", path=drift, prompt=None, references=(), **facts)
    watch = metric.watch(clip)
    for index, frame in enumerate(decode(drift / "drift.mp4")):
        if index in watch.wanted:
            watch.see(index, torch.from_numpy(frame))
    metric.flush()
    ours = [float(length) for length in watch._lengths]
    assert ours == pytest.approx(longest, rel=1e-4)


def test_flow_length_is_the_mean_of_the_longest_twentieth():
    flow = torch.randn(2, 2, 40, 50)
    expected = [np.sort(np.hypot(*each.numpy()).ravel())[::-1][:100].mean() for each in flow]
    assert flow_length(flow).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("num_moving", "num_frames", "expected"),
    [(4, 16, True), (3, 16, False), (8, 32, True), (7, 32, False), (1, 4, True), (0, 4, False)],
)
def test_a_clip_moves_when_a_quarter_of_its_frames_do(
    num_moving: int, num_frames: int, expected: bool
):
    threshold = 6.0 * 512 / 256
    lengths = [threshold + 0.1] * num_moving + [threshold] * (num_frames - 1 - num_moving)
    assert moves(lengths, num_frames, 512) is expected


def test_one_frame_does_not_move():
    assert not moves([], 1, 256)
