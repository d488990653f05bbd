"""The five-point similarity warp in front of ArcFace, differentiable in pixels and landmarks.

It is InsightFace's `norm_crop`: Umeyama's similarity without reflection from the landmarks to the
ArcFace template, then a bilinear warp with a border of zeros. In the plane Umeyama's similarity has
a closed form without SVD. With the centred points x of the source and y of the target,

    a = sum(x . y) / sum(|x|^2),    b = sum(x cross y) / sum(|x|^2),
    M = [[a, -b], [b, a]],          t = mean(target) - M mean(source).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

NUM_LANDMARKS = 5
ARCFACE_SIZE_PX = 112

# Where the landmarks stand in a crop of 112 x 112 pixels, as (x, y): left eye, right eye, nose tip,
# left and right corner of the mouth, with left and right as the image shows them.
ARCFACE_TEMPLATE_PX = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)

# A crop of a multiple of 128 pixels has the template of 112 pixels in its middle.
_WIDE_SIZE_PX = 128
# Differences of up to this many rounding errors are taken as none.
_ROUNDING_ERRORS = 8


def is_crop_size(size_px: int) -> bool:
    """Returns whether `norm_crop` can make crops with this side: multiples of 112 or of 128."""
    return size_px > 0 and (size_px % ARCFACE_SIZE_PX == 0 or size_px % _WIDE_SIZE_PX == 0)


def arcface_template(size_px: int = ARCFACE_SIZE_PX) -> Tensor:
    """Returns where the landmarks stand in a crop of `size_px`: `[5, 2]` float64 (x, y) pixels.

    For a multiple of 112 the template is scaled. For a multiple of 128 it is moved 8 pixels to the
    right, which keeps it in the middle, and then scaled. Raises ValueError for any other size.
    """
    if not is_crop_size(size_px):
        raise ValueError(
            f"size was {size_px}; needs a multiple of {ARCFACE_SIZE_PX} or {_WIDE_SIZE_PX} pixels."
        )
    template = torch.tensor(ARCFACE_TEMPLATE_PX, dtype=torch.float64)
    if size_px % ARCFACE_SIZE_PX == 0:
        return template * (size_px / ARCFACE_SIZE_PX)
    template[:, 0] += (_WIDE_SIZE_PX - ARCFACE_SIZE_PX) / 2
    return template * (size_px / _WIDE_SIZE_PX)


def similarity_transform(source: Tensor, target: Tensor) -> Tensor:
    """Returns the rotation, scale and shift that bring `source` closest to `target`.

    `source` is `[B, N, 2]` and `target` is `[N, 2]` or `[B, N, 2]`, points (x, y) in one unit. The
    result is M `[B, 2, 3]` in the source's dtype, with target = M[:, :, :2] source + M[:, :, 2]
    in the sense of least squares. It is differentiable. Mirrored points are not mirrored back: they
    get the best transform without a reflection.

    Rotation and scale are undefined where all source points coincide, or agree with the target in
    no direction. The result is then the plain shift of one centre to the other. It is finite and
    has finite gradients, so that a face that was not found can stay in a batch with weight 0.
    """
    target = target.to(source)
    source_mean, target_mean = source.mean(dim=-2), target.mean(dim=-2)
    x, y = source - source_mean[..., None, :], target - target_mean[..., None, :]
    spread, target_spread = x.square().sum(dim=(-2, -1)), y.square().sum(dim=(-2, -1))
    dot = (x * y).sum(dim=(-2, -1))
    cross = (x[..., 0] * y[..., 1] - x[..., 1] * y[..., 0]).sum(dim=-1)

    tiny = (_ROUNDING_ERRORS * torch.finfo(source.dtype).eps) ** 2
    is_one_point = spread <= tiny * source.square().sum(dim=(-2, -1))
    disagrees = dot.square() + cross.square() <= tiny * spread * target_spread
    is_shift = is_one_point | disagrees
    divisor = torch.where(is_shift, 1, spread)
    a = torch.where(is_shift, 1, dot / divisor)
    b = torch.where(is_shift, 0, cross / divisor)

    turn = torch.stack((a, -b, b, a), dim=-1).unflatten(-1, (2, 2))
    shift = target_mean - _turned(turn, source_mean)
    return torch.cat((turn, shift[..., None]), dim=-1)


def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Applies transforms `[B, 2, 3]` to points `[B or 1, N, 2]`, and returns points `[B, N, 2]`."""
    return _turned(transform[:, None, :, :2], points) + transform[:, None, :, 2]


def warp_face(images: Tensor, landmarks: Tensor, size_px: int = ARCFACE_SIZE_PX) -> Tensor:
    """Returns InsightFace's `norm_crop` of one face per image: `[B, 3, size_px, size_px]`.

    `images` is `[B, 3, H, W]`, floating point of any range. `landmarks` is `[B, 5, 2]`, (x, y)
    pixels, where (0, 0) is the centre of the first pixel. Beyond the image's edge the crop is 0. B
    may be 0. The warp works in float32, or in float64 where both inputs are float64, whatever
    precision autocast or TF32 would take.

    Raises ValueError for other shapes or dtypes, and for a size that is no multiple of 112 or 128.
    """
    _check_inputs(images, landmarks)
    is_double = images.dtype == landmarks.dtype == torch.float64
    dtype = torch.float64 if is_double else torch.float32
    images, landmarks = images.to(dtype), landmarks.to(images.device, dtype)
    to_image = _inverse(similarity_transform(landmarks, arcface_template(size_px)))
    positions = transform_points(to_image, _pixel_centres(size_px).to(to_image)[None])
    # For grid_sample, -1 and 1 are the outer edges of the first and last pixel.
    sides = positions.new_tensor((images.shape[-1], images.shape[-2]))
    grid = ((2 * positions + 1) / sides - 1).unflatten(1, (size_px, size_px))
    return F.grid_sample(images, grid, "bilinear", padding_mode="zeros", align_corners=False)


def aligned_bounds(landmarks: Tensor, size_px: int = ARCFACE_SIZE_PX) -> Tensor:
    """Returns the box that `warp_face` reads of each image: `[B, 4]` left, top, right and bottom.

    `landmarks` is `[B, 5, 2]`, (x, y) pixels. The box is in pixels too; its positions lie between
    pixel centres, and a position p reads the pixels floor(p) and floor(p) + 1. The box may go
    beyond the image's edge.
    """
    last = size_px - 1
    corners = landmarks.new_tensor([[0, 0], [last, 0], [0, last], [last, last]])
    to_image = _inverse(similarity_transform(landmarks, arcface_template(size_px)))
    positions = transform_points(to_image, corners[None])
    return torch.cat((positions.amin(dim=1), positions.amax(dim=1)), dim=1)


def _turned(turn: Tensor, points: Tensor) -> Tensor:
    """Applies matrices `[..., 2, 2]` to points `[..., 2]` without a matrix product.

    Autocast and TF32 would round the factors of a matrix product, which moves the face by whole
    pixels.
    """
    return (turn * points[..., None, :]).sum(dim=-1)


def _inverse(transform: Tensor) -> Tensor:
    """Returns the inverses of similarities `[B, 2, 3]` in that shape: M^-1 = M^T / (a^2 + b^2)."""
    turn, shift = transform[..., :2], transform[..., 2]
    inverse = turn.mT / turn[..., :1, :].square().sum(dim=-1, keepdim=True)
    return torch.cat((inverse, -_turned(inverse, shift)[..., None]), dim=-1)


def _pixel_centres(size_px: int) -> Tensor:
    """Returns (x, y) of each pixel of a square image, row by row: `[size_px * size_px, 2]`."""
    rows, columns = torch.meshgrid(torch.arange(size_px), torch.arange(size_px), indexing="ij")
    return torch.stack((columns, rows), dim=-1).flatten(0, 1)


def _check_inputs(images: Tensor, landmarks: Tensor) -> None:
    shape = list(images.shape)
    if images.ndim != 4 or shape[1] != 3 or 0 in shape[2:]:
        raise ValueError(f"images had shape {shape}; needs RGB images [B, 3, height, width].")
    if list(landmarks.shape) != [shape[0], NUM_LANDMARKS, 2]:
        raise ValueError(
            f"landmarks had shape {list(landmarks.shape)}; needs one face of five (x, y) points an "
            f"image, [{shape[0]}, {NUM_LANDMARKS}, 2]."
        )
    for name, tensor in (("images", images), ("landmarks", landmarks)):
        if not tensor.is_floating_point():
            raise ValueError(f"{name} hold {tensor.dtype} values; needs floating-point values.")
