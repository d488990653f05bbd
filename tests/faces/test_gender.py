"""Gender as the attribute model of a pack has it, against InsightFace's own application."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_face_networks import GenderByRed, export, export_genderage
from insightface.app import FaceAnalysis
from torch import nn

from stdrc_core.experiments.scores import draw_cases
from stdrc_core.faces.finder import largest
from stdrc_core.faces.gender import open_gender_reader
from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.mini.shipped import FACES

# InsightFace calls scikit-image by an older name.
pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs") / "with_gender"
    folder.mkdir()
    for file in FACES.glob("*.onnx"):
        (folder / file.name).write_bytes(file.read_bytes())
    export_genderage(GenderByRed(), folder / "genderage.onnx")
    return folder


def test_gender_is_what_insightface_says(pack: Path) -> None:
    theirs = FaceAnalysis(name=str(pack), providers=["CPUExecutionProvider"])
    theirs.prepare(ctx_id=-1, det_size=(128, 128))
    reader, finder = open_gender_reader(pack), open_onnx_pack(pack)
    seen = set()
    for case in draw_cases(2, seed=5):
        photo = (case.photo[0] * 255).round().byte()
        for tint in ((1.0, 0.4, 0.4), (0.4, 1.0, 1.0)):
            tinted = (photo * torch.tensor(tint)).round().byte()
            face = largest(finder.find(tinted[None])[0])
            (expected,) = theirs.get(tinted.numpy()[..., ::-1].copy(), max_num=1)
            got = reader.read(tinted, face.face)
            assert got == {"M": "man", "F": "woman"}[expected.sex]
            seen.add(got)
    assert seen == {"man", "woman"}


def test_a_pack_without_the_model_has_no_reader(tmp_path: Path) -> None:
    assert open_gender_reader(FACES) is None
    # Other attributes than gender and age.
    file = FACES / "det_mini.onnx"
    (tmp_path / file.name).write_bytes(file.read_bytes())
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    export(network, tmp_path / "attributes.onnx", torch.zeros(1, 3, 96, 96))
    assert open_gender_reader(tmp_path) is None
