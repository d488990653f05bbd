"""Faces found through the real InsightFace, by detectors that were made to find them."""

from __future__ import annotations

import logging
from dataclasses import FrozenInstanceError
from pathlib import Path

import insightface
import numpy as np
import onnxruntime
import pytest
import torch
from helpers.found_faces import found_face
from helpers.real_photo import astronaut
from helpers.tiny_face_networks import (
    RandomDetector,
    SquareDetector,
    export,
    export_detector,
    export_recognizer,
    randomize,
)
from insightface.app import FaceAnalysis
from torch import Tensor, nn

from stdrc_core.faces.detector import Face, FaceDetector, largest_face
from stdrc_core.faces.pack import FaceTask
from stdrc_core.faces.provider import CPU_PROVIDER, CUDA_PROVIDER, Provider, say_once
from stdrc_core.faces.session import open_model

BOX = torch.tensor([30.0, 20.0, 40.0, 50.0])
POINTS = torch.tensor([[-10.0, -9.0], [11.0, -8.0], [1.0, 2.0], [-7.0, 12.0], [8.0, 13.0]])
WHITE, RED = (1.0, 1.0, 1.0), (1.0, -1.0, -1.0)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds white squares at any input size."""
    folder = tmp_path_factory.mktemp("square")
    export_detector(SquareDetector(BOX, POINTS, WHITE), folder / "det_10g.onnx")
    return folder


@pytest.fixture(scope="module")
def random_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds dozens of faces of any size anywhere."""
    folder = tmp_path_factory.mktemp("random")
    export_detector(randomize(RandomDetector()), folder / "det_10g.onnx", 160)
    return folder


def frame_with_square(
    x: int, y: int, side: int = 8, *, size: tuple[int, int] = (128, 128)
) -> Tensor:
    """`[1, 3, height, width]`: black, with a white square whose first pixel is (x, y)."""
    frame = torch.zeros(1, 3, *size)
    frame[..., y : y + side, x : x + side] = 1
    return frame


def assert_found(face: Face, x: int, y: int, scale: float = 1) -> None:
    at = torch.tensor([x, y], dtype=torch.float32)
    corners = torch.stack((at - BOX[:2] * scale, at + BOX[2:] * scale)).flatten()
    torch.testing.assert_close(face.box, corners, rtol=0, atol=1e-3)
    torch.testing.assert_close(face.landmarks, at + POINTS * scale, rtol=0, atol=1e-3)
    assert 0.99 < face.score <= 1


@pytest.mark.parametrize(("x", "y"), [(56, 40), (0, 0), (120, 120), (8, 112)])
def test_a_face_is_found_where_it_is(pack: Path, x: int, y: int):
    (faces,) = FaceDetector(pack, sizes_px=[128]).detect(frame_with_square(x, y))
    (face,) = faces
    assert_found(face, x, y)


@pytest.mark.parametrize(
    ("size", "scale"), [((256, 256), 2), ((128, 256), 2), ((256, 64), 2), ((640, 384), 5)]
)
def test_boxes_and_landmarks_are_pixels_of_the_frame(pack: Path, size: tuple[int, int], scale: int):
    """The frame is scaled into the detector's square, its longer side to 128."""
    x, y, side = 16 * scale, 24 * scale, 8 * scale
    (faces,) = FaceDetector(pack, sizes_px=[128]).detect(frame_with_square(x, y, side, size=size))
    (face,) = faces
    assert_found(face, x, y, scale)


def test_insightfaces_own_two_sizes_are_searched_by_default(pack: Path):
    """A square of 8 pixels in 128, and one of 8 in 640, in one frame of 640 x 640."""
    frame = frame_with_square(160, 200, 40, size=(640, 640))
    frame[..., 600:608, 400:408] = 1
    assert len(FaceDetector(pack, sizes_px=[128]).detect(frame)[0]) == 1
    (faces,) = FaceDetector(pack).detect(frame)
    large = largest_face(faces)
    assert_found(large, 160, 200, 5)
    # The large square is many small ones at 640; the small one is there too.
    assert any(torch.equal(face.box[:2], torch.tensor([370.0, 580.0])) for face in faces)
    theirs = FaceAnalysis(name=str(pack), providers=[CPU_PROVIDER])
    theirs.prepare(0)
    bgr = np.ascontiguousarray((frame[0] * 255).byte().flip(0).permute(1, 2, 0).numpy())
    assert_same(faces, theirs.get(bgr))


def test_colours_are_red_green_blue(tmp_path: Path):
    export_detector(SquareDetector(BOX, POINTS, RED), tmp_path / "det.onnx", 128)
    detector = FaceDetector(tmp_path)
    red, blue = frame_with_square(56, 40), frame_with_square(56, 40)
    red[:, 1:], blue[:, :2] = 0, 0
    (in_red, in_blue) = detector.detect(torch.cat((red, blue)))
    assert_found(in_red[0], 56, 40)
    assert in_blue == ()


def test_each_frame_has_its_own_faces(pack: Path):
    frames = torch.cat(
        (
            frame_with_square(16, 24),
            torch.zeros(1, 3, 128, 128),
            frame_with_square(16, 24) + frame_with_square(104, 96),
        )
    )
    detector = FaceDetector(pack, sizes_px=[128])
    one, none, two = detector.detect(frames)
    assert [len(faces) for faces in (one, none, two)] == [1, 0, 2]
    assert_found(one[0], 16, 24)
    assert detector.detect(frames[:0]) == []


def assert_same(faces: tuple[Face, ...], theirs: list) -> None:
    assert len(faces) == len(theirs)
    for face, their in zip(faces, theirs, strict=True):
        np.testing.assert_array_equal(face.box.numpy(), their.bbox)
        np.testing.assert_array_equal(face.landmarks.numpy(), their.kps)
        assert face.score == their.det_score


def test_what_is_found_is_what_face_analysis_finds(random_pack: Path):
    """A network that finds faces of many scores, sizes and overlaps, on a photo; exact."""
    theirs = FaceAnalysis(
        name=str(random_pack), allowed_modules=["detection"], providers=[CPU_PROVIDER]
    )
    theirs.prepare(0, det_thresh=0.6)
    photos = np.stack((astronaut()[:300, 50:350], astronaut()[200:500, 200:500]))
    frames = torch.from_numpy(photos.copy()).permute(0, 3, 1, 2)
    detector = FaceDetector(random_pack, min_score=0.6)
    found = detector.detect(frames)
    for faces, pixels in zip(found, photos, strict=True):
        assert len(faces) > 5
        assert_same(faces, theirs.get(np.ascontiguousarray(pixels[..., ::-1])))
        assert [face.score for face in faces] == sorted((f.score for f in faces), reverse=True)
    for dtype in (torch.float32, torch.float64):
        again = detector.detect(frames.to(dtype) / 255)
        for faces, others in zip(found, again, strict=True):
            assert all(
                torch.equal(a.box, b.box) and a.score == b.score
                for a, b in zip(faces, others, strict=True)
            )


def test_frames_may_overshoot_a_little_and_need_no_gradient_and_stay_unchanged(pack: Path):
    frames = (frame_with_square(56, 40) * 1.2 - 0.1).requires_grad_()
    before = frames.detach().clone()
    (faces,) = FaceDetector(pack, sizes_px=[128]).detect(frames)
    assert_found(faces[0], 56, 40)
    assert torch.equal(frames, before)


def test_the_largest_face_is_that_of_the_largest_box():
    small = found_face((0, 0, 9, 9), score=0.9)
    wide, tall = map(found_face, ((5, 5, 25, 15), (-10, -10, 1, 10)))
    assert largest_face([small, wide, tall]) is tall
    assert tall.area_px == 220
    assert largest_face([small, found_face((0, 0, 9, 9))]) is small
    assert largest_face([]) is None
    assert found_face((9, 9, 0, 0)).area_px == 0
    with pytest.raises(FrozenInstanceError):
        small.score = 1.0


@pytest.mark.parametrize("provider", [Provider.CPU, "cpu"])
def test_the_provider_in_use_is_the_sessions_own_word(pack: Path, provider: Provider):
    assert FaceDetector(pack, provider=provider).providers == (CPU_PROVIDER,)


def pretend(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    """ONNX Runtime lists these; what it can load stays as it is."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(providers))


def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """An NVIDIA GPU, on which install.py brings onnxruntime-gpu."""
    monkeypatch.setattr("stdrc_core.faces.provider.install_may_help", lambda: True)


def test_cuda_is_refused_where_this_onnx_runtime_has_none(
    pack: Path, monkeypatch: pytest.MonkeyPatch
):
    pretend(monkeypatch, CPU_PROVIDER)
    assert FaceDetector(pack, provider=Provider.AUTO).providers == (CPU_PROVIDER,)
    with pytest.raises(ValueError, match=r"^provider was cuda, .*has no CUDA.*take the provider"):
        FaceDetector(pack, provider=Provider.CUDA)
    pretend_gpu(monkeypatch)
    with pytest.raises(ValueError, match=r"^provider was cuda, .*has no CUDA.*run install\.py"):
        FaceDetector(pack, provider=Provider.CUDA)


def test_a_session_on_cuda_takes_the_memory_that_it_asks_for(
    pack: Path, monkeypatch: pytest.MonkeyPatch
):
    """And not the next power of two."""
    pretend(monkeypatch, CUDA_PROVIDER, CPU_PROVIDER)
    asked = []

    def get_model(path: str, providers: list, **options: object) -> None:
        asked.append(providers)

    monkeypatch.setattr(insightface.model_zoo, "get_model", get_model)
    open_model(pack, FaceTask.DETECTION, Provider.AUTO, device_index=1)
    name, settings = asked[0][0]
    assert name == CUDA_PROVIDER
    assert settings == {"device_id": 1, "arena_extend_strategy": "kSameAsRequested"}


@pytest.mark.skipif(
    CUDA_PROVIDER in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA"
)
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_fall_back_to_the_cpu_is_said(
    pack: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """CUDA is listed and cannot be loaded: the session itself runs on, on the CPU."""
    pretend(monkeypatch, CUDA_PROVIDER, CPU_PROVIDER)
    pretend_gpu(monkeypatch)
    say_once.cache_clear()
    with caplog.at_level(logging.WARNING, logger="stdrc_core"):
        detector = FaceDetector(pack, provider=Provider.AUTO, sizes_px=[128])
    assert detector.providers == (CPU_PROVIDER,)
    assert "could not load it: run install.py" in caplog.text
    assert_found(detector.detect(frame_with_square(56, 40))[0][0], 56, 40)
    with pytest.raises(
        ValueError, match=r"^provider was cuda, but .*fell back to CPU.*install\.py"
    ):
        FaceDetector(pack, provider=Provider.CUDA)


def test_a_missing_or_empty_folder_is_refused_and_nothing_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(
        ValueError, match=r"^face pack buffalo_l is no folder; nothing is downloaded"
    ):
        FaceDetector("buffalo_l")
    with pytest.raises(ValueError, match=r"^face pack .* holds no \.onnx file"):
        FaceDetector(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_pack_without_a_detector_is_refused(tmp_path: Path):
    export_recognizer(nn.Flatten(), tmp_path / "w600k.onnx")
    sentence = r"^face pack .* has no detection model among w600k\.onnx; needs one: unpack"
    with pytest.raises(ValueError, match=sentence):
        FaceDetector(tmp_path)


class WithoutLandmarks(RandomDetector):
    def forward(self, x: Tensor) -> list[Tensor]:
        return super().forward(x)[:6]


def test_a_detector_without_landmarks_is_refused(tmp_path: Path):
    example = torch.zeros(1, 3, 64, 64)
    export(WithoutLandmarks(), tmp_path / "det.onnx", example, free=(), num_outputs=6)
    with pytest.raises(ValueError, match=r"det\.onnx has 6 outputs and gives no landmarks; needs"):
        FaceDetector(tmp_path)


def test_a_detector_that_onnx_runtime_does_not_open_is_refused(tmp_path: Path, pack: Path):
    """The protobuf is whole; an operator's name in it is not."""
    content = (pack / "det_10g.onnx").read_bytes()
    (tmp_path / "det.onnx").write_bytes(content.replace(b"Sigmoid", b"Sigmoyd"))
    with pytest.raises(
        ValueError, match=r"could not open the detector .*det\.onnx .*needs a sound"
    ):
        FaceDetector(tmp_path)


@pytest.mark.parametrize("sizes_px", [[], [0], [-32], [100], [128, 129]])
def test_sizes_off_the_detectors_grid_are_refused(pack: Path, sizes_px: list[int]):
    with pytest.raises(ValueError, match=r"^sizes_px was \[.*multiples of 32"):
        FaceDetector(pack, sizes_px=sizes_px)


@pytest.mark.parametrize(
    ("frames", "sentence"),
    [
        (torch.zeros(3, 8, 8), r"^frames had shape \[3, 8, 8\]; needs RGB frames"),
        (torch.zeros(1, 8, 8, 3), r"^frames had shape \[1, 8, 8, 3\]"),
        (torch.zeros(1, 3, 0, 8), r"^frames had shape \[1, 3, 0, 8\]"),
        (torch.zeros(1, 3, 8, 8).int(), r"^frames hold torch\.int32 values; needs uint8 or"),
        (torch.full((1, 3, 8, 8), 255.0), r"^frames hold values from 255 to 255; .*divide 8-bit"),
        (torch.full((1, 3, 8, 8), torch.nan), r"^frames hold values from nan to nan; needs finite"),
        (torch.full((1, 3, 8, 8), -torch.inf), r"^frames hold values from -inf"),
        (torch.zeros(1, 3, 1, 33), r"^frames were 1 x 33 pixels .*at most 32 times"),
    ],
)
def test_frames_that_are_none_are_refused(pack: Path, frames: Tensor, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        FaceDetector(pack).detect(frames)


@pytest.mark.parametrize("size", [(1, 1), (1, 32), (32, 1), (3, 5)])
def test_the_smallest_and_thinnest_frames_hold_no_face(pack: Path, size: tuple[int, int]):
    assert FaceDetector(pack, sizes_px=[32]).detect(torch.zeros(1, 3, *size)) == [()]
