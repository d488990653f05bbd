"""The page's sections on the shipped weights and on the paper's ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..evaluate.tables import markdown_table
from .judgement import LEAST_OF_TRUE, Direction, Verdict
from .page_text import blocks, count, figure, measured, moved, paragraph, picture, series
from .tables import DECODED_CLIPS, TRUE_CLIPS, cell

BASE, SHIPPED = "base, without reference", "the shipped miniature"
PORTRAIT, COPY = "portrait", "copy"
# Column -> its head, of photos taken apart and of the copy test.
PORTRAIT_COLUMNS = {
    "facesim": "FaceSim",
    "second": "FaceSim by a second recogniser",
    "tic": "TIC",
    "leak": "background leak",
    "caption": "caption adherence",
}
COPY_COLUMNS = {
    "facesim": "FaceSim",
    "second": "FaceSim by a second recogniser",
    "leak": "background leak",
    "without_leak": "FaceSim without leak",
    "caption": "caption adherence",
}
README_COLUMNS = ("facesim", "tic", "leak", "caption")
# Below this leak there is nothing to copy that a row could keep the model from.
_NO_LEAK = 0.05


def shipped(numbers: Mapping[str, Any]) -> str:
    """The shipped weights beside their base and true clips."""
    results, asked = numbers["results"], numbers["asked"]
    rows = results["rows"]
    names = (BASE, SHIPPED, TRUE_CLIPS, DECODED_CLIPS)
    shares = {
        key: [
            rows[SHIPPED][PORTRAIT][key]["mean"] / rows[name][PORTRAIT][key]["mean"]
            for name in (TRUE_CLIPS, DECODED_CLIPS)
        ]
        for key in ("facesim", "second")
    }
    (of_true, of_decoded), (second, second_of_decoded) = shares.values()
    bar = f"{LEAST_OF_TRUE:.2f} of true clips'"
    return blocks(
        measured(numbers),
        paragraph(
            f"{asked['persons']} persons, {count(asked['seeds'], 'seed')} of the noise, "
            f"{asked['steps']} steps, s_y = {results['text_scale']:g}, "
            f"s_r = {results['reference_scale']:g}.",
        ),
        _table({name: rows[name] for name in names}, PORTRAIT, PORTRAIT_COLUMNS, bold=SHIPPED),
        paragraph(
            f"That is {of_true:.2f} of true clips' FaceSim, and {of_decoded:.2f} of what the VAE "
            f"can show of it; by the second recogniser {second:.2f} and {second_of_decoded:.2f}.",
            f"The bar of {bar} is {'reached' if of_true >= LEAST_OF_TRUE else 'not reached'}, and "
            f"by the second recogniser {'reached' if second >= LEAST_OF_TRUE else 'not reached'}.",
        ),
        picture("miniature.jpg", "Photos of unseen persons, and frames of the clips of them"),
    )


def ablation(numbers: Mapping[str, Any]) -> str:
    """The paper's rows: photos taken apart, the copy test, and what is repeated of its order."""
    results, asked = numbers["results"], numbers["asked"]
    recipes = series([f"`{name}`" for name in results["recipes"]])
    return blocks(
        measured(numbers),
        paragraph(
            f"Each row is trained from the same base for {asked['training_steps']} steps by its "
            f"recipe ({recipes}), in {count(asked['trainings'], 'training')} of other seeds. As in "
            "the paper's data, the photo in training is a frame of the clip itself, with its "
            "background: "
            f"{results['clips']} clips of one person of the build. The shipped miniature is the "
            "whole method, trained for longer and with photos taken apart. Rows up to the identity "
            f"losses are sampled with s_y = s_r = {results['text_scale']:g}, decoupled guidance "
            f"and the shipped miniature with s_r = {results['reference_scale']:g}; "
            f"{asked['persons']} persons, {asked['steps']} steps, and for each training noise of "
            "its own."
        ),
        "### Photos taken apart\n",
        paragraph("The photo is a portrait in a scene of its own."),
        _table(results["rows"], PORTRAIT, PORTRAIT_COLUMNS),
        picture(
            "ablation.jpg",
            "For six persons: the photo, then frames of each row's clip, in the table's order",
        ),
        paragraph(_counted(results["order"][PORTRAIT], "FaceSim")),
        "### The copy test\n",
        paragraph(
            "The photo is a frame of a clip of that person in another scene, as in these rows' "
            "training, and the prompt asks for a scene that differs from it in every attribute. "
            "FaceSim is with a photo taken apart, so that copying the frame does not help it."
        ),
        _table(results["rows"], COPY, COPY_COLUMNS),
        picture(
            "copies.jpg",
            "For six persons: the frame that is given, then frames of each row's clip",
        ),
        "### The paper's order\n",
        paragraph(
            "The paper's claim is likeness that is no copy: each of its rows is above the one "
            "before. Each step here, on the copy test:"
        ),
        _steps(results["order"][COPY]),
        paragraph(_counted(results["order"][COPY], "FaceSim without leak")),
        *(paragraph(f"*{step['to']}*: {_why(step, results)}") for step in results["order"][COPY]),
    )


def readme_table(numbers: Mapping[str, Any]) -> str:
    """The table of README's results, of the numbers of the part `shipped`."""
    rows = numbers["results"]["rows"]
    columns = {name: PORTRAIT_COLUMNS[name] for name in README_COLUMNS}
    shown = {name: rows[name] for name in (BASE, SHIPPED, TRUE_CLIPS)}
    return _table(shown, PORTRAIT, columns, bold=SHIPPED)


def _table(
    rows: Mapping[str, Mapping[str, Mapping[str, Any]]],
    kind: str,
    columns: Mapping[str, str],
    bold: str | None = None,
) -> str:
    lines = [
        [f"**{name}**" if name == bold else name, *(cell(row[kind][key]) for key in columns)]
        for name, row in rows.items()
    ]
    return markdown_table(["", *columns.values()], lines)


def _steps(steps: Sequence[Mapping[str, Any]]) -> str:
    heads = ["step", "FaceSim without leak", "FaceSim", "background leak", "beside the paper"]
    return markdown_table(
        heads,
        [
            [
                f"{step['from']} → {step['to']}",
                *(figure(each, signed=True) for each in (step, step["facesim"], step["leak"])),
                step["verdict"],
            ]
            for step in steps
        ],
    )


def _counted(steps: Sequence[Mapping[str, Any]], column: str) -> str:
    """Which steps of the paper's order come out in this column, and which do not."""
    said = []
    for verdict, phrase in (
        (Verdict.SAME, "as in the paper"),
        (Verdict.ALIKE, "not told apart from 0"),
        (Verdict.OTHER, "the other way"),
    ):
        names = [f"*{step['to']}*" for step in steps if step["verdict"] == verdict]
        if names:
            said.append(f"{phrase}: {series(names)}")
    return f"In {column}, of the paper's {count(len(steps), 'step')}, {'; '.join(said)}."


def _why(step: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What moved in a step: likeness, leak, or both; and, where the step is not the paper's, what
    the numbers say of it."""
    ways = {key: step[key]["direction"] for key in ("facesim", "leak")}
    clauses = [
        moved("FaceSim", step["facesim"], ways["facesim"]),
        moved("background leak", step["leak"], ways["leak"]),
    ]
    said = f"{step['verdict']}; {' and '.join(clauses)}."
    if step["verdict"] == Verdict.SAME:
        return said
    before = results["rows"][step["from"]][COPY]["leak"]["mean"]
    if ways == {"facesim": Direction.BELOW, "leak": Direction.BELOW}:
        weighed = "more than" if step["verdict"] == Verdict.OTHER else "about as much as"
        return f"{said} It keeps the photo's scene out, and costs {weighed} that in likeness."
    if before < _NO_LEAK and step["to"] in results["against_copying"]:
        return (
            f"{said} It is there to keep the model from copying, and the row before it leaks "
            f"{before:.3f}: there is little to keep it from."
        )
    if ways["leak"] == Direction.ABOVE:
        return f"{said} More of the photo's scene comes along."
    if step["verdict"] == Verdict.OTHER:
        return f"{said} It costs likeness in so small a model and so short a training."
    return (
        f"{said} What it does is smaller than {count(results['trainings'], 'training')} can show."
    )
