"""The guided velocity of the frozen base, which a distilled student learns in one pass.

    v = v0 + s_y (vy - v0) + s_r (vyr - vy)                                       (Eq. 13)

The base is the teacher. Its passes keep nothing for a backward pass, and one call of it makes all
three streams of a batch: those with a reference have more tokens and so are a group of their own,
and the two without are another. A condition that a sample drops has no direction: without a
reference vyr is vy, and without a text vy is v0. Streams of weight 0 do not run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..method.guidance import GuidanceScales
from ..method.sampling import sigma_schedule
from .distil_config import DistilSection
from .trainable import adapter_off

# Samples of one shape: noisy video [B, C, T, H, W], t [B], context [B, L, D], references
# [B, C, K, H, W] or None, and how many of the T frames, from the first on, are clean. The model
# takes all groups of a batch in one call, so that a wrapper such as DDP sees one forward pass.
Group = tuple[Tensor, Tensor, Tensor, Tensor | None, int]
Velocity = Callable[..., list[Tensor]]
# The base's velocities of groups, made by the model in training or beside it.
Teacher = Callable[[Velocity, list[Group]], list[Tensor]]


def base_under_adapter(velocity: Velocity, groups: list[Group]) -> list[Tensor]:
    """The teacher of a LoRA: the model in training with the LoRA turned off.

    It is called without DDP around it, which would exchange buffers in each pass, though processes
    may make different numbers of them.
    """
    model = velocity.module if isinstance(velocity, DistributedDataParallel) else velocity
    with adapter_off(model):
        return model(groups)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A group of B samples, and by which scales each is guided."""

    group: Group
    scales: Sequence[tuple[float, float]]
    """s_y and s_r of each sample."""
    has_text: Sequence[bool]
    """Whether a sample's context is its caption, or the empty prompt."""

    def at(self, rows: Sequence[int], video: Tensor, t: Tensor) -> Asked:
        """The samples in these rows, with `video` and `t` in place of their own."""
        _, _, context, reference, num_clean_frames = self.group
        of_rows = [each if each is None else each[rows] for each in (context, reference)]
        return Asked(
            group=(video, t, *of_rows, num_clean_frames),
            scales=[self.scales[row] for row in rows],
            has_text=[self.has_text[row] for row in rows],
        )

    def weights(self, row: int) -> tuple[float, float, float]:
        """The weights of v0, vy and vyr of a sample, in which streams that are the same are one."""
        text_scale, reference_scale = self.scales[row]
        scales = GuidanceScales(text=text_scale, reference=reference_scale)
        empty, text, reference = scales.weights
        if self.group[3] is None:
            text, reference = text + reference, 0.0
        if not self.has_text[row]:
            empty, text = empty + text, 0.0
        return empty, text, reference


@torch.no_grad()
def guided_velocities(
    teacher: Teacher, velocity: Velocity, asked: Sequence[Asked], empty_context: Tensor
) -> list[Tensor]:
    """Eq. 13 of each sample, `[B, C, T, H, W]` float32 for each of `asked`.

    `velocity` is the model in training and `empty_context` `[L, D]` embeds the empty prompt.
    """
    groups: list[Group] = []
    # For each group, where its rows belong: (place in `asked`, row there, weight).
    parts: list[list[tuple[int, int, float]]] = []
    # Rows without a reference, by their shape: (video, t, context, where they belong).
    bare: dict[tuple, list[tuple[Tensor, Tensor, Tensor, tuple[int, int, float]]]] = {}
    for place, each in enumerate(asked):
        video, t, context, reference, num_clean_frames = each.group
        shown: list[tuple[int, int, float]] = []
        rows = bare.setdefault((video.shape[1:], num_clean_frames), [])
        empty = empty_context.to(context, non_blocking=True)
        for row in range(len(video)):
            of_empty, of_text, of_reference = each.weights(row)
            for seen, weight in ((empty, of_empty), (context[row], of_text)):
                if not _is_zero(weight):
                    rows.append((video[row], t[row], seen, (place, row, weight)))
            if not _is_zero(of_reference):
                shown.append((place, row, of_reference))
        if shown:
            at = [row for _, row, _ in shown]
            groups.append((video[at], t[at], context[at], reference[at], num_clean_frames))
            parts.append(shown)
    for (_, num_clean_frames), rows in bare.items():
        if rows:
            *tensors, where = zip(*rows, strict=True)
            groups.append((*map(torch.stack, tensors), None, num_clean_frames))
            parts.append([*where])
    guided = [torch.zeros_like(each.group[0], dtype=torch.float32) for each in asked]
    for output, belong in zip(teacher(velocity, groups), parts, strict=True):
        for own, (place, row, weight) in zip(output, belong, strict=True):
            guided[place][row] += weight * own.float()
    return guided


def trajectory_sigmas(section: DistilSection, num_tokens: int) -> Tensor:
    """The noise levels of the teacher's sampling of a clip, falling from 1 to 0."""
    return sigma_schedule(section.trajectory_steps, num_tokens)


@torch.no_grad()
def trajectory_states(
    teacher: Teacher,
    velocity: Velocity,
    asked: Asked,
    num_steps: Sequence[int | None],
    section: DistilSection,
    empty_context: Tensor,
) -> Tensor:
    """The group's videos, where those with a number of steps are states of the guided base.

    These begin as pure noise in `asked`, and each takes so many Euler steps of
    `trajectory_sigmas`; clean first frames stay as they are.
    """
    video = asked.group[0].clone()
    num_clean_frames = asked.group[4]
    sigmas = trajectory_sigmas(section, video[0, 0].numel())
    for step in range(max(filter(None, num_steps), default=0)):
        rows = [row for row, number in enumerate(num_steps) if (number or 0) > step]
        t = sigmas[step].to(video).expand(len(rows))
        now = asked.at(rows, video[rows], t)
        (guided,) = guided_velocities(teacher, velocity, [now], empty_context)
        guided[:, :, :num_clean_frames] = 0
        video[rows] = video[rows] + (sigmas[step + 1] - sigmas[step]).to(video) * guided
    return video


def _is_zero(weight: float) -> bool:
    return math.isclose(weight, 0.0, abs_tol=1e-9)
