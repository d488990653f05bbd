"""FaceSim-Cur: the published layout, and the published preparation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from insightface.app import FaceAnalysis
from insightface.utils import face_align
from torch import nn

from stdrc_core.evaluate.curricular_face import IR101, aligned_crop
from stdrc_core.evaluate.metric_registry import CURRICULAR_FACE
from stdrc_core.faces.detector import Face
from stdrc_core.mini.shipped import FACES

from .conftest import Evaluate, World
from .published import random_ir101
from .test_facesim import bgr_frames

# Of the two published files: names and shapes of a block that widens and of one that does not.
AUTHORS_BLOCK = {"0": "norm", "1": "conv", "2": "prelu", "3": "conv", "4": "norm"}
TFACE_BLOCK = {"0": "norm", "1": "conv", "2": "norm", "3": "prelu", "4": "conv", "5": "norm"}


@pytest.mark.parametrize(
    ("has_middle_norm", "block"), [(False, AUTHORS_BLOCK), (True, TFACE_BLOCK)]
)
def test_names_and_shapes_are_the_published_ones(has_middle_norm: bool, block: dict[str, str]):
    with torch.device("meta"):
        network = IR101(has_middle_norm=has_middle_norm)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["input_layer.0.weight"] == (64, 3, 3, 3)
    assert shapes["input_layer.2.weight"] == (64,)
    assert shapes["output_layer.3.weight"] == (512, 512 * 7 * 7)
    assert shapes["output_layer.4.running_var"] == (512,)
    assert "output_layer.4.weight" not in shapes
    bodies = {int(name.split(".")[1]) for name in shapes if name.startswith("body.")}
    assert bodies == set(range(3 + 13 + 30 + 3))
    # The first blocks of the second, third and fourth stage are the only ones that widen.
    widening = {name.split(".")[1] for name in shapes if "shortcut_layer.0" in name}
    assert widening == {"3", "16", "46"}
    assert shapes["body.3.shortcut_layer.0.weight"] == (128, 64, 1, 1)
    for place, kind in block.items():
        own = {name for name in shapes if name.startswith(f"body.3.res_layer.{place}.")}
        size = {"norm": 5, "conv": 1, "prelu": 1}[kind]
        assert len(own) == size, (place, kind)
    strides = [module.res_layer[-2].stride[0] for module in network.body]
    assert [i for i, stride in enumerate(strides) if stride == 2] == [0, 3, 16, 46]


def test_a_block_adds_up():
    """One block by hand, in numpy but for its convolutions."""
    network = random_ir101(seed=1)
    block, x = network.body[0], torch.randn(2, 64, 8, 8)

    def norm(module: nn.BatchNorm2d, value: torch.Tensor) -> torch.Tensor:
        shape = (1, -1, 1, 1)
        centred = value - module.running_mean.view(shape)
        scale = module.weight / (module.running_var + module.eps).sqrt()
        return centred * scale.view(shape) + module.bias.view(shape)

    first, conv, middle, slope, last_conv, last = block.res_layer
    with torch.no_grad():
        value = norm(middle, conv(norm(first, x)))
        value = torch.where(value > 0, value, value * slope.weight.view(1, -1, 1, 1))
        expected = norm(last, last_conv(value)) + x[:, :, ::2, ::2]
        torch.testing.assert_close(block(x), expected)


def test_the_crop_is_opencvs(world: World):
    """`norm_crop` to 224 pixels and `cv2.resize` to 112, to the last grey level."""
    frame = np.ascontiguousarray(bgr_frames(world.folder / "0_0.mp4")[0][..., ::-1])
    points = np.array([[40, 50], [80, 52], [60, 70], [45, 92], [77, 90]], np.float32)
    crop = face_align.norm_crop(frame, points, 224)
    expected = cv2.resize(crop, (112, 112))
    face = Face(box=torch.zeros(4), landmarks=torch.from_numpy(points), score=1.0)
    ours = aligned_crop(torch.from_numpy(frame), face)
    assert (ours.numpy() == expected.transpose(2, 0, 1)).all()


def test_scores_are_those_of_the_published_steps(world: World, weights: Path, evaluate: Evaluate):
    pair = world.pairs[0]
    (result,) = evaluate([pair], metrics=["facesim_cur"], weights=weights, frames=2)["results"]
    network = IR101().eval()
    network.load_state_dict(torch.load(weights / CURRICULAR_FACE.name, weights_only=True))
    app = FaceAnalysis(
        name=str(FACES), allowed_modules=["detection"], providers=["CPUExecutionProvider"]
    )
    app.prepare(0)

    @torch.no_grad()
    def embed(bgr: np.ndarray) -> np.ndarray:
        bgr = np.ascontiguousarray(bgr)
        (face,) = app.get(bgr)
        crop = face_align.norm_crop(bgr, landmark=face.kps, image_size=224)
        rgb = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_BGR2RGB), (112, 112))
        pixels = torch.from_numpy(rgb.transpose(2, 0, 1))[None].float()
        return network((pixels / 255 - 0.5) / 0.5)[0].numpy()

    frames = bgr_frames(world.folder / pair["video"])
    photo = embed(cv2.imread(str(world.folder / pair["reference"])))
    expected = []
    for index in (0, 16):
        face = embed(frames[index])
        expected.append(float(face @ photo / np.linalg.norm(face) / np.linalg.norm(photo)))
    assert result["scores"]["facesim_cur"]["curve"] == pytest.approx(expected, abs=1e-6)
    # Random weights see little difference, but they see one.
    assert max(expected) < 0.999
