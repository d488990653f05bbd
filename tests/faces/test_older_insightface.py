"""InsightFace before version 2 finds what version 2 finds; a stand-in has the older one's ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import insightface
import numpy as np
import onnxruntime
import pytest
import torch
from helpers.tiny_face_networks import RandomDetector, export_detector, export_recognizer, randomize
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.scrfd import SCRFD
from torch import nn

from stdrc_core.faces.detector import FaceDetector
from stdrc_core.faces.embedder import FaceEmbedder
from stdrc_core.faces.older_insightface import is_older
from stdrc_core.faces.provider import Provider

OPTIONS: list[Any] = []


class OlderSCRFD:
    """The detector of 0.7.3: one size of input, no default for it, and a suppression of its own."""

    def __init__(self, model_file: str, session: Any) -> None:
        self._new = SCRFD(model_file=model_file, session=session, static_shape_sessions=False)
        self.session, self.use_kps = session, self._new.use_kps
        self.output_names, self.nms_thresh = self._new.output_names, 0.4
        shape = session.get_inputs()[0].shape
        self.input_size = None if isinstance(shape[2], str) else (shape[3], shape[2])
        OPTIONS.append(session.get_session_options())

    def prepare(self, ctx_id: int, **settings: Any) -> None:
        assert "input_size" not in settings or settings["input_size"] is None
        self._new.det_thresh = settings["det_thresh"]

    def detect(self, img: np.ndarray, input_size: Any = None, max_num: int = 0) -> Any:
        assert input_size is not None or self.input_size is not None
        self._new.nms_thresh = self.nms_thresh
        return self._new.detect(img, input_size=input_size or self.input_size)


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_model(*_: Any, **__: Any) -> None:
        raise AssertionError("0.7.3 leaves the session's options out")

    monkeypatch.setattr(insightface, "__version__", "0.7.3")
    monkeypatch.setattr(insightface.model_zoo, "SCRFD", OlderSCRFD, raising=False)
    monkeypatch.setattr(insightface.model_zoo, "ArcFaceONNX", ArcFaceONNX, raising=False)
    monkeypatch.setattr(insightface.model_zoo, "get_model", get_model)


@pytest.mark.parametrize("sizes", [None, [128], [160, 320]])
@pytest.mark.parametrize("fixed", [False, True])
def test_the_same_faces_are_found(
    tmp_path: Path, request: pytest.FixtureRequest, sizes: list[int] | None, fixed: bool
):
    size = 160 if fixed else None
    export_detector(randomize(RandomDetector()), tmp_path / "det.onnx", *filter(None, [size]))
    frame = torch.rand(2, 3, 200, 260, generator=torch.Generator().manual_seed(0))
    expected = FaceDetector(tmp_path, sizes_px=sizes, num_threads=1).detect(frame)
    request.getfixturevalue("older")
    OPTIONS.clear()
    found = FaceDetector(tmp_path, sizes_px=sizes, num_threads=1).detect(frame)
    assert sum(map(len, expected)) > 4
    assert [len(faces) for faces in found] == [len(faces) for faces in expected]
    for faces, others in zip(found, expected, strict=True):
        for face, other in zip(faces, others, strict=True):
            torch.testing.assert_close(face.box, other.box)
            torch.testing.assert_close(face.landmarks, other.landmarks)
            assert face.score == pytest.approx(other.score)
    (options,) = OPTIONS
    assert options.intra_op_num_threads == 1


def test_a_frame_without_a_face_has_none(tmp_path: Path, older: None):
    export_detector(randomize(RandomDetector()), tmp_path / "det.onnx")
    detector = FaceDetector(tmp_path, min_score=1.0)
    assert detector.detect(torch.zeros(1, 3, 64, 64)) == [()]


def test_the_same_embeddings_are_made(tmp_path: Path, request: pytest.FixtureRequest):
    network = nn.Sequential(nn.Conv2d(3, 4, 7, stride=16), nn.Flatten(), nn.Linear(196, 16))
    export_recognizer(randomize(network), tmp_path / "w600k.onnx")
    crops = [np.random.default_rng(i).integers(0, 255, (112, 112, 3), np.uint8) for i in range(3)]
    expected = FaceEmbedder(tmp_path).embed(crops)
    request.getfixturevalue("older")
    torch.testing.assert_close(FaceEmbedder(tmp_path).embed(crops), expected)


@pytest.mark.parametrize("version", ["0.7.3", "0.7", "1.0.1", "0.2.1"])
def test_versions_before_2_are_older(version: str):
    assert is_older(version)


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.1.0rc1", "3.0", "10.0", "unknown"])
def test_later_ones_are_not(version: str):
    assert not is_older(version)


def test_a_machine_without_insightface_is_told_both_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    export_detector(randomize(RandomDetector()), tmp_path / "det.onnx")
    monkeypatch.setitem(__import__("sys").modules, "insightface", None)
    with pytest.raises(ValueError, match=r"needs version 2\.1 or newer, or 0\.7\.3: pip install"):
        FaceDetector(tmp_path, provider=Provider.CPU)
    assert onnxruntime.__version__
