"""The five-point warp against InsightFace, OpenCV, scikit-image and finite differences."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from helpers.real_photo import LANDMARKS_PX, astronaut
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from insightface.utils import face_align
from skimage.transform import SimilarityTransform
from torch import Tensor

from stdrc_core.faces.align import (
    ARCFACE_TEMPLATE_PX,
    arcface_template,
    similarity_transform,
    transform_points,
    warp_face,
)

# OpenCV 5 interpolates exactly, in grey levels; 4.x rounds positions to 1/32 of a pixel.
GREY_LEVELS = 0.05 if int(cv2.__version__.split(".")[0]) >= 5 else 7.0

# InsightFace's own call too; scikit-image is about to rename it.
pytestmark = pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")

angles = st.floats(-math.pi, math.pi)
scales = st.floats(0.05, 20)
shifts = st.tuples(st.floats(-2000, 2000), st.floats(-2000, 2000))
seeds = st.integers(0, 2**32 - 1)


def matrix(angle: float, scale: float, shift: tuple[float, float]) -> Tensor:
    """`[2, 3]` float64: a rotation, a scale and a shift."""
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[a, -b, shift[0]], [b, a, shift[1]]], dtype=torch.float64)


def apply(transform: Tensor, points: Tensor) -> Tensor:
    """`[2, 3]` on `[N, 2]`."""
    return points @ transform[:, :2].mT + transform[:, 2]


def umeyama(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    transform = SimilarityTransform()
    transform.estimate(source, target)
    return transform.params[:2]


def random_points(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, 2, dtype=torch.float64, generator=generator) * 50 + 200


def photo(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(astronaut()).permute(2, 0, 1)[None].to(dtype)


def landmarks(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor([LANDMARKS_PX], dtype=dtype)


@settings(deadline=None, max_examples=80)
@given(angle=angles, scale=scales, shift=shifts, seed=seeds)
def test_a_similarity_is_recovered_exactly(
    angle: float, scale: float, shift: tuple[float, float], seed: int
):
    expected, source = matrix(angle, scale, shift), random_points(seed, 5)
    found = similarity_transform(source[None], apply(expected, source))
    torch.testing.assert_close(found, expected[None], rtol=1e-9, atol=1e-9 * (1 + 2000 * scale))


@settings(deadline=None, max_examples=80)
@given(seed=seeds, mirror=st.booleans())
def test_it_is_umeyama_without_reflection(seed: int, mirror: bool):
    """Points that fit no similarity, mirrored ones too, against scikit-image's SVD."""
    source, target = random_points(seed, 5), torch.tensor(ARCFACE_TEMPLATE_PX).double()
    if mirror:
        source[:, 0] = 100 - target[:, 0] + 0.05 * source[:, 0]
        source[:, 1] = target[:, 1]
    found = similarity_transform(source[None], target)[0]
    expected = umeyama(source.numpy(), target.numpy())
    # Where rotation hardly matters, its two estimates differ by more than rounding.
    assume(np.abs(expected[:, :2]).max() > 1e-3)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-6)


def test_each_face_of_a_batch_has_its_own_transform_and_target():
    source, target = random_points(3, 4, 5), random_points(4, 4, 5)
    together = similarity_transform(source, target)
    for i in range(4):
        torch.testing.assert_close(
            together[i], similarity_transform(source[i : i + 1], target[i])[0]
        )
    assert similarity_transform(source[:0], target[0]).shape == (0, 2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("at", [(0.0, 0.0), (123.4, 77.7), (3333.3, 1e-3)])
def test_points_that_coincide_are_shifted_onto_the_targets_centre(
    dtype: torch.dtype, at: tuple[float, float]
):
    source = torch.tensor(at, dtype=dtype).expand(1, 5, 2).clone().requires_grad_()
    target = arcface_template()
    found = similarity_transform(source, target)
    torch.testing.assert_close(found[0, :, :2].detach(), torch.eye(2, dtype=dtype))
    moved = transform_points(found, source).mean(dim=1)
    torch.testing.assert_close(moved.detach(), target.mean(dim=0)[None].to(dtype))
    found.sum().backward()
    assert torch.isfinite(source.grad).all()


def test_points_that_agree_with_the_target_in_no_direction_are_shifted_too():
    target = torch.tensor([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=torch.float64)
    source = (target * torch.tensor([1, -1]) + 7)[None].requires_grad_()
    assert np.abs(umeyama(source[0].detach().numpy(), target.numpy())[:, :2]).max() < 1e-9
    found = similarity_transform(source, target)
    expected = torch.tensor([[[1, 0, -7], [0, 1, -7]]], dtype=torch.float64)
    torch.testing.assert_close(found.detach(), expected)
    found.sum().backward()
    assert torch.isfinite(source.grad).all()


def test_points_on_a_line_are_no_special_case():
    source = torch.tensor([[i, 2.0 * i] for i in range(5)], dtype=torch.float64)
    expected = matrix(0.7, 3, (5, -6))
    found = similarity_transform(source[None], apply(expected, source))
    torch.testing.assert_close(found[0], expected)


def test_its_gradients_are_those_of_finite_differences():
    source = random_points(1, 2, 5).requires_grad_()
    target = random_points(2, 5).requires_grad_()
    assert torch.autograd.gradcheck(similarity_transform, (source, target))


@pytest.mark.parametrize("size_px", [112, 224, 336, 128, 256, 512, 896])
def test_the_template_is_insightfaces(size_px: int):
    """Recovered from InsightFace itself: where its transform brings the template of 112."""
    points = np.array(ARCFACE_TEMPLATE_PX)
    to_crop = torch.from_numpy(face_align.estimate_norm(points, size_px))
    expected = apply(to_crop, torch.from_numpy(points))
    torch.testing.assert_close(arcface_template(size_px), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size_px", [0, -112, 100, 111, 160])
def test_other_sizes_are_refused(size_px: int):
    with pytest.raises(ValueError, match=rf"^size was {size_px}; needs a multiple of 112 or 128"):
        warp_face(photo(), landmarks(), size_px)


def norm_crop(image: np.ndarray, points: np.ndarray, size_px: int) -> np.ndarray:
    """InsightFace's crop of a float image `[H, W, 3]`, where OpenCV rounds no grey level."""
    return face_align.norm_crop(image.astype(np.float32), points, size_px)


@pytest.mark.parametrize("size_px", [112, 224, 128, 256])
@pytest.mark.parametrize("angle", [0.0, 0.5, -2.8])
def test_a_crop_of_a_photo_is_norm_crops(size_px: int, angle: float):
    centre = torch.tensor([226.0, 129.0], dtype=torch.float64)
    turned = apply(matrix(angle, 1, (0, 0)), landmarks(torch.float64)[0] - centre) + centre
    crop = warp_face(photo(), turned[None].float(), size_px)
    expected = norm_crop(astronaut(), turned.numpy(), size_px)
    assert crop.shape == (1, 3, size_px, size_px)
    assert np.abs(crop[0].permute(1, 2, 0).numpy() - expected).max() < GREY_LEVELS


@settings(deadline=None, max_examples=30)
@given(
    angle=angles,
    scale=st.floats(0.3, 4),
    shift=st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    seed=seeds,
)
def test_any_crop_of_noise_is_norm_crops_also_over_the_edge(
    angle: float, scale: float, shift: tuple[float, float], height: int, width: int, seed: int
):
    """Noise is the hardest image to interpolate; the border is black in both."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.float32)
    template = arcface_template()
    points = apply(matrix(angle, scale, shift), template - template.mean(dim=0))
    crop = warp_face(torch.from_numpy(image).permute(2, 0, 1)[None], points[None].float())
    expected = norm_crop(image, points.numpy(), 112)
    assert np.abs(crop[0].permute(1, 2, 0).numpy() - expected).max() < max(GREY_LEVELS, 0.1)


def test_a_crop_that_needs_no_warp_is_the_image():
    image = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    crop = warp_face(image, arcface_template()[None].float())
    torch.testing.assert_close(crop, image, rtol=0, atol=1e-4)


def test_each_image_is_cropped_at_its_own_face():
    images = torch.cat((photo(), photo().flip(-1)))
    points = torch.cat((landmarks(), landmarks() + 30))
    together = warp_face(images, points)
    for i in range(2):
        torch.testing.assert_close(together[i], warp_face(images[i : i + 1], points[i : i + 1])[0])
    assert warp_face(images[:0], points[:0]).shape == (0, 3, 112, 112)


def test_its_gradients_are_those_of_finite_differences_for_pixels_and_landmarks():
    generator = torch.Generator().manual_seed(5)
    images = torch.rand(1, 3, 3, 4, dtype=torch.float64, generator=generator).requires_grad_()
    # Landmarks off the lattice: bilinear interpolation has kinks on it.
    points = arcface_template()[None] / 35 + 0.2137
    points.requires_grad_()
    weights = torch.randn(3, 112, 112, dtype=torch.float64, generator=generator)

    def weighed(images: Tensor, points: Tensor) -> Tensor:
        return (warp_face(images, points) * weights).sum() / 100

    assert torch.autograd.gradcheck(
        weighed, (images, points), eps=1e-7, atol=1e-4, rtol=1e-3, fast_mode=True
    )


def test_a_face_that_was_not_found_leaves_the_gradients_finite():
    """Landmarks of zeros in a batch, weighed with 0 in the loss: no NaN."""
    images = photo().expand(2, -1, -1, -1).clone().requires_grad_()
    points = torch.cat((landmarks(), torch.zeros(1, 5, 2))).requires_grad_()
    loss = warp_face(images, points).mean(dim=(1, 2, 3)) @ torch.tensor([1.0, 0.0])
    loss.backward()
    assert torch.isfinite(images.grad).all()
    assert torch.isfinite(points.grad).all()
    assert points.grad[0].abs().max() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_and_autocast_do_not_move_the_face(dtype: torch.dtype):
    images = (photo() / 255).to(dtype)
    expected = warp_face(images.float(), landmarks())
    with torch.autocast("cpu", torch.bfloat16):
        crop = warp_face(images, landmarks())
    assert crop.dtype == torch.float32
    torch.testing.assert_close(crop, expected, rtol=0, atol=0)
    assert warp_face(photo(torch.float64), landmarks(torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("images", "points", "sentence"),
    [
        (torch.zeros(3, 8, 8), torch.zeros(1, 5, 2), r"^images had shape \[3, 8, 8\]; needs RGB"),
        (torch.zeros(1, 8, 8, 3), torch.zeros(1, 5, 2), r"^images had shape \[1, 8, 8, 3\]"),
        (torch.zeros(1, 3, 0, 8), torch.zeros(1, 5, 2), r"^images had shape \[1, 3, 0, 8\]"),
        (
            torch.zeros(2, 3, 8, 8),
            torch.zeros(1, 5, 2),
            r"^landmarks .*needs one face .*\[2, 5, 2\]",
        ),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 2), r"^landmarks had shape \[1, 3, 2\]"),
        (torch.zeros(1, 3, 8, 8).byte(), torch.zeros(1, 5, 2), r"^images hold torch.uint8 values"),
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 5, 2).long(), r"^landmarks hold torch.int64"),
    ],
)
def test_other_shapes_and_dtypes_are_refused_by_name(images: Tensor, points: Tensor, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        warp_face(images, points)


def test_the_callers_tensors_stay_unchanged():
    images, points = photo(), landmarks()
    before = images.clone(), points.clone()
    warp_face(images, points)
    assert torch.equal(images, before[0])
    assert torch.equal(points, before[1])
