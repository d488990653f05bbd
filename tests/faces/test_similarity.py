"""FaceSim's protocol (docs/method.md section 7), detail by detail, against InsightFace's own API.

What it should be is computed here in NumPy and OpenCV from `FaceAnalysis.get`.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.tiny_face_networks import (
    SquareDetector,
    export_detector,
    export_recognizer,
    ir_net,
    randomize,
)
from insightface.app import FaceAnalysis
from insightface.app.common import Face
from onnxruntime import SessionOptions
from torch import Tensor

from stdrc_core.experiments.scores import Case, draw_cases
from stdrc_core.faces.likeness import measure_likeness
from stdrc_core.faces.onnx_finder import OnnxFinder, open_onnx_pack
from stdrc_core.faces.similarity import (
    clip_facesim,
    largest_embeddings,
    largest_faces,
    scored_indices,
)
from stdrc_core.mini.shipped import FACES

SAME = 1e-6

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


class Theirs:
    """FaceSim by hand, with every model of a pack."""

    def __init__(self, folder: Path) -> None:
        options = SessionOptions()
        # Small networks only wait for a second thread.
        options.intra_op_num_threads = 1
        self.analysis = FaceAnalysis(
            name=str(folder), providers=["CPUExecutionProvider"], sess_options=options
        )
        self.analysis.prepare(0)

    def faces(self, rgb: np.ndarray) -> list:
        return self.analysis.get(np.ascontiguousarray(rgb[..., ::-1]))

    def largest(self, rgb: np.ndarray) -> np.ndarray | None:
        faces = self.faces(rgb) or self.faces(padded(rgb))
        if not faces:
            return None
        return largest_of(faces).embedding

    def cosine(self, rgb: np.ndarray, reference: np.ndarray) -> float | None:
        found = self.largest(rgb)
        if found is None:
            return None
        return found @ reference / np.linalg.norm(found) / np.linalg.norm(reference)

    def facesim(self, clip: np.ndarray, reference: np.ndarray) -> float:
        chosen = [clip[int(i)] for i in np.linspace(0, len(clip) - 1, 16).astype(int)]
        cosines = [self.cosine(frame, reference) for frame in chosen]
        kept = [max(0.0, float(each)) for each in cosines if each is not None]
        return float(np.mean(kept)) if kept else 0.0


def largest_of(faces: list) -> Face:
    return max(faces, key=lambda f: (f.bbox[2] - f.bbox[0]) * (f.bbox[3] - f.bbox[1]))


def padded(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    top, left = int(0.25 * height), int(0.25 * width)
    return cv2.copyMakeBorder(rgb, top, top, left, left, cv2.BORDER_CONSTANT, value=(128, 128, 128))


@pytest.fixture(scope="module")
def theirs() -> Theirs:
    return Theirs(FACES)


@pytest.fixture(scope="module")
def faces() -> OnnxFinder:
    return open_onnx_pack(FACES)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return draw_cases(6, seed=5)


def levels(photo: Tensor) -> Tensor:
    return (photo * 255).round().to(torch.uint8)


def e_ref(case: Case, faces: OnnxFinder) -> Tensor:
    (found,) = largest_embeddings(levels(case.photo), faces)
    assert found is not None
    return found


def assert_same(clip: Tensor, case: Case, theirs: Theirs, faces: OnnxFinder) -> float:
    """Both entries against the recomputation; returns the score."""
    reference = theirs.largest(levels(case.photo)[0].numpy())
    expected = theirs.facesim(clip.numpy(), reference)
    found = e_ref(case, faces)
    assert clip_facesim(clip, found, faces) == pytest.approx(expected, abs=SAME)
    indices = scored_indices(len(clip), 16)
    for given in (clip, clip.float() / 255):
        likeness = measure_likeness(given, found, faces, indices=indices)
        assert likeness.facesim == pytest.approx(expected, abs=SAME)
    return expected


def test_a_clip_of_the_person(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    assert assert_same(cases[0].true_clip(), cases[0], theirs, faces) > 0.3


def test_sixteen_frames_evenly_over_a_long_clip(
    cases: list[Case], theirs: Theirs, faces: OnnxFinder
):
    """Another person in every frame that is not looked at."""
    mine, other = cases[0].true_clip(), cases[1].true_clip()
    clip = torch.cat([other] * 3)[:50].clone()
    looked_at = [0, 3, 6, 9, 13, 16, 19, 22, 26, 29, 32, 35, 39, 42, 45, 49]
    clip[looked_at] = mine[[i % len(mine) for i in range(16)]]
    assert assert_same(clip, cases[0], theirs, faces) > 0.3


def test_a_short_clip_repeats_its_frames(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    """Of three frames the last counts once only: 0 eight times, 1 seven times."""
    clip = torch.cat((cases[0].true_clip()[:2], cases[1].true_clip()[:1]))
    score = assert_same(clip, cases[0], theirs, faces)
    cosines = [
        max(0.0, float(theirs.cosine(f, theirs.largest(levels(cases[0].photo)[0].numpy()))))
        for f in clip.numpy()
    ]
    assert score == pytest.approx(np.average(cosines, weights=[8, 7, 1]), abs=SAME)


def two_side_by_side(large: Tensor, small: Tensor, side_px: int) -> Tensor:
    """Clips of two persons, `[F, h, w, 3]` uint8 each, beside each other, the second one smaller
    and at the left."""
    smaller = torch.from_numpy(np.stack([cv2.resize(f, (side_px, side_px)) for f in small.numpy()]))
    below = torch.full((len(smaller), large.shape[1] - side_px, side_px, 3), 90, dtype=torch.uint8)
    return torch.cat((torch.cat((smaller, below), dim=1), large), dim=2)


def test_the_largest_face_counts(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    """Also where a smaller one is detected better, which is so in some frame of some pair."""
    for side_px, i, j in itertools.product((112, 104, 96), range(3), range(3, 6)):
        clip = two_side_by_side(cases[i].true_clip(), cases[j].true_clip(), side_px)
        found = faces.find(clip)
        best = [max(each, key=lambda face: face.face.score) for each in found if each]
        largest = [max(each, key=lambda face: face.face.area_px) for each in found if each]
        if any(one is not other for one, other in zip(best, largest, strict=True)):
            break
    else:
        pytest.fail("the largest face is the best detected one everywhere")
    score = assert_same(clip, cases[i], theirs, faces)
    assert score > clip_facesim(clip, e_ref(cases[j], faces), faces)


def test_frames_without_a_face_are_left_out(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    clip = cases[0].true_clip().clone()
    whole = assert_same(clip, cases[0], theirs, faces)
    clip[:9] = 128
    score = assert_same(clip, cases[0], theirs, faces)
    assert score > 0.7 * whole


def test_a_clip_without_any_face_is_zero(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    clip = torch.full((20, 128, 128, 3), 60, dtype=torch.uint8)
    assert assert_same(clip, cases[0], theirs, faces) == 0.0


def test_negative_cosines_count_as_zero(cases: list[Case], theirs: Theirs, faces: OnnxFinder):
    """Half of the frames show the person, and the photo's embedding is turned against the rest."""
    clip = torch.cat((cases[0].true_clip()[:8], cases[1].true_clip()[:8]))
    mine, other = e_ref(cases[0], faces), e_ref(cases[1], faces)
    reference = torch.nn.functional.normalize(mine - 2 * other, dim=-1)
    cosines = [theirs.cosine(frame, reference.numpy()) for frame in clip.numpy()]
    assert min(cosines) < -0.2
    assert max(cosines) > 0.1
    expected = theirs.facesim(clip.numpy(), reference.numpy())
    assert expected == pytest.approx(np.mean(np.maximum(cosines, 0)), abs=SAME)
    assert clip_facesim(clip, reference, faces) == pytest.approx(expected, abs=SAME)


BOX = torch.tensor([10.0, 12.0, 30.0, 28.0])
POINTS = torch.tensor([[2.0, -3.0], [18.0, -2.0], [10.0, 7.0], [4.0, 15.0], [16.0, 16.0]])


@pytest.fixture(scope="module")
def edge_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds a face at 128 x 128 where a cell is lighter on its left half."""
    folder = tmp_path_factory.mktemp("edge")
    detector = SquareDetector(BOX, POINTS, (1.0, 1.0, 1.0))
    with torch.no_grad():
        score = detector.heads[0][0]
        score.weight[0, :, :, :4] = 40 / 96
        score.weight[0, :, :, 4:] = -40 / 96
        score.bias[0] = -20
    export_detector(detector, folder / "det.onnx", 128)
    export_recognizer(randomize(ir_net()), folder / "rec.onnx")
    return folder


@pytest.mark.parametrize("size", [(128, 128), (64, 64), (200, 256)])
def test_a_frame_without_a_face_is_looked_at_once_more_on_grey(
    edge_pack: Path, size: tuple[int, int]
):
    """A dark block at the frame's left edge: on grey it has the edge that this pack looks for."""
    theirs, faces = Theirs(edge_pack), open_onnx_pack(edge_pack)
    height, width = size
    unit = max(size) // 64
    frame = np.full((*size, 3), 128, dtype=np.uint8)
    frame[..., 1] += np.linspace(0, 60, height).astype(np.uint8)[:, None]
    frame[height // 4 : height // 4 + 12 * unit, : 12 * unit] = 0
    assert theirs.faces(frame) == []
    at = largest_of(theirs.faces(padded(frame)))
    (found,) = largest_faces(torch.from_numpy(frame)[None], faces)
    np.testing.assert_allclose(found.embedding.numpy(), at.normed_embedding, atol=SAME)
    # In pixels of the frame itself.
    corner = np.array([int(0.25 * width), int(0.25 * height)])
    np.testing.assert_allclose(found.face.box.numpy(), at.bbox - np.tile(corner, 2), atol=1e-3)
    np.testing.assert_allclose(found.face.landmarks.numpy(), at.kps - corner, atol=1e-3)
    # A clip in which only some frames need it.
    clip = np.stack((frame, padded(frame)[:height, :width], np.zeros_like(frame)))
    reference = theirs.largest(clip[1])
    expected = theirs.facesim(clip, reference)
    unit_length = torch.from_numpy(reference / np.linalg.norm(reference))
    assert expected > 0
    assert clip_facesim(torch.from_numpy(clip), unit_length, faces) == pytest.approx(
        expected, abs=SAME
    )


def test_clips_of_one_person_are_told_from_clips_of_others(cases: list[Case], faces: OnnxFinder):
    references = [e_ref(case, faces) for case in cases]
    scores = np.array(
        [[clip_facesim(case.true_clip(), e, faces) for e in references] for case in cases]
    )
    same = np.eye(len(cases), dtype=bool)
    assert scores[same].min() > scores[~same].max()
