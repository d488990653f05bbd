"""Measures how good the miniature face pack is, on persons that no training saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..faces.finder import FaceFinder, open_face_pack
from ..train.collect.overlap import iou
from .portraits import Pairs, Portraits

# What the build's report calls it.
ON_UNSEEN = "faces: on unseen persons"
_FALSE_ACCEPTS = 1e-3
_SAME_FACE = 0.5


def face_report(folder: Path, portraits: Portraits) -> dict[str, float]:
    """Figures of detection and verification by the pack in `folder`.

    `portraits` are two or more pictures of each of several unseen persons. `detection_rate` is the
    share of pictures with a face whose box overlaps the true one by half or more (IoU).
    `false_detections` is how many faces are found in an empty scene, on average. `pairs_found` is
    the share of pictures of two persons in which just two faces are found, one on each.
    `landmark_error` is the mean distance of landmarks from the true ones, over the face's longer
    side. `roc_auc` and `tar_at_far_1e-3` compare cosines of two pictures of one person with those
    of two persons, over the pictures with a face; where the detector finds no face they are left
    out.
    """
    finder = open_face_pack(folder)
    persons, embeddings, errors = [], [], []
    for i, faces in enumerate(finder.find(portraits.pixels.movedim(1, -1))):
        box, points = portraits.boxes[i], portraits.landmarks[i]
        best = max(faces, key=lambda each: iou(each.face.box, box), default=None)
        if best is None or iou(best.face.box, box) < _SAME_FACE:
            continue
        side = (box[2:] - box[:2]).amax()
        errors.append((best.face.landmarks - points).norm(dim=1).mean().item() / side.item())
        persons.append(i // portraits.per_person)
        embeddings.append(best.embedding)
    false = sum(map(len, finder.find(portraits.empty.movedim(1, -1))))
    report: dict[str, float] = {
        "num_persons": portraits.num_persons,
        "num_pictures": len(portraits.pixels),
        "detection_rate": len(persons) / len(portraits.pixels),
        "false_detections": false / max(1, len(portraits.empty)),
    }
    if len(portraits.pairs.pixels):
        report["pairs_found"] = _pairs_found(finder, portraits.pairs)
    if not persons:
        return report
    matrix, owner = torch.stack(embeddings).numpy(), np.array(persons)
    upper = np.triu(np.ones((len(owner), len(owner)), dtype=bool), k=1)
    cosines, same = (matrix @ matrix.T)[upper], (owner[:, None] == owner)[upper]
    genuine, impostor = cosines[same], np.sort(cosines[~same])
    threshold = np.quantile(impostor, 1 - _FALSE_ACCEPTS)
    return report | {
        "landmark_error": float(np.mean(errors)),
        # The share of pairs, one genuine and one impostor cosine, that are in the right order.
        "roc_auc": float(np.searchsorted(impostor, genuine).mean() / len(impostor)),
        "tar_at_far_1e-3": float((genuine > threshold).mean()),
        "genuine_cosine": float(genuine.mean()),
        "impostor_cosine": float(impostor.mean()),
    }


def _pairs_found(finder: FaceFinder, pairs: Pairs) -> float:
    found = 0
    for i, faces in enumerate(finder.find(pairs.pixels.movedim(1, -1))):
        overlaps = [
            [iou(face.face.box, box) >= _SAME_FACE for face in faces] for box in pairs.boxes[i]
        ]
        found += len(faces) == 2 and [sum(each) for each in overlaps] == [1, 1]
    return found / len(pairs.pixels)
