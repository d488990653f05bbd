"""Adapters of other trainers: what their metadata say, and the public ones known by name.

ST-DRC's own files say what they were trained for (trained_for). Those of other trainers say less,
or nothing; then the file's name may tell which public adapter it is. A comment beside `KNOWN` says
where the facts are published; what is not published is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..method.layout import Placement
from ..method.source_phase import DEFAULT_PHASE, SourcePhase


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """How an adapter was trained to see a reference, and which settings to begin with."""

    name: str
    """The adapter's name in messages, and in `KNOWN` the name by which it is chosen."""
    placement: Placement
    """Where the reference's tokens stood in training."""
    source_phase: SourcePhase = DEFAULT_PHASE
    """The source phase of the training, for placements that turn angles."""
    file_stem: str = ""
    """The beginning of the published file's name, in lower case; renamed copies often keep it."""
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
KNOWN = (
    Adapter(
        name="Best-Face-ID v1.0",
        file_stem="best_faceid_v1.0_lora",
        caveat="It wants a close-up, frontal photo, and the person described in the prompt.",
        **_BEST_FACE_ID,
    ),
    # What the sheet has to show is from the same card, "Character-Sheet Reference".
    Adapter(
        name="Best-Face-ID character sheet v1.0",
        file_stem="best_faceid_charactersheet_v1.0_lora",
        caveat=(
            "It wants a sheet of face, front, side and back views of 1536 x 1024 pixels, encoded "
            "with fit = native."
        ),
        **_BEST_FACE_ID,
    ),
)


def known_by_name(name: str) -> Adapter | None:
    """Returns the public adapter that is called `name` in `KNOWN`, or None for another name."""
    return next((adapter for adapter in KNOWN if adapter.name == name), None)


def known_by_file(file_name: str) -> Adapter | None:
    """Returns the public adapter that a file's name belongs to, or None where it is not known.

    Folders, upper case and what stands after the published name (".safetensors", "_bf16") do not
    matter.
    """
    stem = file_name.replace("\\", "/").rpartition("/")[2].lower()
    return next((adapter for adapter in KNOWN if stem.startswith(adapter.file_stem)), None)


def from_metadata(metadata: Mapping[str, str]) -> Adapter | None:
    """Reads another trainer's adapter from the safetensors metadata of a LoRA.

    Returns None where the metadata say nothing about a reference. BFS's trainer writes
    `reference_slot_embedding_*` where the adapter has learned slot tags (ComfyUI-BFSNodes,
    ltx_multiref_slots.py). ltx-trainer writes `reference_downscale_factor` or
    `reference_*_scale_factor` for an IC-LoRA, whose reference lies on the video's own grid
    (github.com/Lightricks/LTX-2, ltx_trainer/training_strategies).
    """
    if any(key.startswith("reference_slot_embedding") for key in metadata):
        return Adapter(
            name="an adapter with slot tags, by BFS's metadata",
            placement=Placement.OVERLAP_SOURCE_PHASE,
            source_phase=SourcePhase(source_id=1.0),
            caveat=(
                "Its learned slot tags are not added here, so the references are told apart by "
                "their phases alone."
            ),
            is_carried=False,
        )
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
        caveat=caveat if is_scaled else "",
        is_carried=not is_scaled,
    )


_SCALE_FACTORS = (
    "reference_downscale_factor",
    "reference_spatial_scale_factor",
    "reference_temporal_scale_factor",
)
