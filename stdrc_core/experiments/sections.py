"""The page's sections on what is measured of the shipped weights alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluate.tables import markdown_table
from ..method.grid import num_latent_frames
from ..mini.drawing import NUM_FRAMES
from . import one_pass as student
from .best_of_n import DIRECT, NUM_CANDIDATES, STAGED, row_name
from .costs import cost_table
from .drift import PHOTO, START, WITH
from .judgement import MOST_LOST, MOST_MOTION_OFF, MOST_TIME, Direction
from .page_text import blocks, count, figure, measured, moved, paragraph, picture, series
from .photos import COLUMNS as PHOTO_COLUMNS
from .staged import COLUMNS as STAGED_COLUMNS
from .tables import TRUE_CLIPS, cell, table
from .two_people import COLUMNS as DUO_COLUMNS


def sweeps(numbers: Mapping[str, Any]) -> str:
    """Scores over the two scales."""
    results, asked = numbers["results"], numbers["asked"]
    s_y, s_r = results["text_scale"], results["reference_scale"]
    facesim = _swept(results["sweeps"]["reference_scale"], "facesim")
    caption = _swept(results["sweeps"]["text_scale"], "caption")
    return blocks(
        measured(numbers),
        paragraph(f"{asked['persons']} persons, 1 seed, {asked['steps']} steps."),
        picture("sweeps.png", f"Scores over s_r at s_y = {s_y:g}, and over s_y at s_r = {s_r:g}"),
        paragraph(
            f"s_r moves FaceSim, from {facesim['first']} at {facesim['from']:g} to at most "
            f"{facesim['most']} at {facesim['at']:g}. s_y moves the caption's adherence, from "
            f"{caption['first']} at {caption['from']:g} to at most {caption['most']} at "
            f"{caption['at']:g}."
        ),
    )


def guidance(numbers: Mapping[str, Any]) -> str:
    """What guidance over time saves and costs."""
    results, asked = numbers["results"]["settings"], numbers["asked"]
    fast = results["fast"]
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, 1 seed, {asked['steps']} steps. The options are in [the "
            "method's section 12](../method.md#12-guidance-over-time).",
            _COSTS,
        ),
        cost_table(results),
        picture("guidance.png", "FaceSim lost over time saved, for each setting"),
        paragraph(
            f"`fast` takes {fast['clip_time']:.2f} of a whole clip's time and {fast['time']:.2f} "
            f"of the transformer's alone, and loses {figure(fast['facesim_lost'])} of FaceSim and "
            f"{figure(fast['caption_lost'])} of the caption. LTX-2.3 may want other numbers: these "
            "are the miniature's."
        ),
    )


def one_pass(numbers: Mapping[str, Any]) -> str:
    """The distilled student against exact guidance."""
    results, asked = numbers["results"], numbers["asked"]
    own, bars, gained = results["settings"][student.STUDENT], results["bars"], results["gained"]
    lost = (
        f"it loses {figure(own['facesim_lost'])} of FaceSim and {figure(own['caption_lost'])} of "
        "the caption"
    )
    above = " and ".join(f"{figure(gained[key], signed=True)} {name}" for key, name in _GAINED)
    bar = f"{MOST_LOST:g} in both"
    three = " and ".join(
        f"{figure(results['settings'][student.VYR][f'{key}_lost'], signed=True)} {name}"
        for key, name in _GAINED
    )
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, {count(asked['seeds'], 'seed')}, {asked['steps']} steps. "
            "The student is a LoRA that has learned what three streams predict together "
            "(`distil_mini`), and runs one stream a step. vyr alone is the same one stream of the "
            "weights without it.",
            _COSTS,
        ),
        cost_table(results["settings"]),
        picture("one_pass.png", "FaceSim lost over time saved: the student and cheaper guidance"),
        paragraph(
            f"Against exact guidance {lost}, which is {_within(bars['within'])} the bar of {bar}. "
            f"It is {'' if bars['above_vyr'] else 'not '}above vyr alone by two standard errors in "
            f"both ({above}); exact guidance itself is above vyr by {three}. It takes "
            f"{own['time']:.3f} of the transformer's time, {_within(bars['time'])} the bar of "
            f"{MOST_TIME:.2f}; of the tokens of the three streams it has {_ONE_OF_THREE:.3f}, "
            "since the reference stands in one of them alone. In longer clips that is nearer to a "
            "third."
        ),
    )


def photos(numbers: Mapping[str, Any]) -> str:
    """Likeness with one to four photos."""
    results, asked = numbers["results"], numbers["asked"]
    rows = {count(int(n), "photo"): row for n, row in results["rows"].items()}
    rows[TRUE_CLIPS] = results[TRUE_CLIPS]
    said = []
    for gain in results["gains"]:
        own = gain["gallery"]
        told = moved("FaceSim with other photos", own, own["direction"])
        said.append(f"From {count(gain['from'], 'photo')} to {gain['to']}, {told}.")
    all_of_them = results["gains"][-1]["gallery"]["direction"]
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, {count(asked['seeds'], 'seed')}, {asked['steps']} steps. "
            "All photos show the person in other poses and scenes. FaceSim is with the mean "
            "embedding of four other photos, which the model is never given, and with the first "
            "photo, which it always is."
        ),
        table(rows, PHOTO_COLUMNS),
        picture("photos.png", "FaceSim over the number of photos"),
        picture("photos.jpg", "Four photos, then frames of clips that were given 1 to 4 of them"),
        paragraph(*said),
        paragraph(_PHOTOS_TOLD[all_of_them]),
    )


def two_people(numbers: Mapping[str, Any]) -> str:
    """Two persons in one clip."""
    results, asked = numbers["results"], numbers["asked"]
    gains, own = results["gains"], results["own"]
    told = [each for kind in (gains, own) for row in kind.values() for each in row.values()]
    bound = {each["direction"] for each in told} == {Direction.ABOVE}
    return blocks(
        measured(numbers),
        paragraph(
            f"The shipped weights, which saw clips of two persons among those of one; "
            f"{asked['pairs']} pairs, {count(asked['seeds'], 'seed')}, {asked['steps']} steps. "
            "FaceSim of the face at each side of the frame with each of the photos; the first "
            "person is the one whom the caption puts at the left:"
        ),
        table(results["rows"], DUO_COLUMNS),
        picture(
            "two_people.jpg",
            "Both photos, and a frame without references, with both, with the two swapped, and of "
            "the true clip",
        ),
        paragraph(
            "Over the row without references, the four faces are more like their own photo by "
            f"{_listed(gains)}; they are more like it than like the other photo by {_listed(own)}.",
            "All of it is told apart from 0, with the references swapped too: each slot is bound "
            "to its place in the caption."
            if bound
            else "Not all of it is told apart from 0, so that the slots are not surely bound to "
            "their places in the caption.",
        ),
    )


def staged(numbers: Mapping[str, Any]) -> str:
    """Two stages, and the best of N."""
    results, asked = numbers["results"], numbers["asked"]
    motion = results["motion"]
    shares = series([f"{each['share']:.2f}" for each in motion.values()])
    within = [each["within"] for each in motion.values()]
    bar = f"{MOST_MOTION_OFF:.0%} of it".replace("%", " %")
    if all(within):
        judged = f"all within {bar}: the clip begins from its first frame without a ghost"
    elif any(within):
        judged = f"some of them not within {bar}"
    else:
        judged = f"none within {bar}"
    most = NUM_CANDIDATES[-1]
    difference = results["differences"][f"best of {most}"]
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, 1 seed, {asked['steps']} steps. *Direct* makes clips at "
            "once and keeps the one most like the photo; *staged* makes first frames, keeps the "
            "one most like the photo and animates it ([section "
            "8](../method.md#8-ipvg-std-decoupled-prompts-and-two-stages)). Motion is the face's; "
            "time is the processor's for a clip."
        ),
        table(results["rows"], STAGED_COLUMNS),
        picture("staged.png", "Scores of direct and staged clips over the number of candidates"),
        picture("staged.jpg", "The photo, and frames of a direct, a staged and a true clip"),
        paragraph(
            "Staged clips' motion as a share of true clips', with "
            f"{series([str(each) for each in NUM_CANDIDATES])} candidates: {shares}; {judged}.",
            f"With {most} candidates staged minus direct is "
            f"{figure(difference['facesim'], signed=True)} in FaceSim and "
            f"{figure(difference['caption'], signed=True)} in the caption; a staged clip takes "
            f"{_time(results, STAGED, most):.2f} s, a direct one "
            f"{_time(results, DIRECT, most):.2f} s.",
            "Candidates are chosen by the recogniser that then measures them, so a part of what "
            "more of them gain is that choice.",
        ),
    )


def drift(numbers: Mapping[str, Any]) -> str:
    """Likeness over long clips."""
    results, asked = numbers["results"], numbers["asked"]
    heads = ["", "cosine with the photo", "its slope over 100 frames"]
    heads += ["cosine with the first window", "its slope over 100 frames"]
    rows = []
    for way, own in results["ways"].items():
        cells = [cell(own[key][what]) for key in (PHOTO, START) for what in ("cosine", "slope")]
        rows.append([way, *cells])
    slope, apart = results["ways"][WITH][PHOTO]["slope"], results["difference"][START]
    told = (
        "is not told apart from 0"
        if slope["direction"] == Direction.ALIKE
        else f"is {slope['direction']} 0"
    )
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, clips of {asked['frames']} frames in windows of "
            f"{asked['window']}, each {asked['overlap']} frames into the one before; the miniature "
            f"was trained with {asked['window']}. {asked['steps']} steps. The slope is that of the "
            "straight line through the frames' cosines ([how to read "
            "it](../evaluate.md#how-to-read-the-numbers))."
        ),
        markdown_table(heads, rows),
        picture("drift.png", "Cosines over frames, with and without the reference"),
        paragraph(
            f"With the reference the slope of the cosine with the photo, "
            f"{figure(slope, signed=True)}, {told}. Of the cosine with the clip's own first "
            "window, the slope with the reference minus that without it is "
            f"{figure(apart, signed=True)}: {_KEEPS[apart['direction']]}."
        ),
    )


_COSTS = (
    "Time is the processor's, as a ratio to exact guidance, a median over batches. Lost is the "
    "difference to exact guidance of the same persons and noise; below 0 something was gained."
)
# The clip's latent frames stand in all three streams, the reference's one in vyr's alone.
_CLIP = num_latent_frames(NUM_FRAMES)
_ONE_OF_THREE = (_CLIP + 1) / (3 * _CLIP + 1)
_GAINED = (("facesim", "in FaceSim"), ("caption", "in the caption"))
_PHOTOS_TOLD = {
    Direction.ABOVE: "So more photos of a person give more of the person.",
    Direction.ALIKE: (
        "Four photos are not told apart from one: in this world one portrait already shows every "
        "attribute of a face, so that further poses have little to add."
    ),
    Direction.BELOW: (
        "Four photos are below one: in this world one portrait already shows every attribute of a "
        "face, and further photos only share the attention."
    ),
}
_KEEPS = {
    Direction.ABOVE: "the reference holds the face",
    Direction.ALIKE: "the two are not told apart",
    Direction.BELOW: "the reference does not hold the face better",
}


def _within(reached: bool) -> str:
    return "within" if reached else "not within"


def _listed(gains: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    words = [figure(each, signed=True) for own in gains.values() for each in own.values()]
    return series(words)


def _time(results: Mapping[str, Any], way: str, number: int) -> float:
    return results["rows"][row_name(way, number)]["time_s"]["mean"]


def _swept(points: list[dict[str, Any]], column: str) -> dict[str, Any]:
    best = max(points, key=lambda point: point[column]["mean"])
    first = points[0]
    return {
        "from": first["scale"],
        "first": f"{first[column]['mean']:.2f}",
        "at": best["scale"],
        "most": f"{best[column]['mean']:.2f}",
    }
