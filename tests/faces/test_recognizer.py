"""The frozen ArcFace against InsightFace's own recogniser on the same pack, and its gradients."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.real_photo import LANDMARKS_PX, astronaut
from helpers.tiny_face_networks import (
    RandomDetector,
    SquareDetector,
    export,
    export_detector,
    export_recognizer,
    ir_net,
    mobile_face_net,
    randomize,
)
from insightface import model_zoo
from insightface.app import FaceAnalysis
from insightface.app.common import Face as InsightFace
from insightface.utils.face_align import norm_crop
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from stdrc_core.faces.align import arcface_template
from stdrc_core.faces.onnx_module import OnnxModule
from stdrc_core.faces.pack import FaceTask, read_pack
from stdrc_core.faces.recognizer import Recognizer

NETWORKS = {"ir": ir_net, "mobile": mobile_face_net}
# Of embeddings of length 1. InsightFace rounds its crops to grey levels, which these networks of
# random weights feel; on the same crop without rounding nothing but interpolation is left, which
# OpenCV 4 does at positions rounded to 1/32 of a pixel.
IS_EXACT_OPENCV = int(cv2.__version__.split(".")[0]) >= 5
SAME_CROP = 1e-5
SAME_WARP = 1e-4 if IS_EXACT_OPENCV else 3e-2
SAME_FACE = 1e-2 if IS_EXACT_OPENCV else 3e-2

pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Packs with a recogniser alone, by the name of its network."""
    folders = {}
    for name, build in NETWORKS.items():
        folders[name] = tmp_path_factory.mktemp(name)
        export_recognizer(randomize(build()), folders[name] / "w600k.onnx")
    return folders


def insightface_recognizer(folder: Path):
    return model_zoo.get_model(str(folder / "w600k.onnx"), providers=["CPUExecutionProvider"])


def grey_levels(num: int, size_px: int = 112) -> np.ndarray:
    """`[num, size, size, 3]` RGB uint8."""
    rng = np.random.default_rng(2)
    return rng.integers(0, 256, (num, size_px, size_px, 3), dtype=np.uint8)


def as_images(pixels: np.ndarray) -> Tensor:
    """`[B, H, W, 3]` uint8 -> `[B, 3, H, W]` in [0, 1]."""
    return torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float() / 255


def bgr(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., ::-1])


def normalized(features: np.ndarray) -> np.ndarray:
    return features / np.linalg.norm(features, axis=-1, keepdims=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_embedding_is_insightfaces(packs: dict[str, Path], name: str):
    pixels = grey_levels(3)
    features = insightface_recognizer(packs[name]).get_feat([bgr(each) for each in pixels])
    embeddings = Recognizer.from_pack(packs[name])(as_images(pixels))
    np.testing.assert_allclose(embeddings.numpy(), normalized(features), rtol=0, atol=SAME_CROP)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_face_in_a_photo_is_aligned_and_embedded_as_insightface_does(
    packs: dict[str, Path], name: str
):
    recognizer, theirs = Recognizer.from_pack(packs[name]), insightface_recognizer(packs[name])
    points = np.array(LANDMARKS_PX, dtype=np.float32)
    embedding = recognizer.embed_faces(
        as_images(astronaut()[None]), torch.from_numpy(points)[None]
    )[0].numpy()
    # The crop of a float image, which OpenCV does not round.
    crop = norm_crop(bgr(astronaut()).astype(np.float32), points)
    unrounded = normalized(theirs.get_feat(crop))[0]
    np.testing.assert_allclose(embedding, unrounded, rtol=0, atol=SAME_WARP)
    face = InsightFace(kps=points)
    theirs.get(bgr(astronaut()), face)
    np.testing.assert_allclose(embedding, face.normed_embedding, rtol=0, atol=SAME_FACE)
    assert embedding @ face.normed_embedding > (0.9998 if IS_EXACT_OPENCV else 0.998)


def test_the_whole_way_is_face_analysis(tmp_path: Path):
    """A pack of detector and recogniser: `FaceAnalysis.get` finds, aligns and embeds."""
    points = (arcface_template() - arcface_template()[0]).float() * 0.8
    box = torch.tensor([24.0, 24.0, 60.0, 60.0])
    export_detector(SquareDetector(box, points, (1, 1, 1)), tmp_path / "det.onnx", 128)
    export_recognizer(randomize(ir_net()), tmp_path / "w600k.onnx")
    pixels = grey_levels(1, 128) // 2
    pixels[0, 40:48, 32:40] = 255
    analysis = FaceAnalysis(name=str(tmp_path), providers=["CPUExecutionProvider"])
    analysis.prepare(0)
    (face,) = analysis.get(bgr(pixels[0]))
    landmarks = (torch.tensor([32.0, 40.0]) + points)[None]
    np.testing.assert_allclose(face.kps, landmarks[0].numpy(), atol=1e-4)
    embedding = Recognizer.from_pack(tmp_path).embed_faces(as_images(pixels), landmarks)
    np.testing.assert_allclose(embedding[0].numpy(), face.normed_embedding, rtol=0, atol=SAME_FACE)


def test_crops_of_128_pixels_are_aligned_as_insightface_does(tmp_path: Path):
    network = randomize(nn.Sequential(nn.Conv2d(3, 8, 16, 16), nn.PReLU(8), nn.Flatten()))
    export_recognizer(network, tmp_path / "w600k.onnx", size_px=128)
    recognizer = Recognizer.from_pack(tmp_path)
    assert recognizer.size_px == 128
    face = InsightFace(kps=np.array(LANDMARKS_PX, dtype=np.float32))
    insightface_recognizer(tmp_path).get(bgr(astronaut()), face)
    embedding = recognizer.embed_faces(
        as_images(astronaut()[None]), torch.tensor([LANDMARKS_PX]).float()
    )
    np.testing.assert_allclose(embedding[0].numpy(), face.normed_embedding, rtol=0, atol=SAME_FACE)


def test_a_network_that_scales_its_input_itself_is_given_grey_levels(tmp_path: Path):
    """As MXNet's exports do, which InsightFace knows by the names of their first operators."""
    constants = {"mean": np.float32(127.5), "scale": np.float32(1 / 128)}
    constants["weight"] = np.random.default_rng(0).normal(size=(8, 3, 56, 56)).astype(np.float32)
    nodes = [
        helper.make_node("Sub", ["data", "mean"], ["a"], name="_minusscalar0"),
        helper.make_node("Mul", ["a", "scale"], ["b"], name="_mulscalar0"),
        helper.make_node("Conv", ["b", "weight"], ["c"]),
        helper.make_node("Flatten", ["c"], ["fc1"]),
    ]
    data = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])
    fc1 = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 32])
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "mxnet", [data], [fc1], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.save(model, tmp_path / "w600k.onnx")
    pixels = grey_levels(2)
    theirs = insightface_recognizer(tmp_path)
    assert (theirs.input_mean, theirs.input_std) == (0.0, 1.0)
    features = np.concatenate([theirs.get_feat(bgr(each)) for each in pixels])
    embeddings = Recognizer.from_pack(tmp_path)(as_images(pixels))
    np.testing.assert_allclose(embeddings.numpy(), normalized(features), rtol=0, atol=SAME_CROP)


def test_gradients_are_those_of_finite_differences(tmp_path: Path):
    """Through network, normalisation and warp, in float64, along random directions."""
    network = randomize(
        nn.Sequential(nn.Conv2d(3, 4, 14, 14), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten())
    )
    export_recognizer(network, tmp_path / "tiny.onnx")
    recognizer = Recognizer.from_pack(tmp_path).double()
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 12, 14, dtype=torch.float64, generator=generator).requires_grad_()
    points = arcface_template().expand(2, -1, -1) / 11 + 0.2137
    points = (points + 0.2 * torch.rand(2, 5, 2, generator=generator)).requires_grad_()
    assert torch.autograd.gradcheck(
        recognizer.embed_faces, (images, points), eps=1e-7, atol=1e-3, rtol=1e-3, fast_mode=True
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pixel_of_the_face_is_told_how_to_look_more_like_the_reference(
    packs: dict[str, Path], name: str
):
    """A few steps down the gradient of 1 - cos bring a crop closer to the reference."""
    recognizer = Recognizer.from_pack(packs[name])
    crop, reference = as_images(grey_levels(2)).split(1)
    target = recognizer(reference)
    losses = []
    for _ in range(6):
        crop = crop.detach().requires_grad_()
        loss = 1 - (recognizer(crop) * target).sum()
        (gradient,) = torch.autograd.grad(loss, crop)
        assert (gradient != 0).float().mean() > 0.95
        crop = crop - 0.02 * gradient / gradient.abs().mean()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_it_is_frozen_and_keeps_out_of_checkpoints(packs: dict[str, Path]):
    recognizer = Recognizer.from_pack(packs["ir"])
    assert list(recognizer.parameters()) == []
    assert recognizer.state_dict() == {}
    crops = as_images(grey_levels(1)).requires_grad_()
    before = recognizer(crops)
    before.sum().backward()
    assert crops.grad.abs().max() > 0
    assert torch.equal(recognizer.train()(crops), before)


def test_autocast_and_low_precision_pixels_change_nothing(packs: dict[str, Path]):
    recognizer = Recognizer.from_pack(packs["ir"])
    crops = as_images(grey_levels(2)).bfloat16()
    expected = recognizer(crops.float())
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = recognizer(crops)
    assert embeddings.dtype == torch.float32
    assert torch.equal(embeddings, expected)


def test_no_faces_give_no_embeddings(packs: dict[str, Path]):
    recognizer = Recognizer.from_pack(packs["mobile"])
    images = torch.zeros(0, 3, 64, 64, requires_grad=True)
    embeddings = recognizer.embed_faces(images, torch.zeros(0, 5, 2))
    assert embeddings.shape == (0, 16)
    embeddings.sum().backward()
    assert images.grad.shape == images.shape


def test_crops_of_another_size_are_refused(packs: dict[str, Path]):
    with pytest.raises(
        ValueError, match=r"\[2, 3, 128, 128\]; the network needs \[B, 3, 112, 112\]"
    ):
        Recognizer.from_pack(packs["ir"])(torch.zeros(2, 3, 128, 128))


class Means(nn.Module):
    """One number an image: enough to be told apart by shape."""

    def __init__(self, size_px: int):
        super().__init__()
        self.example = torch.zeros(1, 3, size_px, size_px)

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def test_the_models_of_a_pack_are_those_that_insightface_takes(tmp_path: Path):
    """Among landmarks (192), attributes (96), sizes unknown to it, and a second of each kind."""
    sizes = {"1k3d68": 192, "genderage": 96, "odd": 120, "small": 64, "w600k": 112, "zzz": 224}
    for name, size_px in sizes.items():
        network = Means(size_px)
        export(network, tmp_path / f"{name}.onnx", network.example)
    for name in ("det_10g", "scrfd"):
        export_detector(randomize(RandomDetector()), tmp_path / f"{name}.onnx", 64)
    theirs = FaceAnalysis(
        name=str(tmp_path),
        allowed_modules=list(FaceTask),
        providers=["CPUExecutionProvider"],
    )
    models = {FaceTask(name): Path(model.model_file) for name, model in theirs.models.items()}
    pack = read_pack(tmp_path)
    assert pack.models == models
    assert {task: path.stem for task, path in models.items()} == {
        FaceTask.DETECTION: "det_10g",
        FaceTask.RECOGNITION: "w600k",
        FaceTask.GENDERAGE: "genderage",
    }
    assert len(pack.files) == 8


def leave_empty(folder: Path) -> None:
    folder.mkdir()


def write_readme(folder: Path) -> None:
    folder.mkdir()
    (folder / "README.txt").write_text("no models here")


def write_detector(folder: Path) -> None:
    folder.mkdir()
    export_detector(RandomDetector(), folder / "det.onnx", 64)


def write_file(folder: Path) -> None:
    folder.write_text("a file of that name")


def write_manifest(folder: Path) -> None:
    write_detector(folder)
    (folder / "manifest.json").write_text(json.dumps({"manifest_version": 2}))


def write_broken(folder: Path) -> None:
    folder.mkdir()
    (folder / "w600k.onnx").write_bytes(b"<!DOCTYPE html>")


def write_rows(folder: Path) -> None:
    folder.mkdir()
    export(nn.Linear(4, 2), folder / "linear.onnx", torch.zeros(1, 4))


def write_unknown_operator(folder: Path) -> None:
    folder.mkdir()
    export_recognizer(nn.Sequential(nn.Flatten(), nn.Tanh()), folder / "w600k.onnx")


def write_odd_size(folder: Path) -> None:
    folder.mkdir()
    export_recognizer(nn.Flatten(), folder / "w600k.onnx", size_px=160)


def write_map(folder: Path) -> None:
    folder.mkdir()
    export_recognizer(nn.Conv2d(3, 1, 8), folder / "w600k.onnx")


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (None, r"^face pack .*pack is no folder; nothing is downloaded: unpack .*buffalo_l"),
        (write_file, r"^face pack .*pack is no folder"),
        (leave_empty, r"^face pack .*pack holds no \.onnx file; .*: unpack an InsightFace pack"),
        (write_readme, r"^face pack .*pack holds no \.onnx file"),
        (write_detector, r"^face pack .*pack has no recognition model among det\.onnx; needs one"),
        (write_manifest, r"^face pack .*pack goes by a manifest of version 2"),
        (write_broken, r"w600k\.onnx could not be read as an ONNX model .*needs a whole \.onnx"),
        (write_rows, r"linear\.onnx takes inputs of shapes \[\(None, 4\)\]; .*move the file"),
        (write_unknown_operator, r"w600k\.onnx: operator Tanh is not supported"),
        (write_odd_size, r"w600k\.onnx turns \[None, 3, 160, 160\] into .*multiple of 112 or 128"),
        (write_map, r"w600k\.onnx turns \[None, 3, 112, 112\] into \[None, 1, 105, 105\]"),
    ],
)
def test_a_pack_without_a_usable_recognizer_is_refused_in_one_sentence(
    tmp_path: Path, write: Callable[[Path], None] | None, sentence: str
):
    folder = tmp_path / "pack"
    if write:
        write(folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=sentence) as caught:
        Recognizer.from_pack(folder)
    assert str(caught.value).endswith(".")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_whose_name_looks_like_a_pattern_is_read(tmp_path: Path):
    folder = tmp_path / "[models] *"
    folder.mkdir()
    export_recognizer(randomize(mobile_face_net()), folder / "w600k.onnx")
    assert isinstance(Recognizer.from_pack(folder).network, OnnxModule)
