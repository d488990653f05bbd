"""The page docs/results/miniature.md, made of the numbers that the parts have measured.

No figure is typed: a sentence that depends on numbers is chosen by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..evaluate.tables import markdown_table
from ..mini_build.face_report import ON_UNSEEN
from ..text_files import read_json
from . import ablation_section, sections
from .arguments import PARTS
from .page_text import blocks, paragraph, shell

PAGE_NAME, BUILD_NUMBERS = "miniature.md", "build.json"
# The page stands in docs/results.
_CARD = "../../stdrc_core/mini/weights/README.md"
_COMMAND = f"python -m {__package__} --build BUILD --out OUT"
_UNMEASURED = "This has not been measured with these weights yet."
# Heading -> the part that it is measured by, and its text, in the order of the page.
SECTIONS: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {
    "The shipped miniature": ("shipped", ablation_section.shipped),
    "The paper's ablation": ("ablation", ablation_section.ablation),
    "Over s_r and s_y": ("sweeps", sections.sweeps),
    "Guidance over time": ("guidance", sections.guidance),
    "One pass in place of three": ("one-pass", sections.one_pass),
    "Several photos of a person": ("photos", sections.photos),
    "Two people in one clip": ("two-people", sections.two_people),
    "Two stages, and the best of N": ("staged", sections.staged),
    "Long clips": ("drift", sections.drift),
}
_STAGE_END, _COMMIT_END, _MACHINE_END = ": time_s", ": commit", ": machine"
# Key of the report on the face pack -> what it is, and with how many digits it is shown.
_FACES_TOLD = {
    "detection_rate": ("detection rate (IoU with the true box 0.5 or more)", 3),
    "pairs_found": ("just the two faces of two persons found", 3),
    "false_detections": ("faces found in an empty scene, on average", 3),
    "landmark_error": ("landmark error, of the face's longer side", 3),
    "roc_auc": ("verification ROC AUC", 5),
    "tar_at_far_1e-3": ("TAR at FAR 1e-3", 3),
    "genuine_cosine": ("mean cosine of one person's portraits", 3),
    "impostor_cosine": ("mean cosine of different persons' portraits", 3),
}
_SECTION_7 = "../method.md#7-how-facesim-and-the-other-metrics-are-measured"
# Column or row -> what it is.
_MEASURED_HOW = {
    "FaceSim": (
        f"Likeness to the photo ([section 7]({_SECTION_7})), by the build's own face pack and of "
        "8 frames instead of 16. The VAE's decoder and the weights have learned from its "
        "recogniser, so that it is kinder to them than a stranger would be."
    ),
    "FaceSim by a second recogniser": (
        "The same by a recogniser of the same architecture, trained from another seed on other "
        "persons. No loss has ever seen it."
    ),
    "TIC": "How much a clip stays one face, 1 - L_tic of Eq. 10.",
    "background leak": (
        "The share of the background's attributes that are read as the photo's, not the prompt's."
    ),
    "caption adherence": (
        "The share of the caption's attributes that a small network, which knows nothing of the "
        "generator, reads back from the clip."
    ),
    "FaceSim without leak": (
        "FaceSim x (1 - background leak), clip by clip: likeness that is not a copy of the photo."
    ),
    "true clips": ("Clips drawn by code as the prompt asks: what a perfect generator would make."),
    "true clips through the VAE": (
        "The same, encoded and decoded: the best that this VAE can show."
    ),
}


def read_numbers(folder: Path) -> dict[str, Any]:
    """Part -> its numbers, of those that are in the folder, and `build`.

    Raises ValueError where the build's are not there.
    """
    path = folder / BUILD_NUMBERS
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {BUILD_NUMBERS}; needs the numbers of a build: measure a part first."
        )
    names = [name for name in PARTS if (folder / f"{name}.json").is_file()]
    return {"build": read_json(path)} | {name: read_json(folder / f"{name}.json") for name in names}


def page(numbers: Mapping[str, Any]) -> str:
    """The whole page, of numbers as `read_numbers` has them.

    Numbers of other weights than the build's count as missing.
    """
    known = {
        name: own
        for name, own in numbers.items()
        if name == "build" or is_of(own, numbers["build"])
    }
    intro = paragraph(
        f"The miniature is an LTX-2.3 of a few MB, trained by this project's own trainer on drawn "
        f"characters ([its card]({_CARD})). It is small enough to train the paper's ablation on a "
        "CPU. What is measured here says how the method behaves on drawn characters; it says "
        "nothing of real faces or of LTX-2.3's numbers."
    )
    made = paragraph(
        "This page, its pictures and its numbers are written by one command, of one build; no "
        "figure is typed. BUILD and OUT are folders; each section has its own part's command:"
    )
    contents = [
        "1. [The build](#the-build)",
        "2. [How it is measured](#how-it-is-measured)",
        *(f"{i}. [{head}](#{_anchor(head)})" for i, head in enumerate(SECTIONS, 3)),
    ]
    parts = [
        "# On the miniature\n",
        intro,
        made,
        shell(f"{numbers['build']['build_command']}\n{_COMMAND}"),
        "\n".join(contents) + "\n",
        _build(numbers["build"]),
        _how_it_is_measured(),
    ]
    for head, (part, write) in SECTIONS.items():
        text = write(known[part]) if part in known else paragraph(_UNMEASURED)
        parts.append(blocks(f"## {head}\n", text))
    return blocks(*parts)


def is_of(part: Mapping[str, Any], build: Mapping[str, Any]) -> bool:
    """Whether a part's numbers are of the build's files, by their digests."""
    own = build["files"]
    return all(
        own[name]["sha256"] == digest for name, digest in part["files"].items() if name in own
    )


def _build(build: Mapping[str, Any]) -> str:
    report = build["report"]
    stages = [key.removesuffix(_STAGE_END) for key in report if key.endswith(_STAGE_END)]
    rows = [
        [stage, _minutes(report[stage + _STAGE_END]), str(report.get(stage + _COMMIT_END, ""))]
        for stage in stages
    ]
    machines = [value for key, value in report.items() if key.endswith(_MACHINE_END)]
    told = [f"Machine: {'; '.join(dict.fromkeys(machines))}."] if machines else []
    if (earlier := report.get("options", {}).get("start_from")) is not None:
        told.append(
            "It began with the weights in EARLIER, those that this project shipped before (`git "
            "log -- stdrc_core/mini/weights` finds their commit, and `git worktree add` gets it): "
            f"the SHA-256 of their checkpoint begins {earlier[:12]}."
        )
    sizes = [
        [f"`{name}`", f"{facts['bytes'] / 1e6:.1f} MB"] for name, facts in build["files"].items()
    ]
    return blocks(
        "## The build\n",
        markdown_table(["stage", "minutes", "commit"], rows) if rows else "",
        paragraph(*told) if told else "",
        markdown_table(["file", "size"], sizes),
        _faces(report[ON_UNSEEN]) if ON_UNSEEN in report else "",
    )


def _faces(found: Mapping[str, Any]) -> str:
    return blocks(
        paragraph(
            f"The face pack on {found['num_persons']} persons that took no part in training, with "
            f"{found['num_pictures']} portraits, and on scenes of nobody and of two:"
        ),
        markdown_table(
            ["", ""],
            [[name, f"{found[key]:.{digits}f}"] for key, (name, digits) in _FACES_TOLD.items()],
        ),
    )


def _minutes(time_s: float) -> str:
    return f"{time_s / 60:.0f}"


def _how_it_is_measured() -> str:
    return blocks(
        "## How it is measured\n",
        paragraph(
            "Persons are drawn and unseen: none of them took part in any training. The prompt asks "
            "for a scene that differs from the photo's in every attribute. Figures are the mean ± "
            "the standard error over persons; where a row has several trainings or seeds, the "
            "standard deviation of their means stands behind it in brackets. Two rows are told "
            "apart where their difference, in pairs of one person, is larger than two of its "
            "standard errors over persons, and over trainings where these differ; of three "
            "trainings the error is known badly, so that more of it is asked for (Student's t)."
        ),
        markdown_table(["column or row", "what it is"], [*_MEASURED_HOW.items()]),
    )


def _anchor(heading: str) -> str:
    """What a link to the heading ends with, by GitHub's rule."""
    kept = [each for each in heading.lower() if each.isalnum() or each in " -_"]
    return "".join(kept).replace(" ", "-")
