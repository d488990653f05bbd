"""The miniature face pack: what its detector learns from, and the shipped one on unseen persons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stdrc_core.mini.drawing import SIDE_PX
from stdrc_core.mini.shipped import FACES
from stdrc_core.mini_build.face_networks import NUM_ANCHORS, STRIDES, DetectionNet, RecognitionNet
from stdrc_core.mini_build.face_pack import (
    detection_targets,
    write_detector,
    write_recognizer,
)
from stdrc_core.mini_build.face_report import face_report
from stdrc_core.mini_build.portraits import Portraits, draw_portraits


@pytest.fixture(scope="module")
def unseen() -> Portraits:
    return draw_portraits(30, 2, seed=123, unseen=True, num_empty=20, num_pairs=20)


def anchors() -> tuple[np.ndarray, np.ndarray]:
    """(x, y) and stride of every anchor, in InsightFace's order: rows (y, x, anchor)."""
    places, strides = [], []
    for stride in STRIDES:
        for y in range(0, SIDE_PX, stride):
            for x in range(0, SIDE_PX, stride):
                places += [(x, y)] * NUM_ANCHORS
                strides += [stride] * NUM_ANCHORS
    return np.array(places, dtype=np.float32), np.array(strides, dtype=np.float32)


@settings(deadline=None, max_examples=40)
@given(
    left=st.floats(0, 90), top=st.floats(0, 90), width=st.floats(15, 120), height=st.floats(15, 120)
)
def test_what_an_anchor_learns_gives_the_face_back(
    left: float, top: float, width: float, height: float
):
    """As SCRFD decodes it: edges at anchor -/+ distance * stride, points at anchor + shift."""
    box = torch.tensor([[[left, top, left + width, top + height]]])
    points = box[:, :, None, :2] + torch.rand(1, 1, 5, 2) * torch.tensor([width, height])
    positive, distances, shifts = detection_targets(box, points)
    place, stride = anchors()
    edges = distances[0].numpy() * stride[:, None]
    decoded = np.concatenate([place - edges[:, :2], place + edges[:, 2:]], axis=1)
    assert np.allclose(decoded, box[0, 0].numpy(), atol=1e-3)
    found = place[:, None] + (shifts[0].numpy() * stride[:, None]).reshape(-1, 5, 2)
    assert np.allclose(found, points[0, 0].numpy(), atol=1e-3)
    # Those that answer for the face stand in it, and there are some for each face in the frame.
    chosen = place[positive[0].numpy() > 0]
    middle = np.array([left + width / 2, top + height / 2])
    assert (np.abs(chosen - middle) <= 0.5 * max(width, height) + 24).all()
    assert len(chosen) > 0 or (middle > SIDE_PX - 16).any()


def test_of_two_faces_each_anchor_learns_the_nearer_one():
    boxes = torch.tensor([[[14.0, 40.0, 54.0, 90.0], [74.0, 30.0, 114.0, 80.0]]])
    points = boxes[:, :, None, :2] + torch.rand(1, 2, 5, 2) * 40
    positive, distances, shifts = detection_targets(boxes, points)
    place, stride = anchors()
    middles = ((boxes[0, :, :2] + boxes[0, :, 2:]) / 2).numpy()
    nearer = np.abs(place[:, None] - middles).max(axis=2).argmin(axis=1)
    edges = distances[0].numpy() * stride[:, None]
    decoded = np.concatenate([place - edges[:, :2], place + edges[:, 2:]], axis=1)
    found = place[:, None] + (shifts[0].numpy() * stride[:, None]).reshape(-1, 5, 2)
    chosen = positive[0].numpy() > 0
    assert np.allclose(decoded[chosen], boxes[0].numpy()[nearer[chosen]], atol=1e-3)
    assert np.allclose(found[chosen], points[0].numpy()[nearer[chosen]], atol=1e-3)
    # What answers for either face alone answers for it in the pair, and nothing else does.
    alone = [detection_targets(boxes[:, [i]], points[:, [i]])[0][0].numpy() > 0 for i in (0, 1)]
    assert all(each.any() for each in alone)
    assert np.array_equal(chosen, alone[0] | alone[1])
    # A place without a face changes nothing.
    nothing = torch.full((1, 1, 4), torch.nan), torch.full((1, 1, 5, 2), torch.nan)
    beside = detection_targets(
        torch.cat([boxes[:, :1], nothing[0]], dim=1), torch.cat([points[:, :1], nothing[1]], dim=1)
    )
    assert np.array_equal(beside[0][0].numpy() > 0, alone[0])


def test_an_empty_scene_teaches_no_face():
    nothing = torch.full((1, 1, 4), torch.nan), torch.full((1, 1, 5, 2), torch.nan)
    assert detection_targets(*nothing)[0].sum() == 0


def test_a_pack_is_written_as_insightface_reads_it(tmp_path: Path):
    """Untrained, but whole: the real InsightFace opens it and tells its models apart."""
    from insightface.app import FaceAnalysis

    folder = tmp_path / "pack"
    folder.mkdir()
    write_detector(folder, DetectionNet())
    write_recognizer(folder, RecognitionNet())
    app = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
    assert set(app.models) == {"detection", "recognition"}
    assert app.models["detection"].use_kps
    assert app.models["recognition"].input_size == (112, 112)


def test_the_shipped_pack_finds_and_knows_unseen_persons(unseen: Portraits):
    report = face_report(FACES, unseen)
    assert report["detection_rate"] > 0.97
    assert report["false_detections"] < 0.05
    assert report["pairs_found"] > 0.9
    assert report["landmark_error"] < 0.06
    assert report["roc_auc"] > 0.995
    assert report["genuine_cosine"] > 0.7
    assert abs(report["impostor_cosine"]) < 0.1


def test_the_real_insightface_says_the_same_of_the_shipped_pack(unseen: Portraits):
    """`FaceAnalysis` on a folder, offline: the way of buffalo_l."""
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name=str(FACES), providers=["CPUExecutionProvider"])
    app.prepare(ctx_id=-1)
    embeddings = []
    for picture in unseen.pixels[:20]:
        bgr = np.ascontiguousarray(picture.permute(1, 2, 0).numpy()[..., ::-1])
        (face,) = app.get(bgr)
        embeddings.append(face.normed_embedding)
    cosines = np.stack(embeddings) @ np.stack(embeddings).T
    same = np.kron(np.eye(10), np.ones((2, 2))) > 0
    assert cosines[same].min() > cosines[~same].max()
