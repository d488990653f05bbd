"""What a step of training draws for a sample: its time and noise, and what of it is shown.

Every random number of a sample comes from a generator that is seeded by the run, the step and the
sample's place in the global batch. Splitting the batch over processes or micro-batches, and
resuming the run, therefore change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..method.flow import resolution_shift, sample_logit_normal, sample_uniform
from ..method.grid import LTX_SCALE_FACTORS
from .distil_config import DistilSection
from .distillation import trajectory_sigmas
from .objective_config import ObjectiveSection, ReferenceSection


@dataclass(frozen=True, kw_only=True)
class Person:
    """A sample's reference at slot 1 or above, and its person in the clip.

    The fields are as those of the same names in `TrainingSample`.
    """

    photo: Tensor
    landmarks: Tensor
    has_face: Tensor
    e_ref: Tensor


@dataclass(frozen=True, kw_only=True)
class Portrait:
    """One more photo of a sample's person.

    The fields are as those of the same names in `TrainingSample`.
    """

    photo: Tensor
    e_ref: Tensor


@dataclass(frozen=True, kw_only=True)
class TrainingSample:
    """One cached clip, ready for the objective."""

    latent: Tensor
    """Clean video latent z_0, `[C, T, H, W]`."""
    context: Tensor
    """Text embedding, `[L, D]`."""
    photo: Tensor
    """The reference photo before augmentation, `[1, h, w, 3]` in [0, 1]."""
    landmarks: Tensor
    """The person's five landmarks in each pixel frame, `[F, 5, 2]` (x, y) in pixels."""
    has_face: Tensor
    """Whether the person's face was found in a frame, `[F]` bool."""
    e_ref: Tensor
    """Embedding of the face in the unaugmented photo, `[E]` of length 1."""
    further: tuple[Person, ...] = ()
    """The references at slots 1, 2, ...; the four fields above are of the one at slot 0."""
    gallery: Sequence[Portrait] = ()
    """More photos of the person at slot 0, some of which a step may show at slots 1, 2, ...; each
    is read when it is looked at. Who has one has no further references."""

    @property
    def photos(self) -> list[Tensor]:
        """The photos of all references, in the order of their slots."""
        return [self.photo, *(each.photo for each in self.further)]

    def seen_from(self, slot: int) -> TrainingSample:
        """The sample with the person at `slot` in place of the one at slot 0."""
        return self if slot == 0 else replace(self, **vars(self.further[slot - 1]))

    def without_first(self, num_latent_frames: int) -> TrainingSample:
        """The sample as if no face had been found in its first latent frames."""
        if num_latent_frames == 0:
            return self
        has_face = self.has_face.clone()
        has_face[: (num_latent_frames - 1) * LTX_SCALE_FACTORS.time + 1] = False
        return replace(self, has_face=has_face)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random choices for one sample in one step."""

    t: float
    """Time of the noised latent, from 0 (clean) to 1 (noise)."""
    noise: Tensor
    """`[C, T, H, W]`, as those latent frames of the sample that the step takes: the first T."""
    num_clean_frames: int
    """How many of these frames, from the first on, stay clean and out of the loss: 0 or 1."""
    drops_text: bool
    drops_reference: bool
    shows_face: bool
    """Whether the identity losses look at the sample."""
    augmentation: torch.Generator
    """Draws the augmentation, and after it what the identity losses look at."""
    from_gallery: tuple[int, ...] = ()
    """Which photos of the sample's gallery stand at slots 1, 2, ..."""
    photos: tuple[Tensor, ...] | None = None
    """The references after their augmentation, `[1, h, w, 3]` in [0, 1]; None until it is made."""
    e_ref: Tensor | None = None
    """The mean embedding of the sample's photos where several are of one person, `[E]` of length 1;
    None where each person has one photo."""

    scales: tuple[float, float] | None = None
    """The s_y and s_r by which a distillation's teacher is guided; None where there is none."""
    trajectory_step: int | None = None
    """After how many steps of the teacher's sampling the sample is a state of it; None where it is
    a noised clip."""

    @property
    def num_frames(self) -> int:
        """How many latent frames of the sample the step takes."""
        return self.noise.shape[1]


def draw(
    sample: TrainingSample,
    seed: tuple[int, int, int],
    objective: ObjectiveSection,
    reference: ReferenceSection,
) -> Draws:
    """Draws the choices for a sample; `seed` is the run's seed, the step and the sample's place in
    the global batch."""
    _, step, _ = seed
    generator = seeded_generator(*seed)
    num_frames, num_clean_frames = _draw_frames(sample, objective, generator)
    from_gallery = _draw_from_gallery(sample, reference, generator)
    latent = sample.latent[:, :num_frames]
    if objective.timesteps == "uniform":
        t = sample_uniform(1, generator)
    else:
        shift = objective.timestep_shift
        if shift is None:
            shift = resolution_shift(latent[0].numel())
        t = sample_logit_normal(1, shift, generator)
    drop_text, drop_reference, show_face = torch.rand(3, generator=generator).tolist()
    choice = Draws(
        t=t.item(),
        noise=torch.randn(latent.shape, generator=generator),
        num_clean_frames=num_clean_frames,
        drops_text=drop_text < objective.text_p_drop,
        drops_reference=drop_reference < reference.p_drop,
        shows_face=show_face < objective.identity_share and step >= objective.identity_from,
        augmentation=generator,
        from_gallery=from_gallery,
    )
    if objective.distil is None:
        return choice
    return _with_teacher(choice, objective.distil, generator)


def seeded_generator(*seed: int) -> torch.Generator:
    """A CPU generator whose seed is a hash of all the numbers given."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def num_references(sample: TrainingSample, choice: Draws) -> int:
    """How many references stand beside the sample's video in this step; 0 if they are dropped."""
    if choice.drops_reference:
        return 0
    return 1 + len(sample.further) + len(choice.from_gallery)


def _with_teacher(choice: Draws, section: DistilSection, generator: torch.Generator) -> Draws:
    """The draws with the scales of the teacher, and with the time of its state where it is one.

    A state has no true clip, so that no identity loss looks for its face.
    """
    parts = torch.rand(len(section.ranges), generator=generator).tolist()
    scales = tuple(
        low + part * (high - low) for part, (low, high) in zip(parts, section.ranges, strict=True)
    )
    choice = replace(choice, scales=scales)
    if torch.rand((), generator=generator).item() >= section.trajectory_share:
        return choice
    step = int(torch.randint(section.trajectory_steps, (), generator=generator))
    sigmas = trajectory_sigmas(section, choice.noise[0].numel())
    return replace(choice, t=sigmas[step].item(), trajectory_step=step, shows_face=False)


def _draw_frames(
    sample: TrainingSample, objective: ObjectiveSection, generator: torch.Generator
) -> tuple[int, int]:
    """How many latent frames of a sample a step takes, and how many of them stay clean.

    The first latent frame holds one pixel frame: taken alone, it is an image. Without shares for
    them nothing is drawn.
    """
    num_frames = sample.latent.shape[1]
    first, single = objective.first_frame_share, objective.single_frame_share
    if first + single == 0:
        return num_frames, 0
    drawn = torch.rand((), generator=generator).item()
    if first <= drawn < first + single:
        return 1, 0
    # A sample of one frame would have nothing to learn beside a clean one.
    return num_frames, int(drawn < first and num_frames > 1)


def _draw_from_gallery(
    sample: TrainingSample, reference: ReferenceSection, generator: torch.Generator
) -> tuple[int, ...]:
    """Which photos of its gallery a sample shows beside its own, or all where it has too few.

    Where every sample shows one photo nothing is drawn.
    """
    if reference.max_photos in (None, 1):
        return ()
    num_more = torch.multinomial(torch.tensor(reference.num_photos), 1, generator=generator).item()
    return tuple(torch.randperm(len(sample.gallery), generator=generator)[:num_more].tolist())
