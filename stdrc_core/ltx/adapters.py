"""Adapters of other trainers: what their metadata say, and the public ones known by name.

ST-DRC's own files say what they were trained for (trained_for). Those of other trainers say less,
or nothing; then the file's name may tell which public adapter it is. A comment beside `KNOWN` says
where the facts are published; what is not published is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..method.placement import Placement
from ..method.source_phase import DEFAULT_PHASE, SourcePhase

# Among an adapter's held_frames: as long as the clip.
WHOLE_CLIP = 0


@dataclass(frozen=True, kw_only=True)
class TagRule:
    """How an adapter's learned slot tags (slot_tags) are counted."""

    scale: float
    """What a slot's number is multiplied by in the tag's network."""
    starts_at_source_id: bool
    """Whether the reference at slot 0 has the number source_id, as its phase has, or else 1."""
    is_essential: bool
    """Whether a run without the tags is refused, or else only warned of."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How an adapter was trained to see a reference, and which settings to begin with."""

    name: str
    """The adapter's name in messages, and in `KNOWN` the name by which it is chosen."""
    placement: Placement
    """Where the reference's tokens stood in training."""
    may_be: tuple[Placement, ...] = ()
    """Other placements that it may have been trained for, where its metadata leave that open."""
    source_phase: SourcePhase = DEFAULT_PHASE
    """The source phase of the training, for placements that turn angles."""
    file_stems: tuple[str, ...] = ()
    """How the published files' names begin, in lower case; renamed copies often keep it."""
    held_frames: tuple[int, ...] = ()
    """For how many frames a photo was held in training, the first as a rule; WHOLE_CLIP for as long
    as the clip; empty where that is not fixed, or where the placement takes stills alone."""
    own_reference: str = ""
    """How its reference is made, where Encode Reference Latent cannot make it: what to do."""
    tags: TagRule | None = None
    """The rule of its learned slot tags; None where it has none."""
    prompt_prefix: str = ""
    """The words that every prompt of the training began with."""
    text_scale: float | None = None
    """The s_y to begin with; None where nothing is published."""
    reference_scale: float | None = None
    """The s_r to begin with; None where nothing is published."""
    caveat: str = ""
    """What the user has to know, in sentences; may be empty."""
    base_version: str | None = None
    """The version of LTX that it was trained on; None where it is not published."""
    is_carried: bool = True
    """Whether this project gives the adapter everything that it was trained with."""

    @property
    def advice(self) -> str:
        """Sentences for the user, about prompt, scales and caveat; may be empty."""
        sentences = []
        if self.prompt_prefix:
            sentences.append(f'Begin the prompt with "{self.prompt_prefix}".')
        if self.text_scale is not None and self.reference_scale is not None:
            sentences.append(
                f"Try text_scale {self.text_scale:g} and reference_scale {self.reference_scale:g}."
            )
        return " ".join([*sentences, self.caveat] if self.caveat else sentences)


# Placement, source_id 2 and the prefix are from the adapter's card (huggingface.co/Alissonerdx/
# LTX-Best-Face-ID, "Overlap reference + TASS-RoPE (source-phase)") and its demo's card (spaces/
# Alissonerdx/ltx-best-face-id, commit 5d31810). The scales are from the "LTX Identity Transfer"
# node of github.com/alisson-anjos/ComfyUI-BFSNodes, which asks for CFG 3-5 and for a reference
# guidance g of "around 2-4". It adds (g - 1)(vyr - vy) to a CFG that has the reference on both
# sides. So CFG 4 and g 2 are s_y = 4 and s_r = 4 + 2 - 1 here.
_BEST_FACE_ID = {
    "placement": Placement.OVERLAP_SOURCE_PHASE,
    "base_version": "2.3",
    "prompt_prefix": "ref_t2v: ",
    "text_scale": 4.0,
    "reference_scale": 5.0,
}
# From Licon's nodes (github.com/liconstudio/ComfyUI-LTX2.5-MSR, 1.2.0): each photo held for 33 or
# 25 frames, its tag added to the latent, and (in ComfyUI behind the video's tokens) begun
# K - k pixel frames before the clip.
LICON_MSR_2_5 = Adapter(
    name="Licon MSR for LTX-2.5",
    placement=Placement.BEFORE_CLIP,
    base_version="2.5",
    held_frames=(33, 25),
    tags=TagRule(scale=1 / 16, starts_at_source_id=False, is_essential=True),
    caveat="It wants up to five photos, each in a slot of its own, on white (pad_color).",
)
KNOWN = (
    Adapter(
        name="Best-Face-ID v1.0",
        file_stems=("best_faceid_v1.0_lora",),
        caveat="It wants a close-up, frontal photo, and the person described in the prompt.",
        **_BEST_FACE_ID,
    ),
    # What the sheet has to show is from the same card, "Character-Sheet Reference".
    Adapter(
        name="Best-Face-ID character sheet v1.0",
        file_stems=("best_faceid_charactersheet_v1.0_lora",),
        caveat=(
            "It wants a sheet of face, front, side and back views of 1536 x 1024 pixels, encoded "
            "with fit = native."
        ),
        **_BEST_FACE_ID,
    ),
    # From its card (huggingface.co/Lightricks/LTX-2.3-22b-IC-LoRA-Ingredients): factor 1, "a static
    # video (the still sheet looped to the output's length)", 768 x 448, 121 frames, 24 fps. The
    # prompt's beginning is that of the card's examples.
    Adapter(
        name="Ingredients IC-LoRA 0.9",
        placement=Placement.OVERLAP,
        base_version="2.3",
        file_stems=("ltx-2.3-22b-ic-lora-ingredients",),
        held_frames=(WHOLE_CLIP,),
        prompt_prefix="### Reference Sheet Description",
        caveat=(
            "It wants one sheet of the characters, things and places, of the video's own size, and "
            "was trained on clips of 768 x 448 pixels and 121 frames."
        ),
    ),
    # From Licon's node and sample workflow (github.com/liconstudio/ComfyUI-Licon-MSR, commit
    # 94a52bf): the photos follow one another in one clip, which is an IC-LoRA's reference from
    # frame 0 on.
    Adapter(
        name="Licon MSR for LTX-2.3",
        placement=Placement.OVERLAP,
        base_version="2.3",
        file_stems=("ltx-2.3-licon-msr", "ltx2.3-licon-msr"),
        held_frames=(41, 17, 25, 33, 49, 57, 65),
        own_reference="connect the clip of the node Licon MSR, encoded with core's VAE Encode",
        caveat=(
            "It wants one clip of all photos: the node Licon MSR makes it, and core's VAE Encode "
            "makes the reference of it."
        ),
    ),
    LICON_MSR_2_5,
)


def known_by_name(name: str) -> Adapter | None:
    """Returns the public adapter that is called `name` in `KNOWN`, or None for another name."""
    return next((adapter for adapter in KNOWN if adapter.name == name), None)


def known_by_file(file_name: str) -> Adapter | None:
    """Returns the public adapter that a file's name belongs to, or None where it is not known.

    Folders, upper case and what stands after the published name (".safetensors", "_bf16") do not
    matter.
    """
    name = file_name.replace("\\", "/").rpartition("/")[2].lower()
    return next((adapter for adapter in KNOWN if name.startswith(adapter.file_stems)), None)


def from_metadata(metadata: Mapping[str, str]) -> Adapter | None:
    """Reads another trainer's adapter from the safetensors metadata of a LoRA.

    Returns None where the metadata say nothing about a reference. Licon's trainer writes
    `reference_slot_time_offsets` and the like (ComfyUI-LTX2.5-MSR). BFS's writes
    `reference_slot_embedding_*` alone, where the adapter has learned slot tags (ComfyUI-BFSNodes,
    ltx_multiref_slots.py). ltx-trainer writes `reference_downscale_factor` or
    `reference_*_scale_factor` for an IC-LoRA, whose reference lies on the video's own grid
    (github.com/Lightricks/LTX-2, ltx_trainer/training_strategies).

    Raises ValueError for a way of placing references that is not known.
    """
    if any(key in metadata for key in _LICONS_PLACES):
        return _licons(metadata)
    if any(key.startswith(_SLOT_TAGS) for key in metadata):
        return _bfs_slots(has_tags=_has_tags(metadata))
    factors = [metadata[key] for key in _SCALE_FACTORS if key in metadata]
    if not factors:
        return None
    is_scaled = any(factor not in ("1", "1.0") for factor in factors)
    caveat = (
        f"It was trained with references scaled down by {', '.join(factors)}, which this node does "
        "not do: use core's LTXVAddGuide for it."
    )
    return Adapter(
        name="an IC-LoRA, by ltx-trainer's metadata",
        placement=Placement.OVERLAP,
        caveat=caveat if is_scaled else _CLIPS,
        is_carried=not is_scaled,
    )


def _bfs_slots(has_tags: bool) -> Adapter:
    return Adapter(
        name="an adapter of several slots, by BFS's metadata",
        placement=Placement.OVERLAP_SOURCE_PHASE,
        may_be=(Placement.STRATA, Placement.BFS_ST_DRC),
        source_phase=SourcePhase(source_id=1.0),
        tags=TagRule(scale=1.0, starts_at_source_id=True, is_essential=False) if has_tags else None,
        caveat=(
            "Name the photos in the prompt as in its training, as a rule <Image 1> for the first "
            "slot and <Image 2> for the second."
        ),
    )


def _licons(metadata: Mapping[str, str]) -> Adapter:
    for key, known in _LICONS_WAY.items():
        if metadata.get(key, known) != known:
            raise ValueError(
                f"LoRA metadata {key} is {metadata[key]!r}; needs {known!r}, the only way of "
                "Licon's MSR adapters that is known here: use Licon's own nodes "
                "(ComfyUI-LTX2.5-MSR)"
            )
    factor = metadata.get("reference_downscale_factor", "1")
    if factor not in ("1", "1.0"):
        raise ValueError(
            f"LoRA metadata reference_downscale_factor is {factor!r} for a Licon MSR adapter; "
            "needs 1, as photos are not scaled down here: use Licon's own nodes "
            "(ComfyUI-LTX2.5-MSR)"
        )
    adapter = LICON_MSR_2_5 if _has_tags(metadata) else replace(LICON_MSR_2_5, tags=None)
    if any(key.startswith("reference_audio_") for key in metadata):
        return replace(
            adapter,
            name="Licon MSR-AVref for LTX-2.5",
            held_frames=(25,),
            caveat=f"{adapter.caveat} Its audio references are not placed here.",
            is_carried=False,
        )
    return adapter


def _has_tags(metadata: Mapping[str, str]) -> bool:
    return metadata.get(f"{_SLOT_TAGS}_enabled", "true").strip().lower() in _YES


_CLIPS = (
    "As a rule it was trained with a reference for each frame: hold the photo for the whole clip "
    "then (held_frames 0 of Encode Reference Latent)."
)
_YES = ("1", "true", "yes", "on")
_SLOT_TAGS = "reference_slot_embedding"
# What Licon's trainer writes of the references' places and tags, by key. BFS's writes no places.
_LICONS_PLACES = {
    "reference_token_order": "prepend",
    "reference_slot_time_offsets": "pic1_based_negative_time",
}
_LICONS_WAY = _LICONS_PLACES | {f"{_SLOT_TAGS}_type": "fourier_mlp"}
_SCALE_FACTORS = (
    "reference_downscale_factor",
    "reference_spatial_scale_factor",
    "reference_temporal_scale_factor",
)
