"""Faces with InsightFace's own numbers, whatever the workers and the batches."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.real_photo import astronaut
from helpers.tiny_face_networks import (
    RandomDetector,
    export_detector,
    export_recognizer,
    ir_net,
    randomize,
)
from insightface.app import FaceAnalysis
from onnxruntime import SessionOptions
from torch import Tensor

from stdrc_core.experiments.scores import draw_cases
from stdrc_core.faces.detector import FaceDetector
from stdrc_core.faces.embedder import FaceEmbedder
from stdrc_core.faces.finder import EmbeddedFace
from stdrc_core.faces.onnx_finder import OnnxFinder, open_onnx_pack
from stdrc_core.faces.provider import CPU_PROVIDER, Provider
from stdrc_core.mini.shipped import FACES

SAME = 1e-6

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def frames() -> Tensor:
    """Drawn persons and an empty frame."""
    clips = [case.true_clip()[::4] for case in draw_cases(4, seed=9)]
    return torch.cat((*clips, torch.full((1, 128, 128, 3), 100, dtype=torch.uint8)))


@pytest.fixture(scope="module", params=["any_batch", "one_at_a_time"])
def random_pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds dozens of faces a frame."""
    folder = tmp_path_factory.getbasetemp() / request.param
    folder.mkdir()
    export_detector(randomize(RandomDetector()), folder / "det.onnx", 160)
    free = (0,) if request.param == "any_batch" else ()
    export_recognizer(randomize(ir_net()), folder / "rec.onnx", free=free)
    return folder


def assert_theirs(found: list[tuple[EmbeddedFace, ...]], frames: Tensor, folder: Path) -> int:
    """Each frame's faces are those of `FaceAnalysis.get`; returns how many there are."""
    options = SessionOptions()
    # Small networks only wait for a second thread.
    options.intra_op_num_threads = 1
    analysis = FaceAnalysis(name=str(folder), providers=[CPU_PROVIDER], sess_options=options)
    analysis.prepare(0)
    assert len(found) == len(frames)
    for faces, frame in zip(found, frames.numpy(), strict=True):
        theirs = analysis.get(np.ascontiguousarray(frame[..., ::-1]))
        assert len(faces) == len(theirs)
        for ours, their in zip(faces, theirs, strict=True):
            np.testing.assert_array_equal(ours.face.box.numpy(), their.bbox)
            np.testing.assert_array_equal(ours.face.landmarks.numpy(), their.kps)
            np.testing.assert_allclose(ours.embedding.numpy(), their.normed_embedding, atol=SAME)
    return sum(map(len, found))


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_the_miniature(frames: Tensor, num_workers: int):
    finder = OnnxFinder(
        "mini", FaceDetector(FACES, num_threads=1), FaceEmbedder(FACES), num_workers=num_workers
    )
    assert assert_theirs(finder.find(frames), frames, FACES) >= 15


def test_many_faces_a_frame_over_several_batches(random_pack: Path):
    photos = np.stack((astronaut()[:200, 50:250], astronaut()[200:400, 200:400]))
    frames = torch.from_numpy(photos.copy())
    finder = open_onnx_pack(random_pack)
    assert assert_theirs(finder.find(frames), frames, random_pack) > 20
    assert finder.embedder.takes_batches == (random_pack.name == "any_batch")


def test_no_frames_and_a_view_of_frames(frames: Tensor):
    finder = open_onnx_pack(FACES)
    assert finder.find(frames[:0]) == []
    assert_theirs(finder.find(frames[::2].flip(2)), frames[::2].flip(2), FACES)
    assert finder.name == "faces"
    assert finder.provider == CPU_PROVIDER


def test_models_nobody_asked_for_are_not_opened(tmp_path: Path, frames: Tensor):
    """A pack's landmark model, of a kind that ONNX Runtime refuses."""
    import onnx
    from onnx import TensorProto, helper

    for file in FACES.glob("*.onnx"):
        shutil.copy(file, tmp_path)
    sides = {"data": [1, 3, 192, 192], "out": [1, 212]}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sides.items()]
    node = helper.make_node("NoSuchOperator", ["data"], ["out"])
    graph = helper.make_graph([node], "landmarks", values[:1], values[1:])
    onnx.save(helper.make_model(graph), tmp_path / "2d106det.onnx")
    found = open_onnx_pack(tmp_path).find(frames)
    assert sum(map(len, found)) >= 15


def copy_of(pack: Path, folder: Path, *, without: str = "", damaged: str = "") -> Path:
    for file in pack.glob("*.onnx"):
        if file.name == without:
            continue
        content = file.read_bytes()
        (folder / file.name).write_bytes(
            content[: len(content) // 2] if file.name == damaged else content
        )
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"without": "rec_mini.onnx"}, r"has no recognition model among det_mini\.onnx; .*unpack"),
        ({"without": "det_mini.onnx"}, r"has no detection model among rec_mini\.onnx; .*unpack"),
        ({"damaged": "rec_mini.onnx"}, r"rec_mini\.onnx could not be read .*download or export"),
        ({"damaged": "det_mini.onnx"}, r"det_mini\.onnx could not be read .*download or export"),
    ],
)
def test_a_pack_that_cannot_be_used_is_one_sentence(tmp_path: Path, change: dict, message: str):
    with pytest.raises(ValueError, match=message) as raised:
        open_onnx_pack(copy_of(FACES, tmp_path, **change))
    assert "\n" not in str(raised.value)


def test_a_recogniser_that_the_runtime_refuses_is_one_sentence(tmp_path: Path):
    """It is a sound ONNX file, but its last operator is none that there is."""
    import onnx

    copy_of(FACES, tmp_path)
    model = onnx.load(tmp_path / "rec_mini.onnx")
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "rec_mini.onnx")
    with pytest.raises(
        ValueError, match=r"could not open the recognition model .*rec_mini\.onnx .*unpack"
    ) as raised:
        open_onnx_pack(tmp_path)
    assert "\n" not in str(raised.value)


def test_cuda_that_is_not_there_is_one_sentence():
    said = r"^provider was cuda, but .*needs onnxruntime-gpu: .*provider auto or cpu"
    with pytest.raises(ValueError, match=said):
        open_onnx_pack(FACES, provider=Provider.CUDA)
