"""Reference List: several references in one LATENT (docs/method.md section 11).

Its batch holds the references. The slot, strength and scale of each stand beside the samples; a
plain batch of latents without them is a list too, in slots 0, 1, ... and all alike.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io

from ..stdrc_core.method.multi_reference import PlacedReference, in_order

# A LATENT's key for a tuple of PlacedReference, one for each reference of the batch.
PLACED = "stdrc_references"
# The key of a LATENT that is no list yet for whether its photos were encoded at their own size.
OWN_SIZE = "stdrc_own_size"
# A choice of `slot`: the one after the highest that is taken.
NEXT_SLOT = -1


def placed_references(latent: dict[str, Any]) -> tuple[PlacedReference, ...]:
    """Returns where each reference of a LATENT stands and how much it counts, in batch order.

    Raises ValueError if references were dropped or doubled on the way here.
    """
    num_references = latent["samples"].shape[0]
    placed = latent.get(PLACED) or _plain(latent)
    if len(placed) != num_references:
        raise ValueError(
            f"reference holds {num_references} latents and says where {len(placed)} stand; needs "
            "as many: connect Reference List directly, with no node between that changes batches."
        )
    return placed


class STDRCReferenceList(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCReferenceList",
            display_name="Reference List",
            category="ST-DRC",
            description=(
                "Puts references into a list, of one person or of several: each with a place of "
                "its own, a strength and a guidance scale. Chain one node per reference."
            ),
            search_aliases=["st-drc", "references", "multi reference", "identity", "ltx"],
            inputs=[
                io.Latent.Input(
                    "reference", tooltip="From Encode Reference Latent: one photo, or a batch."
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip=(
                        "How strongly the video and this reference see each other: multiplies "
                        "their attention's weights. 1 is as trained, 0 is not at all."
                    ),
                ),
                io.Float.Input(
                    "scale",
                    default=1.0,
                    min=0.0,
                    max=4.0,
                    step=0.05,
                    tooltip=(
                        "This reference's share of the guider's reference_scale. If all references "
                        "have the same scale, three streams run; each further scale costs one more "
                        "stream. 0 leaves this reference out."
                    ),
                ),
                io.Int.Input(
                    "slot",
                    default=NEXT_SLOT,
                    min=NEXT_SLOT,
                    max=63,
                    tooltip=(
                        "Its place beside the video: 0, 1, ...; -1 takes the next free one. "
                        "Weights trained with one reference know slot 0 best."
                    ),
                    advanced=True,
                ),
                io.Latent.Input(
                    "references",
                    optional=True,
                    tooltip="The list so far, from another Reference List.",
                ),
            ],
            outputs=[
                io.Latent.Output(
                    display_name="references", tooltip="For the reference input of the guider."
                )
            ],
        )

    @classmethod
    def execute(
        cls,
        reference: dict[str, Any],
        strength: float,
        scale: float,
        slot: int,
        references: dict[str, Any] | None = None,
    ) -> io.NodeOutput:
        if PLACED in reference:
            raise ValueError(
                "reference is a list already; needs a latent of Encode Reference Latent: connect "
                "the list to references."
            )
        before = () if references is None else placed_references(references)
        samples = reference["samples"]
        if references is not None:
            _check_alike(samples, references["samples"])
            samples = torch.cat((references["samples"], samples.to(references["samples"])))
        taken = [each.slot for each in before]
        first = max(taken, default=-1) + 1 if slot == NEXT_SLOT else slot
        own = [
            replace(each, slot=first + each.slot, strength=strength, scale=scale)
            for each in _plain(reference)
        ]
        if double := sorted({each.slot for each in own} & set(taken)):
            raise ValueError(
                f"slot {double[0]} is taken already; needs another, or -1 for the next free one."
            )
        return io.NodeOutput({"samples": samples, PLACED: (*before, *own)})


def _plain(latent: dict[str, Any]) -> tuple[PlacedReference, ...]:
    """Returns the references of a latent that is no list yet, in slots 0, 1, ..."""
    has_own_size = bool(latent.get(OWN_SIZE))
    references = in_order(latent["samples"].shape[0])
    return tuple(replace(each, has_own_size=has_own_size) for each in references)


def _check_alike(samples: torch.Tensor, others: torch.Tensor) -> None:
    if samples.shape[1:] != others.shape[1:]:
        raise ValueError(
            f"reference has shape {list(samples.shape)} and references {list(others.shape)}; needs "
            "the same size: encode all photos for the same latent."
        )
