"""The loss of a training step (docs/method.md section 4), from a batch in memory to a scalar.

    L = L_flow + w(t) (l_id L_id + l_tic L_tic)                                  (Eq. 11)

Every random number of a sample comes from a generator that is seeded by the run, the step and the
sample's place in the global batch. Splitting the batch over processes or micro-batches, and
resuming the run, therefore change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..method.flow import (
    add_noise,
    clean_estimate,
    identity_weight,
    resolution_shift,
    sample_logit_normal,
    sample_uniform,
    target_velocity,
)
from ..method.reference import in_slots
from .config import ObjectiveSection, ReferenceSection

# Samples of one number of references: noisy video [B, C, T, H, W], t [B], context [B, L, D], and
# references [B, C, K, H, W] or None. The model takes all groups of a batch in one call, so that a
# wrapper such as DDP sees one forward pass.
Group = tuple[Tensor, Tensor, Tensor, Tensor | None]
Velocity = Callable[[list[Group]], list[Tensor]]
# Maps B photos [1, h, w, 3] in [0, 1], of any sizes, to clean reference latents [B, C, 1, H, W].
EncodeReferences = Callable[[Sequence[Tensor]], Tensor]


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

    @property
    def photos(self) -> list[Tensor]:
        """The photos of all references, in the order of their slots."""
        return [self.photo, *(each.photo for each in self.further)]

    def seen_from(self, slot: int) -> TrainingSample:
        """The sample with the person at `slot` in place of the one at slot 0."""
        return self if slot == 0 else replace(self, **vars(self.further[slot - 1]))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random choices for one sample in one step."""

    t: float
    """Time of the noised latent, from 0 (clean) to 1 (noise)."""
    noise: Tensor
    """`[C, T, H, W]`, as the sample's latent."""
    drops_text: bool
    drops_reference: bool
    shows_face: bool
    """Whether the identity losses look at the sample."""
    augmentation: torch.Generator
    """Draws the augmentation, and after it what the identity losses look at."""
    photos: tuple[Tensor, ...] | None = None
    """The references after their augmentation, `[1, h, w, 3]` in [0, 1]; None until it is made."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Means over a batch; `total` (Eq. 11) is differentiated, the others are for the log."""

    total: Tensor
    flow: Tensor
    identity: Tensor
    consistency: Tensor


# Maps clean estimates [B, C, T, H, W], their samples and generators to L_id and L_tic; each is [B],
# and 0 for a sample without a face.
FaceTerms = Callable[
    [Tensor, Sequence[TrainingSample], Sequence[torch.Generator]], tuple[Tensor, Tensor]
]


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
    if objective.timesteps == "uniform":
        t = sample_uniform(1, generator)
    else:
        shift = objective.timestep_shift
        if shift is None:
            shift = resolution_shift(sample.latent[0].numel())
        t = sample_logit_normal(1, shift, generator)
    drop_text, drop_reference, show_face = torch.rand(3, generator=generator).tolist()
    return Draws(
        t=t.item(),
        noise=torch.randn(sample.latent.shape, generator=generator),
        drops_text=drop_text < objective.text_p_drop,
        drops_reference=drop_reference < reference.p_drop,
        shows_face=show_face < objective.identity_share and step >= objective.identity_from,
        augmentation=generator,
    )


def seeded_generator(*seed: int) -> torch.Generator:
    """A CPU generator whose seed is a hash of all the numbers given."""
    digest = hashlib.blake2b(repr(seed).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


class Objective:
    """The loss of a batch; it holds what is frozen and is given the model in training."""

    def __init__(
        self,
        objective: ObjectiveSection,
        reference: ReferenceSection,
        *,
        encode_references: EncodeReferences,
        empty_context: Tensor,
        face_losses: FaceTerms | None = None,
        fit: Callable[[Tensor], Tensor] = lambda photo: photo,
    ) -> None:
        """`empty_context` `[L, D]` is the embedding of the empty prompt.

        `fit` is what of `encode_references` a photo can go through by itself before its turn.

        Raises ValueError where the identity losses have a weight and `face_losses` is missing.
        """
        if objective.has_identity_losses and face_losses is None:
            raise ValueError(
                "face_losses is missing; needs a decoder and a face model where "
                "objective.lambda_id or objective.lambda_tic is above 0."
            )
        self.objective, self.reference = objective, reference
        self.encode_references, self.empty_context = encode_references, empty_context
        self.fit = fit
        self.face_losses = face_losses if objective.has_identity_losses else None
        self.augment = reference.augmentation

    def with_photos(self, sample: TrainingSample, choice: Draws) -> Draws:
        """The draws with the sample's photos augmented (Eq. 5) and fitted, each photo by itself.

        No network takes part in it, so that it can be done long before the sample's turn.
        """
        if choice.drops_reference or choice.photos is not None:
            return choice
        photos = [self.augment(photo, choice.augmentation) for photo in sample.photos]
        return replace(choice, photos=tuple(map(self.fit, photos)))

    def __call__(
        self, velocity: Velocity, samples: Sequence[TrainingSample], draws: Sequence[Draws]
    ) -> Losses:
        """The mean losses of `samples` under their `draws`; `velocity` is the model in training.

        Photos that `with_photos` has not augmented are augmented here.
        """
        device = samples[0].latent.device
        clean = torch.stack([sample.latent.float() for sample in samples])
        noise = torch.stack([choice.noise for choice in draws]).to(device)
        t = torch.tensor([choice.t for choice in draws]).to(device, non_blocking=True)
        noisy = add_noise(clean, noise, t)
        predicted = self._predict(velocity, noisy, t, samples, draws)
        flow = F.mse_loss(predicted, target_velocity(clean, noise))
        zero = flow.new_zeros(())
        identity = consistency = weighted = zero
        if self.face_losses is not None:
            estimate = clean_estimate(noisy, predicted, t)
            shown = [i for i, choice in enumerate(draws) if choice.shows_face]
            ids, tics = self.face_losses(
                _taken(estimate, shown),
                [_seen_from_one(samples[i], draws[i].augmentation) for i in shown],
                [draws[i].augmentation for i in shown],
            )
            weights = identity_weight(_taken(t, shown), self.objective.gamma)
            mix = self.objective.lambda_id * ids + self.objective.lambda_tic * tics
            count = len(samples) * self.objective.identity_share
            identity, consistency, weighted = (
                each.sum() / count for each in (ids, tics, weights * mix)
            )
        return Losses(
            total=flow + weighted,
            flow=flow.detach(),
            identity=identity.detach(),
            consistency=consistency.detach(),
        )

    def _predict(
        self,
        velocity: Velocity,
        noisy: Tensor,
        t: Tensor,
        samples: Sequence[TrainingSample],
        draws: Sequence[Draws],
    ) -> Tensor:
        """The model's velocity `[B, C, T, H, W]`.

        Samples of one number of references have the same number of tokens and form a group; a
        dropped reference has no tokens.
        """
        contexts = torch.stack(
            [
                (self.empty_context if choice.drops_text else sample.context).to(
                    noisy, non_blocking=True
                )
                for sample, choice in zip(samples, draws, strict=True)
            ]
        )
        members: dict[int, list[int]] = {}
        for i, (sample, choice) in enumerate(zip(samples, draws, strict=True)):
            members.setdefault(num_references(sample, choice), []).append(i)
        groups: list[Group] = []
        order: list[int] = []
        # The group without references comes last.
        for count in sorted(members, key=lambda count: (count == 0, count)):
            group = members[count]
            references = None
            if count:
                references = self._encode([samples[i] for i in group], [draws[i] for i in group])
            taken = (_taken(each, group) for each in (noisy, t, contexts))
            groups.append((*taken, references))
            order += group
        outputs = torch.cat([output.float() for output in velocity(groups)])
        # Groups changed the order of the samples, which is restored.
        return _taken(outputs, torch.tensor(order).argsort().tolist())

    def _encode(self, samples: Sequence[TrainingSample], draws: Sequence[Draws]) -> Tensor:
        """z_ref = E_vae(A(I_ref)) (Eq. 5), `[B, C, K, H, W]`, of samples with K references each."""
        photos = [
            photo
            for sample, choice in zip(samples, draws, strict=True)
            for photo in self.with_photos(sample, choice).photos
        ]
        with torch.no_grad():
            latents = self.encode_references(photos)
        return in_slots(latents, len(samples)).to(samples[0].latent.device, torch.float32)


def num_references(sample: TrainingSample, choice: Draws) -> int:
    """How many references stand beside the sample's video in this step; 0 if they are dropped."""
    return 0 if choice.drops_reference else 1 + len(sample.further)


def _taken(batch: Tensor, places: list[int]) -> Tensor:
    """The rows of a batch at `places`; all of them as they are where none moves.

    Indices go to the GPU first, for which the CPU would wait until the GPU has nothing to do.
    """
    return batch if places == list(range(len(batch))) else batch[places]


def _seen_from_one(sample: TrainingSample, generator: torch.Generator) -> TrainingSample:
    """The sample with one of its persons, drawn at random, in slot 0.

    The identity losses look at one person of a sample.
    """
    if not sample.further:
        return sample
    return sample.seen_from(int(torch.randint(1 + len(sample.further), (), generator=generator)))
