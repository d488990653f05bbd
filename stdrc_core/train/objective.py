"""The loss of a training step (docs/method.md section 4), from a batch in memory to a scalar.

    L = L_flow + w(t) (l_id L_id + l_tic L_tic)                                  (Eq. 11)

L_flow is the squared error against the clip's own velocity, or in a distillation against the guided
velocity of the frozen base (`distillation`). All that is random was drawn before (`draws`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from .distillation import (
    Asked,
    Group,
    Teacher,
    Velocity,
    guided_velocities,
    trajectory_states,
)
from .draws import Draws, TrainingSample, num_references
from .objective_config import ObjectiveSection, ReferenceSection

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

    def flow(self, predicted: Tensor, target: Tensor | None) -> Tensor:
        """The mean squared error of the velocities of frames that are not clean.

        The target is the clip's own velocity where none is given.
        """
        if target is None:
            target = target_velocity(self.clean, self.noise)
        return F.mse_loss(
            predicted[:, :, self.num_clean_frames :], target[:, :, self.num_clean_frames :]
        )

    def estimate(self, predicted: Tensor) -> Tensor:
        """The clean estimate (Eq. 6), in which clean frames are as they are."""
        estimate = clean_estimate(self.noisy, predicted, self.t)
        return _beginning_with(self.clean, estimate, self.num_clean_frames)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """Samples of one length and of one number of references, and what the model sees beside them.

    The model takes them as a group; a dropped reference has no tokens.
    """

    places: list[int]
    """Their places in `_Noised.members`."""
    context: Tensor
    """`[B, L, D]`."""
    references: Tensor | None
    """`[B, C, K, H, W]`."""


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
        teacher: Teacher | None = None,
    ) -> None:
        """`empty_context` `[L, D]` is the embedding of the empty prompt.

        `fit` is what of `encode_references` a photo can go through by itself before its turn.
        `teacher` is the frozen base of a distillation.

        Raises ValueError where the identity losses have a weight and `face_losses` is missing, and
        for a distillation without a teacher.
        """
        if objective.distil is not None and teacher is None:
            raise ValueError("teacher is missing; objective.distil needs the frozen base.")
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
        self.teacher = teacher

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
        shown = [self._shown(each, samples, draws) for each in noised]
        targets: Sequence[Tensor | None] = [None] * len(noised)
        if self.objective.distil is not None:
            for each, own in zip(noised, shown, strict=True):
                self._set_out(velocity, each, own, draws)
            targets = self._guided(velocity, noised, shown, draws)
        predicted = self._predict(velocity, noised, shown, draws)
        flow = sum(
            each.flow(own, target) * (len(each.members) / len(samples))
            for each, own, target in zip(noised, predicted, targets, strict=True)
        )
        zero = flow.new_zeros(())
        identity = consistency = weighted = zero
        if self.face_losses is not None:
            sums = [
                self._face_terms(each, own, samples, draws)
                for each, own in zip(noised, predicted, strict=True)
            ]
            count = len(samples) * self.objective.share_with_faces
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

    def _shown(
        self, noised: _Noised, samples: Sequence[TrainingSample], draws: Sequence[Draws]
    ) -> list[_Shown]:
        """The samples of one length in groups, those without references last.

        Those of one number of references have the same number of tokens and form a group.
        """
        contexts = torch.stack(
            [
                (self.empty_context if draws[i].drops_text else samples[i].context).to(
                    noised.noisy, non_blocking=True
                )
                for i in noised.members
            ]
        )
        places: dict[int, list[int]] = {}
        for place, i in enumerate(noised.members):
            places.setdefault(num_references(samples[i], draws[i]), []).append(place)
        shown = []
        for count in sorted(places, key=lambda count: (count == 0, count)):
            group, references = places[count], None
            if count:
                members = [noised.members[place] for place in group]
                references = self._encode(
                    [samples[i] for i in members], [draws[i] for i in members]
                )
            shown.append(
                _Shown(places=group, context=_taken(contexts, group), references=references)
            )
        return shown

    def _predict(
        self,
        velocity: Velocity,
        noised: Sequence[_Noised],
        shown: Sequence[Sequence[_Shown]],
        draws: Sequence[Draws],
    ) -> list[Tensor]:
        """The model's velocities `[B, C, T, H, W]` of the samples of each length."""
        groups = [_group(each, own) for each, own in _each_group(noised, shown)]
        more: tuple[list[Tensor], ...] = ()
        if self.objective.distil is not None and self.objective.distil.has_range:
            more = (
                [
                    each.noisy.new_tensor([draws[each.members[p]].scales for p in own.places])
                    for each, own in _each_group(noised, shown)
                ],
            )
        return _in_order(shown, [output.float() for output in velocity(groups, *more)])

    def _guided(
        self,
        velocity: Velocity,
        noised: Sequence[_Noised],
        shown: Sequence[Sequence[_Shown]],
        draws: Sequence[Draws],
    ) -> list[Tensor]:
        """The teacher's guided velocities `[B, C, T, H, W]` of the samples of each length."""
        asked = [_asked(each, own, draws) for each, own in _each_group(noised, shown)]
        guided = guided_velocities(self.teacher, velocity, asked, self.empty_context)
        return _in_order(shown, guided)

    def _set_out(
        self,
        velocity: Velocity,
        noised: _Noised,
        shown: Sequence[_Shown],
        draws: Sequence[Draws],
    ) -> None:
        """Puts states of the teacher's sampling in the place of the noised clips that drew one."""
        for own in shown:
            steps = [draws[noised.members[place]].trajectory_step for place in own.places]
            if all(step is None for step in steps):
                continue
            begun = _beginning_with(noised.clean, noised.noise, noised.num_clean_frames)
            rows = [p for p, step in zip(own.places, steps, strict=True) if step is not None]
            noised.noisy[rows] = begun[rows]
            noised.noisy[own.places] = trajectory_states(
                self.teacher,
                velocity,
                _asked(noised, own, draws),
                steps,
                self.objective.distil,
                self.empty_context,
            )

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


def _each_group(
    noised: Sequence[_Noised], shown: Sequence[Sequence[_Shown]]
) -> Iterator[tuple[_Noised, _Shown]]:
    """Each group of samples in the order that the model takes them, and those of its length."""
    for each, of_it in zip(noised, shown, strict=True):
        for own in of_it:
            yield each, own


def _group(noised: _Noised, shown: _Shown) -> Group:
    """The group of samples as the model takes it."""
    taken = (_taken(part, shown.places) for part in (noised.noisy, noised.t))
    return (*taken, shown.context, shown.references, noised.num_clean_frames)


def _asked(noised: _Noised, shown: _Shown, draws: Sequence[Draws]) -> Asked:
    """The group of samples as the teacher guides it."""
    own = [draws[noised.members[place]] for place in shown.places]
    return Asked(
        group=_group(noised, shown),
        scales=[choice.scales for choice in own],
        has_text=[not choice.drops_text for choice in own],
    )


def _in_order(shown: Sequence[Sequence[_Shown]], outputs: Sequence[Tensor]) -> list[Tensor]:
    """One output a group put together for each length, in the order that its samples have."""
    rest, whole = iter(outputs), []
    for of_it in shown:
        order = [place for own in of_it for place in own.places]
        together = torch.cat([next(rest) for _ in of_it])
        whole.append(_taken(together, torch.tensor(order).argsort().tolist()))
    return whole


def _taken(batch: Tensor, places: list[int]) -> Tensor:
    """The rows of a batch at `places`; all of them as they are where none moves.

    Indices go to the GPU first, for which the CPU would wait until the GPU has nothing to do.
    """
    return batch if places == list(range(len(batch))) else batch[places]


def _seen_by_faces(sample: TrainingSample, choice: Draws) -> TrainingSample:
    """The sample as the identity losses look at it, which is at one of its persons, in the frames
    that the model is to make.

    Of several persons one is drawn at random and put in slot 0; of several photos of one person
    their mean embedding counts (ours; it is Eq. 9 for one photo).
    """
    if choice.e_ref is not None:
        seen = replace(sample, e_ref=choice.e_ref)
    elif not sample.further:
        seen = sample
    else:
        slot = torch.randint(1 + len(sample.further), (), generator=choice.augmentation)
        seen = sample.seen_from(int(slot))
    return seen.without_first(choice.num_clean_frames)
