"""Trains and writes the miniature face pack, a folder of InsightFace's own format.

    det_mini.onnx   SCRFD-style detector, input 128 x 128
    rec_mini.onnx   ArcFace-style recogniser, 112 x 112

Both learn from drawn persons; `face_report` measures them on other persons.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..faces.align import warp_face
from ..files import written_aside
from ..mini.drawing import SIDE_PX
from .descent import descend
from .face_networks import (
    NUM_ANCHORS,
    STRIDES,
    DetectionNet,
    RecognitionNet,
    ScrfdOutputs,
    stack_maps,
)
from .portraits import Portraits

DETECTOR_FILE, RECOGNIZER_FILE = "det_mini.onnx", "rec_mini.onnx"
CROP_PX = 112
# ArcFace's scale and an additive margin on the cosine.
_SCALE, _MARGIN = 24.0, 0.25
# A stride is asked for faces whose longer side is between these many strides; the ranges overlap.
_LEAST_STRIDES, _MOST_STRIDES = 1.5, 7.0
# Cells count as face that are as near to its middle as this share of its size.
_CENTRE_SHARE = 0.22
_LEAST_FACE_PX, _MOST_FACE_PX = 20.0, 150.0
# Of a batch's pictures, so many are empty scenes and so many show two persons.
_SHARE_EMPTY, _SHARE_PAIRS = 0.2, 0.15


def train_recognizer(
    portraits: Portraits, *, num_steps: int, num_persons: int = 64, lr: float = 2e-3, seed: int = 0
) -> RecognitionNet:
    """Trains a recogniser of `num_steps` steps.

    A batch has two pictures of each of `num_persons` persons; it learns that those of one person
    are nearer to each other than to those of others.
    """
    network, generator = _seeded(RecognitionNet, seed), torch.Generator().manual_seed(seed)

    def loss() -> Tensor:
        persons = torch.randperm(portraits.num_persons, generator=generator)[:num_persons]
        picks = torch.rand(len(persons), portraits.per_person, generator=generator)
        pair = picks.argsort(dim=1)[:, :2] + persons[:, None] * portraits.per_person
        views = [_crops(portraits, pair[:, i], generator) for i in range(2)]
        first, second = F.normalize(network(torch.cat(views)), dim=1).chunk(2)
        cosines = first @ second.T
        logits = _SCALE * (cosines - _MARGIN * torch.eye(len(cosines)))
        truth = torch.arange(len(cosines))
        return (F.cross_entropy(logits, truth) + F.cross_entropy(logits.T, truth)) / 2

    descend(network, loss, num_steps=num_steps, lr=lr, name="recogniser")
    return network


def train_detector(
    portraits: Portraits, *, num_steps: int, batch_size: int = 48, lr: float = 2e-3, seed: int = 0
) -> DetectionNet:
    """Trains a detector of `num_steps` steps on portraits at random sizes and places, on empty
    scenes and on pairs of persons."""
    network, generator = _seeded(DetectionNet, seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for head in network.heads:
            head[-1].bias[:NUM_ANCHORS] = -4.0

    def loss() -> Tensor:
        frames, boxes, landmarks = _scattered(portraits, batch_size, generator)
        score, box, points = stack_maps(network((frames - 127.5) / 128))
        positive, target_box, target_points = detection_targets(boxes, landmarks)
        error = F.binary_cross_entropy_with_logits(score, positive, reduction="none")
        # The loss is focal, so that the many easy cells weigh little.
        wrong = (score.sigmoid() - positive).abs().square()
        num_positive = positive.sum().clamp(min=1)
        found = positive.bool()
        distances = F.smooth_l1_loss(box[found], target_box[found], reduction="sum", beta=0.2)
        shifts = F.smooth_l1_loss(points[found], target_points[found], reduction="sum", beta=0.2)
        return ((wrong * error).sum() * 4 + distances + 0.6 * shifts) / num_positive

    descend(network, loss, num_steps=num_steps, lr=lr, name="detector")
    return network


def write_detector(folder: Path, detector: DetectionNet) -> None:
    """Writes the detector as ONNX into the pack in `folder`."""
    side = SIDE_PX
    _export(ScrfdOutputs(detector), folder / DETECTOR_FILE, torch.zeros(1, 3, side, side), 9, {})


def write_recognizer(folder: Path, recognizer: RecognitionNet) -> None:
    """Writes the recogniser as ONNX into the pack in `folder`."""
    axes = {"input": {0: "batch"}, "output_0": {0: "batch"}}
    crops = torch.zeros(1, 3, CROP_PX, CROP_PX)
    _export(recognizer, folder / RECOGNIZER_FILE, crops, 1, axes)


def detection_targets(boxes: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the detector is to find at its N anchors: which are a face, `[B, N]` of 0 and 1, and the
    boxes `[B, N, 4]` and landmarks `[B, N, 10]` in strides from each anchor.

    `boxes` `[B, K, 4]` and `landmarks` `[B, K, 5, 2]` of up to K faces a frame are in pixels, and
    NaN where there is no face. An anchor answers for the face whose middle is nearest.
    """
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = (boxes[..., 2:] - boxes[..., :2]).amax(dim=2)
    positives, distances, shifts = [], [], []
    for stride in STRIDES:
        steps = torch.arange(SIDE_PX // stride) * stride
        anchors = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1).flatten(0, 1)
        anchors = anchors.float().repeat_interleave(NUM_ANCHORS, dim=0)  # [n, 2] (x, y)
        offset = (anchors - middle[:, :, None]).abs().amax(dim=3)  # [B, K, n]
        nearest = offset.nan_to_num(torch.inf).argmin(dim=1)  # [B, n]
        own_offset, own_size = offset.gather(1, nearest[:, None])[:, 0], size.gather(1, nearest)
        fits = (own_size / stride > _LEAST_STRIDES) & (own_size / stride < _MOST_STRIDES)
        positives.append((own_offset < (_CENTRE_SHARE * own_size).clamp(min=0.75 * stride)) & fits)
        frames = torch.arange(len(boxes))[:, None]
        box, points = boxes[frames, nearest], landmarks[frames, nearest]  # [B, n, ...]
        corners = torch.cat([anchors - box[..., :2], box[..., 2:] - anchors], dim=2)
        distances.append(corners / stride)
        shifts.append((points - anchors[:, None]).flatten(2) / stride)
    return torch.cat(positives, 1).float(), torch.cat(distances, 1), torch.cat(shifts, 1)


def _crops(portraits: Portraits, indices: Tensor, generator: torch.Generator) -> Tensor:
    """Aligned faces `[B, 3, 112, 112]` as the recogniser takes them, a little worse than drawn.

    Landmarks are off by a pixel or two, as a detector's are; pictures are blurred, noisy and of
    another brightness, as decoded and generated ones are.
    """
    frames = portraits.pixels[indices].float() / 255
    size = (portraits.boxes[indices, 2:] - portraits.boxes[indices, :2]).amax(dim=1)
    jitter = torch.randn(len(indices), 5, 2, generator=generator) * 0.015 * size[:, None, None]
    frames = _blurred(frames, float(torch.rand((), generator=generator)) * 1.6)
    gain = 1 + 0.2 * (torch.rand(len(frames), 3, 1, 1, generator=generator) - 0.5)
    noise = torch.randn(frames.shape, generator=generator) * 0.03
    crops = warp_face(frames * gain + noise, portraits.landmarks[indices] + jitter, CROP_PX)
    return (crops.clamp(0, 1) * 255 - 127.5) / 127.5


def _blurred(frames: Tensor, sigma: float) -> Tensor:
    if sigma < 0.3:
        return frames
    taps = torch.arange(-3, 4).float()
    kernel = torch.softmax(-taps.square() / (2 * sigma**2), dim=0)
    kernel = (kernel[:, None] * kernel)[None, None].expand(3, 1, 7, 7)
    return F.conv2d(F.pad(frames, (3,) * 4, mode="replicate"), kernel, groups=3)


def _scattered(
    portraits: Portraits, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Frames `[B, 3, S, S]` in 0 to 255, their faces' boxes `[B, 2, 4]` and landmarks
    `[B, 2, 5, 2]` in pixels, which are NaN where there is no face."""
    num_empty = int(count * _SHARE_EMPTY) if len(portraits.empty) else 0
    num_pairs = int(count * _SHARE_PAIRS) if len(portraits.pairs.pixels) else 0
    boxes = torch.full((count, 2, 4), torch.nan)
    landmarks = torch.full((count, 2, 5, 2), torch.nan)
    num_single = count - num_empty - num_pairs
    single, boxes[:num_single, 0], landmarks[:num_single, 0] = _moved(
        portraits, num_single, generator
    )
    sets = [single]
    if num_empty:
        chosen = torch.randint(len(portraits.empty), (num_empty,), generator=generator)
        sets.append(portraits.empty[chosen].float())
    if num_pairs:
        pairs = portraits.pairs
        chosen = torch.randint(len(pairs.pixels), (num_pairs,), generator=generator)
        sets.append(pairs.pixels[chosen].float())
        boxes[-num_pairs:], landmarks[-num_pairs:] = pairs.boxes[chosen], pairs.landmarks[chosen]
    frames = torch.cat(sets)
    frames = _blurred(frames, float(torch.rand((), generator=generator)) * 1.5)
    gain = 1 + 0.3 * (torch.rand(len(frames), 3, 1, 1, generator=generator) - 0.5)
    noise = torch.randn(frames.shape, generator=generator) * 6
    return (frames * gain + noise).clamp(0, 255), boxes, landmarks


def _moved(
    portraits: Portraits, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures `[B, 3, S, S]` in 0 to 255 with one face, its box `[B, 4]` and its landmarks
    `[B, 5, 2]`.

    Half of the pictures are scaled about their face and moved; what is then outside the picture is
    filled with a grey.
    """
    faces = torch.randint(len(portraits.pixels), (count,), generator=generator)
    frames = portraits.pixels[faces].float()
    boxes, landmarks = portraits.boxes[faces], portraits.landmarks[faces]

    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    low, high = math.log(_LEAST_FACE_PX), math.log(_MOST_FACE_PX)
    wanted = torch.exp(low + (high - low) * torch.rand(len(faces), generator=generator))
    # Half of the pictures keep their size, which faces have in the miniature's clips.
    keeps = torch.rand(len(faces), generator=generator) < 0.5
    zoom = torch.where(keeps, torch.ones(()), wanted / size)
    place = SIDE_PX * (0.2 + 0.6 * torch.rand(len(faces), 2, generator=generator))
    place = torch.where(keeps[:, None], middle, place)

    # affine_grid maps output to input, both in [-1, 1].
    matrix = torch.zeros(len(faces), 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = 1 / zoom
    half = SIDE_PX / 2
    matrix[:, :, 2] = (middle - half) / half - (place - half) / half / zoom[:, None]
    grid = F.affine_grid(matrix, list(frames.shape), align_corners=False)
    fill = 255 * torch.rand(len(faces), 1, 1, 1, generator=generator)
    frames = F.grid_sample(frames - fill, grid, align_corners=False) + fill
    boxes = (boxes.unflatten(1, (2, 2)) - middle[:, None]) * zoom[:, None, None] + place[:, None]
    landmarks = (landmarks - middle[:, None]) * zoom[:, None, None] + place[:, None]
    return frames, boxes.flatten(1), landmarks


def _seeded(build, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _export(network: nn.Module, path: Path, example: Tensor, num_outputs: int, axes: dict) -> None:
    with warnings.catch_warnings(), written_aside(path) as partial:
        # torch warns that this exporter is the older one, but the newer one needs another package.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network.eval(),
            (example,),
            str(partial),
            dynamo=False,
            opset_version=11,
            input_names=["input"],
            output_names=[f"output_{i}" for i in range(num_outputs)],
            dynamic_axes=axes,
        )
