"""How good the miniature face pack is, measured on persons that no training saw.

The pack is loaded as a user's is: a folder, by InsightFace's own `FaceAnalysis`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .portraits import Portraits

_FALSE_ACCEPTS = 1e-3


def face_report(folder: Path, portraits: Portraits) -> dict[str, float]:
    """Detection and verification figures; `portraits` are of unseen persons, two each or more.

    `detection_rate`: pictures with a face whose box overlaps the true one by half or more (IoU).
    `false_detections`: faces found in an empty scene, on average. `landmark_error`: mean distance
    over the face's longer side. `roc_auc` and `tar_at_far_1e-3`: cosines of two pictures of one
    person against two of different persons, over the pictures with a face.
    """
    app = _analysis(folder)
    persons, embeddings, errors = [], [], []
    for i, (picture, box, points) in enumerate(
        zip(portraits.pixels, portraits.boxes.numpy(), portraits.landmarks.numpy(), strict=True)
    ):
        faces = app.get(_bgr(picture))
        face = max(faces, key=lambda each: _iou(each.bbox, box), default=None)
        if face is None or _iou(face.bbox, box) < 0.5:
            continue
        side = max(box[2] - box[0], box[3] - box[1])
        errors.append(np.linalg.norm(face.kps - points, axis=1).mean() / side)
        persons.append(i // portraits.per_person)
        embeddings.append(face.normed_embedding)
    matrix, owner = np.stack(embeddings), np.array(persons)
    upper = np.triu(np.ones((len(owner), len(owner)), dtype=bool), k=1)
    cosines, same = (matrix @ matrix.T)[upper], (owner[:, None] == owner)[upper]
    genuine, impostor = cosines[same], np.sort(cosines[~same])
    threshold = np.quantile(impostor, 1 - _FALSE_ACCEPTS)
    return {
        "num_persons": portraits.num_persons,
        "num_pictures": len(portraits.pixels),
        "detection_rate": len(owner) / len(portraits.pixels),
        "false_detections": float(np.mean([len(app.get(_bgr(e))) for e in portraits.empty])),
        "landmark_error": float(np.mean(errors)),
        # The share of pairs that are in the right order.
        "roc_auc": float(np.searchsorted(impostor, genuine).mean() / len(impostor)),
        "tar_at_far_1e-3": float((genuine > threshold).mean()),
        "genuine_cosine": float(genuine.mean()),
        "impostor_cosine": float(impostor.mean()),
    }


def _analysis(folder: Path) -> Any:
    from insightface.app import FaceAnalysis

    # InsightFace looks for <root>/models/<name>, and takes a path for the name.
    app = FaceAnalysis(
        name=str(folder.resolve()),
        allowed_modules=["detection", "recognition"],
        providers=["CPUExecutionProvider"],
    )
    app.prepare(ctx_id=-1)
    return app


def _bgr(picture) -> np.ndarray:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy()[..., ::-1])


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    overlap = np.clip(high - low, 0, None).prod()
    areas = [(box[2:4] - box[:2]).prod() for box in (one, other)]
    return float(overlap / (sum(areas) - overlap))
