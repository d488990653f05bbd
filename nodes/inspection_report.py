"""The report of Inspect References: what is wrong, or what will run and where references stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..stdrc_core.ltx.reference_layout import Decision, ReferenceLayout
from ..stdrc_core.method.guidance_schedule import told, told_by_sigma, without_effect
from .host.distilled import distilled_weights
from .host.in_context import reference_bounds
from .host.weights import decide_layout, lora_metadata
from .host.wrapper import keeps_first_frame, layout_choice
from .inspection_checks import find_mistakes
from .inspection_setup import Setup

# Trainers may write very much into a LoRA's metadata.
_MAX_METADATA_LETTERS = 300


def report_lines(setup: Setup) -> Iterator[str]:
    """Yields the report line by line. After a mistake it ends with what is known of the model."""
    mistakes = find_mistakes(setup)
    yield "What is wrong:" if mistakes else "Nothing wrong was found."
    yield from (f"- {sentence}" for sentence in mistakes)
    yield f"Model: {type(setup.transformer).__name__}."
    yield from (f"LoRA metadata: {_shown(each)}" for each in lora_metadata(setup.model))
    if mistakes:
        return
    decision = decide_layout(layout_choice(setup.model), setup.model)
    yield decision.sentence
    yield from _streams(setup)
    yield from _schedule(setup)
    yield from _places(setup, decision.layout)
    if doubts := list(_doubts(setup, decision)):
        yield "Probably not meant:"
        yield from (f"- {sentence}" for sentence in doubts)


def _streams(setup: Setup) -> Iterator[str]:
    """Yields the video's tokens, and whether each stream runs and with how many tokens."""
    grid, steps = setup.grid, setup.steps
    num_video = setup.video.shape[2] * grid.tokens_per_frame
    num_guides = num_video - grid.num_tokens
    tokens_per_reference = setup.own_grid.num_tokens
    runs_reference = any(step.runs.reference for step in steps)
    streams = [
        ("v0, nothing", 0, any(step.forwards.empty for step in steps)),
        ("vy, text", 0, any(step.runs.text for step in steps)),
        *(
            (f"vyr, text and {len(seen)} reference(s)", len(seen), runs_reference)
            for _, seen in setup.parts
        ),
    ]
    yield (
        f"Video: {grid.num_frames} x {grid.height} x {grid.width} = {grid.num_tokens} tokens"
        + (f", and {num_guides} of guides." if num_guides else ".")
    )
    for name, num_references, runs in streams:
        tokens = num_video + num_references * tokens_per_reference
        yield f"Stream {name}: " + (f"{tokens} tokens." if runs else "does not run.")


def _schedule(setup: Setup) -> Iterator[str]:
    """Yields which streams run when, by steps if they are known and else by sigma."""
    if setup.sigmas is not None:
        yield from told(setup.steps)
        return
    yield from told_by_sigma(setup.options, setup.steps)
    yield "Forwards in all are not known: connect sigmas."


def _places(setup: Setup, layout: ReferenceLayout) -> Iterator[str]:
    """Yields where each reference stands, in frames and pixels as the RoPE sees them."""
    layout = replace(layout, num_slots=max(each.slot for each in setup.placed) + 1)
    for number, each in enumerate(setup.placed, start=1):
        bounds = reference_bounds(
            setup.transformer, setup.grid, layout, [each.slot], setup.frame_rate, setup.own_grid
        )
        low, high = bounds[..., 0].amin(dim=1).tolist(), bounds[..., 1].amax(dim=1).tolist()
        time, rows, columns = (f"{a:g} to {b:g}" for a, b in zip(low, high, strict=True))
        yield (
            f"Reference {number}: slot {each.slot}, strength {each.strength:g}, scale "
            f"{each.scale:g}; frames {time}, rows {rows}, columns {columns} (pixels)."
        )


def _doubts(setup: Setup, decision: Decision) -> Iterator[str]:
    """Yields what can run and was probably not meant."""
    distilled = distilled_weights(setup.model)
    if distilled is not None and (doubt := distilled.doubt(setup.read_options())):
        yield doubt
    yield from decision.beyond_training(
        {each.slot for each in setup.placed},
        has_first_frame=keeps_first_frame(setup.video_mask),
        is_single_frame=setup.grid.num_frames == 1,
    )
    yield from without_effect(setup.options, setup.steps, are_known=setup.sigmas is not None)
    if all(each.strength == 0 for each in setup.placed):
        yield "The references have strength 0, so vyr sees no more than vy."


def _shown(metadata: Mapping[str, str]) -> str:
    """Returns metadata in one line, cut where they are long."""
    text = ", ".join(f"{key}: {value}" for key, value in metadata.items())
    if len(text) <= _MAX_METADATA_LETTERS:
        return text
    return text[: _MAX_METADATA_LETTERS - 3] + "..."
