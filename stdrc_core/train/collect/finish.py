"""Finishes a data set: its manifest, its report and its page, and nothing besides."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files import write_text
from ...folders import files_below, listed
from .captioning import Captions
from .clips import CLIPS, REFERENCES, STRIPS, ClipMaker
from .left_out import LeftOut, Reason, counted, write_report
from .manifest import manifest_line, write_manifest
from .options import CollectConfig
from .page import PAGE, ShownClip, render_page
from .plan import Plan, PlannedClip

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a data set holds."""

    manifest: Path
    num_clips: int
    num_persons: int
    num_copied: int
    """How many clips were cut without encoding."""
    num_captions: int
    left_out: tuple[LeftOut, ...]


def finish(
    out: Path,
    plan: Plan,
    maker: ClipMaker,
    captions: Captions,
    names: Mapping[str, str],
    left_out: Sequence[LeftOut],
    config: CollectConfig,
) -> Summary:
    """Writes what is read of the data set; raises ValueError where it has no clip.

    `left_out` are those known so far; clips that could not be written are among them.
    """
    left_out = list(left_out)
    lines, shown, num_captions = [], [], 0
    num_copied = 0
    for clip in plan.clips:
        made = maker.made(clip)
        if made is None:
            # It could not be written, which `left_out` tells.
            continue
        problem = made.get("problem")
        if problem is not None:
            left_out.append(note_of(clip, names, Reason.NOT_CUT, problem))
            continue
        if not all(made["references"]):
            nobody = "no face is found in the references that were cut out for it"
            left_out.append(note_of(clip, names, Reason.NO_REFERENCE, nobody))
            continue
        caption, why = captions.caption(clip)
        if not caption:
            left_out.append(note_of(clip, names, Reason.CAPTION, why))
        num_captions += bool(caption)
        num_copied += made["copied"]
        lines.append(manifest_line(clip, made, caption))
        shown.append(ShownClip(clip=clip, made=made, caption=caption, is_in=True))
    for clip in plan.excluded:
        made = maker.records.read_any(clip.window.key)
        if made is not None and "strip" in made:
            shown.append(ShownClip(clip=clip, made=made, caption="", is_in=False))
    write_report(out, left_out)
    write_text(out / PAGE, render_page(shown, left_out, names, plan, config))
    manifest = write_manifest(out, lines)
    _tidy(out, maker, plan, [each.made for each in shown])
    if not lines:
        raise ValueError(
            f"no clip could be made of the footage ({counted(left_out)}); needs one stretch of "
            f"{config.window_s:.1f} s and another shot of the same person: see {out / PAGE}."
        )
    persons = {person for each in shown if each.is_in for person in each.clip.persons}
    summary = Summary(
        manifest=manifest,
        num_clips=len(lines),
        num_persons=len(persons),
        num_copied=num_copied,
        num_captions=num_captions,
        left_out=tuple(left_out),
    )
    log.info(
        "%s: %d clips of %d persons, %d cut without encoding, %d with a caption; left out: %s.",
        out,
        summary.num_clips,
        summary.num_persons,
        summary.num_copied,
        summary.num_captions,
        counted(left_out),
    )
    return summary


def note_of(clip: PlannedClip, names: Mapping[str, str], reason: Reason, detail: str) -> LeftOut:
    """What the report says of a clip; `names` are the videos' by their keys."""
    window = clip.window
    return LeftOut(
        reason=reason,
        file=names[window.footage],
        start_s=round(window.start_s, 3),
        end_s=round(window.end_s, 3),
        detail=detail,
    )


def _tidy(out: Path, maker: ClipMaker, plan: Plan, kept: Sequence[Mapping]) -> None:
    """Removes clips, references and strips that an earlier plan had, and what a killed run left."""
    current = {clip.window.key for clip in (*plan.clips, *plan.excluded)}
    for key in list(maker.records.keys()):
        made = maker.records.read_any(key) or {}
        if key not in current:
            if "video" in made:
                (out / made["video"]).unlink(missing_ok=True)
            maker.records.forget(key)
    used = {name for made in kept for own in made["references"] for name in own}
    used |= {made["strip"] for made in kept}
    videos = {made["video"] for made in kept}
    for folder in (REFERENCES, STRIPS, CLIPS):
        for path in files_below(out / folder):
            name = path.relative_to(out).as_posix()
            is_ours = folder != CLIPS or (path.suffix != ".txt" and name not in videos)
            if is_ours and name not in used:
                path.unlink()
    for folder in _folders(out):
        for partial in list(folder.glob(".*.partial")):
            partial.unlink()


def _folders(folder: Path) -> Iterator[Path]:
    """A folder and all below it."""
    yield folder
    for each in listed(folder):
        if each.is_dir():
            yield from _folders(each)
