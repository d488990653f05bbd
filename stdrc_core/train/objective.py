"""The loss of a training step (docs/method.md section 4), from a batch in memory to a scalar.

    L = L_flow + w(t) (l_id L_id + l_tic L_tic)                                  (Eq. 11)

All that is random was drawn before (`draws`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..method.flow import (
    add_noise,
    clean_estimate,
    identity_weight,
    target_velocity,
)
from ..method.identity import mean_direction
from ..method.reference import in_slots
from .draws import Draws, TrainingSample, num_references
from .objective_config import ObjectiveSection, ReferenceSection

# Samples of one shape: noisy video [B, C, T, H, W], t [B], context [B, L, D], references
# [B, C, K, H, W] or None, and how many of the T frames, from the first on, are clean. The model
# takes all groups of a batch in one call, so that a wrapper such as DDP sees one forward pass.
Group = tuple[Tensor, Tensor, Tensor, Tensor | None, int]
Velocity = Callable[[list[Group]], list[Tensor]]
# Maps B photos [1, h, w, 3] in [0, 1], of any sizes, to clean reference latents [B, C, 1, H, W].
EncodeReferences = Callable[[Sequence[Tensor]], Tensor]


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


@dataclass(frozen=True, kw_only=True)
class _Noised:
    """Samples of one length between clean and noise; B of them, each `[C, T, H, W]`."""

    members: list[int]
    """The samples' places in the batch."""
    clean: Tensor
    noise: Tensor
    t: Tensor
    """`[B]`, of all frames but the clean ones."""
    noisy: Tensor
    num_clean_frames: int

    def flow(self, predicted: Tensor) -> Tensor:
        """The mean squared error of the velocities of frames that are not clean."""
        target = target_velocity(self.clean, self.noise)
        return F.mse_loss(
            predicted[:, :, self.num_clean_frames :], target[:, :, self.num_clean_frames :]
        )

    def estimate(self, predicted: Tensor) -> Tensor:
        """The clean estimate (Eq. 6), in which clean frames are as they are."""
        estimate = clean_estimate(self.noisy, predicted, self.t)
        return _beginning_with(self.clean, estimate, self.num_clean_frames)


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

        Several photos of one person also get their mean embedding, which is of the photos before
        their augmentation. No network takes part in it, so that it can be done long before the
        sample's turn.
        """
        if choice.drops_reference or choice.photos is not None:
            return choice
        more = [sample.gallery[place] for place in choice.from_gallery]
        shown = [*sample.photos, *(each.photo for each in more)]
        photos = tuple(self.fit(self.augment(photo, choice.augmentation)) for photo in shown)
        if not more:
            return replace(choice, photos=photos)
        e_ref = mean_direction(torch.stack([sample.e_ref, *(each.e_ref for each in more)]))
        return replace(choice, photos=photos, e_ref=e_ref)

    def __call__(
        self, velocity: Velocity, samples: Sequence[TrainingSample], draws: Sequence[Draws]
    ) -> Losses:
        """The mean losses of `samples` under their `draws`; `velocity` is the model in training.

        Photos that `with_photos` has not augmented are augmented here.
        """
        draws = [self.with_photos(*each) for each in zip(samples, draws, strict=True)]
        noised = [_noised(samples, draws, members) for members in _of_one_length(draws)]
        predicted = self._predict(velocity, noised, samples, draws)
        flow = sum(
            each.flow(own) * (len(each.members) / len(samples))
            for each, own in zip(noised, predicted, strict=True)
        )
        zero = flow.new_zeros(())
        identity = consistency = weighted = zero
        if self.face_losses is not None:
            sums = [
                self._face_terms(each, own, samples, draws)
                for each, own in zip(noised, predicted, strict=True)
            ]
            count = len(samples) * self.objective.identity_share
            identity, consistency, weighted = (
                sum(each) / count for each in zip(*sums, strict=True)
            )
        return Losses(
            total=flow + weighted,
            flow=flow.detach(),
            identity=identity.detach(),
            consistency=consistency.detach(),
        )

    def _face_terms(
        self,
        noised: _Noised,
        predicted: Tensor,
        samples: Sequence[TrainingSample],
        draws: Sequence[Draws],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The sums over samples of L_id, of L_tic, and of both weighted as in Eq. 11."""
        places = [k for k, i in enumerate(noised.members) if draws[i].shows_face]
        shown = [noised.members[k] for k in places]
        ids, tics = self.face_losses(
            _taken(noised.estimate(predicted), places),
            [_seen_by_faces(samples[i], draws[i]) for i in shown],
            [draws[i].augmentation for i in shown],
        )
        weights = identity_weight(_taken(noised.t, places), self.objective.gamma)
        mix = self.objective.lambda_id * ids + self.objective.lambda_tic * tics
        return ids.sum(), tics.sum(), (weights * mix).sum()

    def _predict(
        self,
        velocity: Velocity,
        noised: Sequence[_Noised],
        samples: Sequence[TrainingSample],
        draws: Sequence[Draws],
    ) -> list[Tensor]:
        """The model's velocities `[B, C, T, H, W]` of the samples of each length.

        Among them, those of one number of references have the same number of tokens and form a
        group; a dropped reference has no tokens.
        """
        groups: list[Group] = []
        orders: list[list[int]] = []
        for each in noised:
            contexts = torch.stack(
                [
                    (self.empty_context if draws[i].drops_text else samples[i].context).to(
                        each.noisy, non_blocking=True
                    )
                    for i in each.members
                ]
            )
            places: dict[int, list[int]] = {}
            for place, i in enumerate(each.members):
                places.setdefault(num_references(samples[i], draws[i]), []).append(place)
            orders.append([])
            # The group without references comes last.
            for count in sorted(places, key=lambda count: (count == 0, count)):
                group, references = places[count], None
                if count:
                    members = [each.members[place] for place in group]
                    references = self._encode(
                        [samples[i] for i in members], [draws[i] for i in members]
                    )
                taken = (_taken(part, group) for part in (each.noisy, each.t, contexts))
                groups.append((*taken, references, each.num_clean_frames))
                orders[-1] += group
        outputs = iter([output.float() for output in velocity(groups)])
        predicted = []
        for each, order in zip(noised, orders, strict=True):
            own: list[Tensor] = []
            while sum(map(len, own)) < len(each.members):
                own.append(next(outputs))
            # Groups changed the order of the samples, which is restored.
            predicted.append(_taken(torch.cat(own), torch.tensor(order).argsort().tolist()))
        return predicted

    def _encode(self, samples: Sequence[TrainingSample], draws: Sequence[Draws]) -> Tensor:
        """z_ref = E_vae(A(I_ref)) (Eq. 5), `[B, C, K, H, W]`, of samples with K references each."""
        photos = [photo for choice in draws for photo in choice.photos]
        with torch.no_grad():
            latents = self.encode_references(photos)
        return in_slots(latents, len(samples)).to(samples[0].latent.device, torch.float32)


def _of_one_length(draws: Sequence[Draws]) -> list[list[int]]:
    """The places of samples in the batch, those together that have as many frames to train."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, choice in enumerate(draws):
        groups.setdefault((choice.num_frames, choice.num_clean_frames), []).append(i)
    return list(groups.values())


def _noised(
    samples: Sequence[TrainingSample], draws: Sequence[Draws], members: list[int]
) -> _Noised:
    """The samples at `members`, which are of one length, under their draws."""
    device, first = samples[members[0]].latent.device, draws[members[0]]
    clean = torch.stack([samples[i].latent[:, : first.num_frames].float() for i in members])
    noise = torch.stack([draws[i].noise for i in members]).to(device)
    t = torch.tensor([draws[i].t for i in members]).to(device, non_blocking=True)
    return _Noised(
        members=members,
        clean=clean,
        noise=noise,
        t=t,
        noisy=_beginning_with(clean, add_noise(clean, noise, t), first.num_clean_frames),
        num_clean_frames=first.num_clean_frames,
    )


def _beginning_with(clean: Tensor, latent: Tensor, num_clean_frames: int) -> Tensor:
    """A latent `[B, C, T, H, W]` with its first frames taken from another one."""
    if num_clean_frames == 0:
        return latent
    return torch.cat((clean[:, :, :num_clean_frames], latent[:, :, num_clean_frames:]), dim=2)


def _taken(batch: Tensor, places: list[int]) -> Tensor:
    """The rows of a batch at `places`; all of them as they are where none moves.

    Indices go to the GPU first, for which the CPU would wait until the GPU has nothing to do.
    """
    return batch if places == list(range(len(batch))) else batch[places]


def _seen_by_faces(sample: TrainingSample, choice: Draws) -> TrainingSample:
    """The sample as the identity losses look at it, which is at one of its persons.

    Of several persons one is drawn at random and put in slot 0; of several photos of one person
    their mean embedding counts (ours; it is Eq. 9 for one photo).
    """
    if choice.e_ref is not None:
        return replace(sample, e_ref=choice.e_ref)
    if not sample.further:
        return sample
    slot = torch.randint(1 + len(sample.further), (), generator=choice.augmentation)
    return sample.seen_from(int(slot))
