"""What a step learns: the sections `reference` and `objective` of a recipe (see `config`)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..method.augmentation import Augmentation
from ..method.layout import Placement
from ..method.reference import ReferenceTimestep
from .distil_config import DistilSection
from .section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class ReferenceSection(Section):
    """How the model sees the reference."""

    placement: Placement = Placement.TASS
    """Where the reference's tokens stand beside the video's; `tass` is the paper's Eq. 4."""
    timestep: ReferenceTimestep = ReferenceTimestep.CLEAN
    """Which timestep the reference's tokens get: `clean` is 0, `shared` is the video's."""
    p_drop: float = Field(0.20, ge=0, le=1)
    """The share of samples that are trained without their reference; they then have no reference
    tokens at all."""
    num_photos: tuple[Share, ...] | None = Field(None, min_length=1, max_length=4)
    """Which share of samples shows one, two, three and four photos of their person, [0.4, 0.3, 0.2,
    0.1] for example; without it, a sample shows all references that its line of the data set
    has."""
    augmentation: Augmentation = Augmentation()
    """How the reference photo is changed before the VAE encodes it (Eq. 5)."""

    @model_validator(mode="after")
    def _shares_are_of_all(self) -> ReferenceSection:
        if self.num_photos is not None and not math.isclose(sum(self.num_photos), 1, abs_tol=1e-6):
            raise ValueError(
                f"reference.num_photos was {list(self.num_photos)}, in all "
                f"{sum(self.num_photos):.6g}; needs shares that are 1 in all, as [0.5, 0.5]"
            )
        return self

    @property
    def max_photos(self) -> int | None:
        """The most photos of a person that a sample shows; None where the data set says so."""
        if self.num_photos is None:
            return None
        return max(number for number, share in enumerate(self.num_photos, 1) if share > 0)


class ObjectiveSection(Section):
    """The loss: flow matching, and the identity losses on the faces of the clean estimate."""

    timesteps: Literal["logit_normal", "uniform"] = "logit_normal"
    """How the time t of a sample is drawn: `logit_normal` is LTX's distribution, shifted by the
    number of tokens; `uniform` draws all times alike."""
    timestep_shift: float | None = Field(None, ge=-5, le=10)
    """How far the logit-normal is shifted towards noise; without it, LTX's value for the clip's
    number of tokens, which is 0.95 at 1024 and 2.05 at 4096."""
    text_p_drop: float = Field(0.05, ge=0, le=1)
    """The share of samples that are trained with the empty prompt in place of their caption."""
    first_frame_share: float = Field(0.0, ge=0, le=1)
    """The share of samples whose first latent frame is shown clean, at timestep 0, and is not
    trained; it keeps or teaches image-to-video."""
    single_frame_share: float = Field(0.0, ge=0, le=1)
    """The share of samples of which the first latent frame alone is trained, an image; it teaches
    to make first frames."""
    lambda_id: float = Field(0.1, ge=0)
    """The weight of L_id (Eq. 11), which pulls the clip's faces towards the reference; with both
    lambdas at 0 no face is looked at."""
    lambda_tic: float = Field(0.05, ge=0)
    """The weight of L_tic (Eq. 11), which pulls the clip's faces towards their own mean."""
    gamma: float = Field(1.0, ge=0)
    """The exponent of w(t) (Eq. 12); a higher one weakens the identity losses at noisy times, and 0
    weighs all times alike."""
    identity_share: float = Field(1.0, gt=0, le=1)
    """The share of samples, drawn at random, that the identity losses look at, each weighted by 1 /
    share; a lower one takes less time and makes the losses noisier around the same mean."""
    identity_from: int = Field(0, ge=0)
    """The first step, counted from 0, that has the identity losses; the steps before it take less
    time."""
    identity_latent_frames: int = Field(2, ge=1)
    """How many consecutive latent frames of a clip, at a place drawn at random, are decoded for the
    identity losses."""
    identity_frames: int = Field(4, ge=1)
    """How many of the decoded frames that show the face are embedded at most."""
    identity_crop_margin: int | None = Field(None, ge=0)
    """How many latent cells (of 32 pixels) are decoded around the faces; a smaller margin takes
    less time and memory and makes the pixels differ more from the whole clip's, and without it
    whole frames are decoded."""
    face_pack: Path | None = None
    """Which folder of an InsightFace pack embeds the faces; the identity losses need it, and
    validation measures FaceSim with it."""

    distil: DistilSection | None = None
    """Whether the base's guided velocity is learned in place of the clips' own, by the keys below;
    without it, nothing is distilled."""

    @property
    def share_with_faces(self) -> float:
        """The share of samples that the identity losses look at."""
        states = 0.0 if self.distil is None else self.distil.trajectory_share
        return self.identity_share * (1 - states)

    @property
    def has_identity_losses(self) -> bool:
        """Whether one of the identity losses has a weight."""
        return self.lambda_id > 0 or self.lambda_tic > 0

    @model_validator(mode="after")
    def _shares_are_of_different_samples(self) -> ObjectiveSection:
        if self.first_frame_share + self.single_frame_share > 1:
            raise ValueError(
                f"objective.first_frame_share was {self.first_frame_share} and "
                f"objective.single_frame_share {self.single_frame_share}; needs 1 or less in all, "
                "since no sample is both"
            )
        return self

    @model_validator(mode="after")
    def _keeps_clips_for_faces(self) -> ObjectiveSection:
        if self.has_identity_losses and self.share_with_faces == 0:
            raise ValueError(
                "objective.distil.trajectory_share was 1 with identity losses; needs less than 1, "
                "since a state of the teacher shows no known face: lower it, or set "
                "objective.lambda_id and objective.lambda_tic to 0"
            )
        return self

    @model_validator(mode="after")
    def _needs_faces(self) -> ObjectiveSection:
        if self.has_identity_losses and self.face_pack is None:
            raise ValueError(
                "face_pack is missing; needs the folder of an InsightFace pack for the identity "
                "losses: set objective.face_pack, or lambda_id and lambda_tic to 0"
            )
        return self
