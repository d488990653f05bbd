"""Decides where the references stand: as the weights were trained, or as the user chose.

ST-DRC's own weights say in their metadata what they were trained for. For the LoRAs of other
trainers, the metadata or the file's name may tell which adapter it is. The nodes and the command
line both decide by this file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ..method.grid import num_latent_frames
from ..method.layout import Placement
from ..method.reference import ReferenceTimestep
from ..method.source_phase import DEFAULT_PHASE, SourcePhase
from .adapters import WHOLE_CLIP, Adapter, known_by_file
from .adapters import from_metadata as from_others_metadata
from .base_mismatch import base_mismatches
from .distilled import Distilled
from .slot_tags import SlotTags
from .trained_for import TrainedFor, from_metadata, from_settings


@dataclass(frozen=True, kw_only=True)
class ReferenceLayout:
    """Where the reference's tokens stand, and which timestep they have."""

    placement: Placement = Placement.TASS
    """The placement of the reference's tokens."""
    reference_timestep: ReferenceTimestep = ReferenceTimestep.CLEAN
    """The timestep of the reference's tokens."""
    source_phase: SourcePhase = DEFAULT_PHASE
    """The turn of the reference's angles, for the placements that turn them."""
    temporal_offset: int = 0
    """The number of latent steps that the reference is moved by in time."""
    num_slots: int = 1
    """How many slots the run's references have; a run sets it, and before_clip alone heeds it."""

    def is_as(self, trained: ReferenceLayout) -> bool:
        """Returns whether the weights get what they were trained with.

        The offset may differ: it is a setting for users to try.
        """
        heeds_phase = self.placement.turns_angles
        return (
            self.placement == trained.placement
            and self.reference_timestep == trained.reference_timestep
            and (self.source_phase == trained.source_phase or not heeds_phase)
        )

    def __str__(self) -> str:
        """Returns the layout in words, for messages."""
        parts = [self.placement, self.reference_timestep]
        if self.placement.turns_angles:
            phase = self.source_phase
            parts.append(f"source_id {phase.source_id:g}, phase_scale {phase.scale:g}")
        if self.temporal_offset:
            parts.append(f"temporal_offset {self.temporal_offset}")
        return ", ".join(parts)


DEFAULT_LAYOUT = ReferenceLayout()

# Finds the learned slot tags of an adapter whose LoRA is on the model; None where they are nowhere.
FindTags = Callable[[Adapter], SlotTags | None]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The layout that a model is sampled with, and the reason for it."""

    layout: ReferenceLayout
    """The layout to sample with."""
    sentence: str
    """The layout and the reason for it, as one or more sentences for the user."""
    is_doubtful: bool = False
    """Whether the result may be wrong: the weights were trained for another layout or for another
    version of LTX, they were trained with something that is missing here, or what they say cannot
    be read."""
    is_known: bool = True
    """Whether the weights say what they were trained for, or are a known adapter."""
    text_scale: float | None = None
    """The s_y to begin with; None where nothing says it."""
    reference_scale: float | None = None
    """The s_r to begin with; None where nothing says it."""
    adapter: Adapter | None = None
    """The adapter of another trainer that is on the model; None where there is none."""
    follows: bool = True
    """Whether the layout is one that the weights or the adapter were trained for."""
    trained: TrainedFor | None = None
    """What ST-DRC's own weights were trained for; None where the layout is not theirs."""
    tags: SlotTags | None = None
    """The adapter's learned slot tags; None where it has none, or they were not found."""
    distilled: Distilled | None = None
    """The guidance that the weights have inside, so that vyr alone is to run; None for others."""

    def beyond_training(
        self,
        slots: Collection[int],
        *,
        has_first_frame: bool,
        is_single_frame: bool,
        num_frames: int | None = None,
    ) -> list[str]:
        """What a run asks of the weights that they were not trained for, a sentence each
        (`TrainedFor.beyond`)."""
        if self.trained is None:
            return []
        return self.trained.beyond(
            slots,
            has_first_frame=has_first_frame,
            is_single_frame=is_single_frame,
            num_frames=num_frames,
        )

    def check_frames(self, shape: Sequence[int], num_video_frames: int) -> None:
        """Raises ValueError if references do not have as many latent frames as they need to.

        `shape` is that of a reference's latent, `[K, C, F, h, w]`, and the video has
        `num_video_frames` latent frames. Several latent frames are a photo that is held, or a clip.
        """
        num_frames, placement = shape[2], self.layout.placement
        if num_frames > 1 and not placement.takes_clips:
            raise ValueError(
                f"reference has shape {list(shape)}; with placement {placement} it needs one "
                "latent frame for each photo: make it with Encode Reference Latent, held_frames 1."
            )
        held = self.adapter.held_frames if self.adapter is not None and self.follows else ()
        needed = [num_video_frames if n == WHOLE_CLIP else num_latent_frames(n) for n in held]
        if needed and num_frames not in needed:
            numbers = " or ".join(map(str, held))
            span = "the whole clip" if held == (WHOLE_CLIP,) else f"{numbers} frames"
            what_to_do = f"set held_frames of Encode Reference Latent to {numbers}"
            raise ValueError(
                f"reference has {num_frames} latent frames, latent_image {num_video_frames}; "
                f"{self.adapter.name} was trained with references that last {span}: "
                f"{self.adapter.own_reference or what_to_do}."
            )
        if num_frames > num_video_frames and placement is Placement.OVERLAP:
            raise ValueError(
                f"reference has {num_frames} latent frames, latent_image {num_video_frames}; with "
                "placement overlap it may have no more than the video: hold the photo for fewer "
                "frames, or make the clip longer."
            )

    def tags_of(self, slots: Sequence[int]) -> Tensor | None:
        """Returns the tags of the references in these slots, `[K, C]`, or None where none is used.

        They are added to the references' latents.
        """
        if self.tags is None:
            return None
        starts_at_source_id = self.adapter.tags.starts_at_source_id
        first = self.layout.source_phase.source_id if starts_at_source_id else 1.0
        return self.tags.of([first + slot for slot in slots])


@dataclass(frozen=True, kw_only=True)
class LayoutChoice:
    """What the user chose."""

    placement: Placement | None = None
    """The placement; None stands for `auto`, which is what the weights were trained for."""
    reference_timestep: ReferenceTimestep | None = None
    """The timestep of the reference's tokens; None stands for `auto`, as for the placement."""
    source_phase: SourcePhase = DEFAULT_PHASE
    """The source phase; where it is the default, that of the weights' training is taken."""
    temporal_offset: int = 0
    """The number of latent steps that the reference is moved by in time."""
    adapter: Adapter | None = None
    """The public adapter that the user says the weights are; None where the user names none."""
    lora_files: tuple[str, ...] = ()
    """The file names of the LoRAs on the model, the one that was applied last first."""

    @property
    def needs_weights(self) -> bool:
        """Whether `auto` is chosen for something that only the weights can say."""
        return self.adapter is None and None in (self.placement, self.reference_timestep)

    def decide(
        self,
        lora_metadata: Sequence[Mapping[str, str]],
        settings: Mapping[str, Any],
        version: str | None = None,
        find_tags: FindTags = lambda _: None,
    ) -> Decision:
        """Returns the layout that a model is sampled with.

        `lora_metadata` are the safetensors metadata of the LoRAs on the model, the last applied
        first. `settings` are those that its transformer was built with: ST-DRC's full weights say
        there what they were trained for. `version` is the model's (base_version.base_version), or
        None if that is not known; the decision tells of weights that are for another one.
        `find_tags` is asked for the learned slot tags of an adapter that has some.

        The first of these that says something decides: the adapter that the user named; a distilled
        ST-DRC LoRA, since others lie under it; the last ST-DRC LoRA; the file name of a known
        adapter; ST-DRC's full weights; the metadata of other LoRAs. The metadata of other LoRAs
        come last because any IC-LoRA has them, even one that is not on the model for the reference.

        Raises ValueError where `auto` needs what the weights say and that cannot be read or is not
        known, and for an adapter that is nothing without tags that were not found.
        """
        decision = self._decide(lora_metadata, settings, find_tags)
        if decision.distilled is None and (under := _distilled_weights(lora_metadata, settings)):
            decision = replace(
                decision,
                sentence=f"{decision.sentence} {under.distilled.advice}",
                distilled=under.distilled,
                text_scale=under.text_scale,
                reference_scale=under.reference_scale,
            )
        others = base_mismatches(
            version,
            adapter=self.adapter,
            lora_files=self.lora_files,
            lora_metadata=lora_metadata,
            settings=settings,
        )
        if not others:
            return decision
        return replace(decision, sentence=" ".join([decision.sentence, *others]), is_doubtful=True)

    def _decide(
        self,
        lora_metadata: Sequence[Mapping[str, str]],
        settings: Mapping[str, Any],
        find_tags: FindTags,
    ) -> Decision:
        if self.adapter is not None:
            return self._for_adapter(self.adapter, "chosen by name", find_tags)
        try:
            if of_loras := [*filter(None, map(from_metadata, lora_metadata))]:
                students = (each for each in of_loras if each.distilled is not None)
                weights = next(students, of_loras[0])
                return self._for_weights(
                    weights, self._lacking(weights, len(lora_metadata), settings)
                )
            for file_name in self.lora_files:
                if adapter := known_by_file(file_name):
                    how = f"by its file name, {file_name}"
                    return self._for_adapter(adapter, how, find_tags)
            if of_full_weights := from_settings(settings):
                return self._for_weights(of_full_weights)
            adapter = next(filter(None, map(from_others_metadata, lora_metadata)), None)
        except ValueError as error:
            return self._without(error)
        if adapter is not None:
            return self._for_adapter(adapter, "a LoRA on the model", find_tags)
        layout = self._over(DEFAULT_LAYOUT)
        reason = "the weights do not say what they were trained for"
        sentence = f"Reference layout {layout}: {reason}."
        return Decision(layout=layout, sentence=sentence, is_known=False)

    def _lacking(self, weights: TrainedFor, num_loras: int, settings: Mapping[str, Any]) -> str:
        """What a model of so many LoRAs lacks under one of them, in a sentence; empty where nothing
        is known to be missing."""
        if weights.base_loras is None:
            if weights.distilled is None or from_settings(settings) is not None:
                return ""
            return (
                f"They were distilled from {weights.base_model}, which knows the reference, and "
                "the weights under them do not say that they do: load these."
            )
        missing = weights.missing_loras(self.lora_files) if self.lora_files else []
        # LoRAs after the node are on the model too, and their names are not known.
        if len(missing) <= max(0, num_loras - len(self.lora_files)):
            return ""
        return (
            f"They were trained on a model with {' and '.join(missing)} merged, and no other LoRA "
            "of that name is on this one: load it too."
        )

    def _for_weights(self, weights: TrainedFor, lacks: str = "") -> Decision:
        trained = ReferenceLayout(
            placement=weights.placement, reference_timestep=weights.reference_timestep
        )
        layout = self._over(trained)
        scales = (
            f"with text_scale {weights.text_scale} and reference_scale {weights.reference_scale}"
        )
        follows = layout.is_as(trained)
        sentence = f"Reference layout {layout}, which the weights were trained for, {scales}."
        if not follows:
            sentence = (
                f"Reference layout {layout}, but the weights were trained for {trained}, {scales}: "
                "choose auto to follow them."
            )
        if weights.distilled is not None:
            sentence += f" {weights.distilled.advice}"
        return Decision(
            layout=layout,
            sentence=" ".join(filter(None, (sentence, lacks, weights.told))),
            trained=weights,
            is_doubtful=not follows or bool(lacks),
            text_scale=weights.text_scale,
            reference_scale=weights.reference_scale,
            follows=follows,
            distilled=weights.distilled,
        )

    def _for_adapter(self, adapter: Adapter, how: str, find_tags: FindTags) -> Decision:
        trained = ReferenceLayout(placement=adapter.placement, source_phase=adapter.source_phase)
        layout = self._over(trained)
        is_open = layout.placement in adapter.may_be
        if is_open:
            trained = replace(trained, placement=layout.placement)
        follows = layout.is_as(trained)
        sentence = f"Reference layout {layout}, "
        sentence += "which" if follows else f"but {trained} is what"
        sentence += f" {adapter.name} ({how}) {'may have been' if is_open else 'was'} trained for"
        sentence += "." if follows else ": choose auto to follow it."
        tags = None if adapter.tags is None else find_tags(adapter)
        lacks_tags = adapter.tags is not None and tags is None
        if lacks_tags and follows and adapter.tags.is_essential:
            raise ValueError(
                f"{adapter.name} ({how}) has learned slot tags in its file, which no LoRA loader "
                f"keeps and which were not found; it needs them: {_WHERE_TAGS_ARE_READ}."
            )
        return Decision(
            layout=layout,
            sentence=" ".join(
                filter(None, [sentence, adapter.advice, _NO_TAGS if lacks_tags else ""])
            ),
            is_doubtful=not (follows and adapter.is_carried) or lacks_tags,
            text_scale=adapter.text_scale,
            reference_scale=adapter.reference_scale,
            adapter=adapter,
            follows=follows,
            tags=tags,
        )

    def _over(self, trained: ReferenceLayout) -> ReferenceLayout:
        has_phase = self.source_phase != DEFAULT_PHASE
        return ReferenceLayout(
            placement=self.placement or trained.placement,
            reference_timestep=self.reference_timestep or trained.reference_timestep,
            source_phase=self.source_phase if has_phase else trained.source_phase,
            temporal_offset=self.temporal_offset,
        )

    def _without(self, error: ValueError) -> Decision:
        if self.needs_weights:
            raise ValueError(
                f"{str(error).removesuffix('.')}, or choose placement and reference_timestep "
                "instead of auto."
            ) from error
        layout = self._over(DEFAULT_LAYOUT)
        sentence = f"Reference layout {layout}, as chosen: {error}"
        return Decision(layout=layout, sentence=sentence, is_doubtful=True)


def _distilled_weights(
    lora_metadata: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> TrainedFor | None:
    """The distilled weights on a model, LoRAs before full ones; None where there are none, or where
    what weights say cannot be read."""
    try:
        known = [*map(from_metadata, lora_metadata), from_settings(settings)]
    except ValueError:
        return None
    return next((each for each in known if each is not None and each.distilled is not None), None)


_WHERE_TAGS_ARE_READ = (
    "in ComfyUI, put the loader of its LoRA before Apply TASS-RoPE Patch in the workflow"
)
_NO_TAGS = (
    "Its learned slot tags were not found, so the references are told apart by their phases alone: "
    f"{_WHERE_TAGS_ARE_READ}."
)
