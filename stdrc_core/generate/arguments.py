"""The flags of `python -m stdrc_core.generate`, with their ranges and defaults."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ltx.adapters import KNOWN
from ..method.guidance import REFERENCE_SCALE, TEXT_SCALE
from ..method.guidance_options import EXACT, OPTION_NAMES, PRESETS
from ..method.placement import Placement, ReferenceTimestep
from ..mini.text import MINIATURE
from ..prompts.gender import Gender
from .jobs import LTX_SHOT, MINIATURE_SHOT, SHOT_NAMES
from .shot import Shot

# `add_argument` of a group of flags.
Add = Callable[..., Any]

DESCRIPTION = """\
Makes a clip of a photo and a prompt, without ComfyUI. Its files go to the folder --out:

    NAME.mp4              the clip
    NAME.sheet.png        the photos beside frames of the clip
    NAME.similarity.png   the face's cosine with each photo's, frame by frame
    NAME.first.png        with --staged, the first frame that was kept
    NAME.json             what was asked, FaceSim, and the cosines

Without --checkpoint it uses the miniature that ships with this project. The miniature knows drawn
characters alone, no real person; `python -m stdrc_core.mini draw` draws the photo of one.

Several photos, of one person or of several, take the slots 0, 1, ... in their order. The weights
must have been trained for them. FaceSim with each photo is then measured on the face in each frame
that is most like it.

--staged splits the prompt by rules into what stands still and what moves. Of the first half it
makes several first frames and keeps the one most like the photo; of the second half it makes the
clip that begins with it. --face-detail makes the face of that frame anew before, enlarged.

A batch (--batch) can be stopped and started again: a clip whose NAME.json is there, made by the
same request, is not made again. What fails once a clip is made, such as its plot, is said there
under `problems`.
"""


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line.

    A flag whose default depends on the model is None if it is not given (`jobs.read_jobs`).
    """
    parser = argparse.ArgumentParser(
        prog="python -m stdrc_core.generate",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_clip(parser.add_argument_group("the clip").add_argument)
    _add_guidance(parser.add_argument_group("guidance").add_argument)
    _add_models(parser.add_argument_group("models").add_argument)
    _add_stages(parser.add_argument_group("two stages").add_argument)
    return parser


def _add_clip(add: Add) -> None:
    def usual(key: str) -> str:
        large, small = LTX_SHOT[key], MINIATURE_SHOT[key]
        return f"by default {large:g}" + (f", {small} for the miniature" if small != large else "")

    add(
        "--reference",
        type=Path,
        nargs="+",
        metavar="PHOTO",
        help="the person's photo; several photos take slots 0, 1, ... in their order",
    )
    add("--prompt", help="what the clip shows")
    add(
        "--batch",
        type=Path,
        metavar="FILE",
        help="makes many clips instead: a file with one JSON object a line, with reference (a path "
        "from the file's folder, or a list of them), prompt, and any of name, "
        f"{', '.join((*SHOT_NAMES, *OPTION_NAMES))} that differs from the command line",
    )
    add(
        "--out",
        type=Path,
        default=Path("outputs"),
        metavar="FOLDER",
        help="the folder that the files are written to, by default %(default)s",
    )
    add("--name", help="what the files are called, by default the photo's name and the seed")
    add(
        "--seed",
        type=int,
        default=Shot.seed,
        help="the seed of the noise, by default %(default)s",
    )
    add(
        "--steps",
        dest="num_steps",
        type=int,
        default=Shot.num_steps,
        help="how many sampling steps are taken, by default %(default)s",
    )
    add(
        "--frames",
        dest="num_frames",
        type=int,
        help=f"how many frames the clip has, 8n + 1; {usual('num_frames')}",
    )
    for side in ("height", "width"):
        add(
            f"--{side}",
            type=int,
            help=f"the clip's {side} in pixels, a multiple of 32; {usual(side)}",
        )
    add("--fps", type=float, help=f"frames per second; {usual('fps')}")
    add(
        "--window",
        type=int,
        metavar="FRAMES",
        help="makes a long clip of windows of this many frames, 8n + 1, as the weights were "
        "trained on: each has the reference, and a step joins them; by default the clip is one",
    )
    add(
        "--window-overlap",
        type=int,
        default=Shot.window_overlap,
        metavar="FRAMES",
        help="how many frames a window shares with the one before it, 8n; by default %(default)s",
    )
    add(
        "--pad-color",
        default="#000000",
        metavar="COLOR",
        help="what shows beside a photo of another shape than the clip's and where a photo is "
        "transparent, such as white; by default %(default)s",
    )


def _add_guidance(add: Add) -> None:
    scale = "a number, or a curve over sigma such as 5:1:cosine; by default what the weights name"
    add(
        "--text-scale",
        metavar="S_Y",
        help=f"how strongly the prompt is followed (s_y): {scale}, else {TEXT_SCALE}",
    )
    add(
        "--reference-scale",
        metavar="S_R",
        help=f"how strongly the face is kept (s_r): {scale}, else {REFERENCE_SCALE}",
    )
    for name, word, default in (
        ("start", "from which on", EXACT.start_percent),
        ("end", "until which", EXACT.end_percent),
    ):
        add(
            f"--{name}-percent",
            type=float,
            metavar="PART",
            help=f"the part of sampling, in [0, 1], {word} text and reference are guided "
            f"separately and not together; by default {default:g}",
        )
    add(
        "--guidance-rescale",
        type=float,
        metavar="PHI",
        help="how far the guided result's contrast is brought back to that of the prediction with "
        "text and reference (Lin et al. 2024), in [0, 1]; by default 0, not at all",
    )
    add(
        "--reference-every",
        type=int,
        metavar="STEPS",
        help="how many steps use the reference's direction once it is computed; by default 1, "
        "which is exact",
    )
    add(
        "--guided-share",
        type=float,
        metavar="SHARE",
        help="the share of the steps, from the first, that are guided, in [0, 1]; after them the "
        "stream with text and reference runs alone; by default 1, which is exact",
    )
    fast = PRESETS["fast"]
    add(
        "--preset",
        choices=list(PRESETS),
        help=f"fast stands for --reference-every {fast['reference_every']} --guided-share "
        f"{fast['guided_share']}, one-pass (for distilled weights) for --text-scale 1 "
        "--reference-scale 1; a flag that is given counts more than the preset; of the shipped "
        "miniature, one-pass takes its own LoRA where no --lora is given",
    )


def _add_models(add: Add) -> None:
    add(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="an LTX-2 model, as a single file, the transformer's file or a diffusers folder; by "
        "default the shipped miniature",
    )
    add(
        "--lora",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a LoRA to merge into the checkpoint, ST-DRC's or a public adapter's; for several, "
        "again for each",
    )
    add(
        "--vae",
        type=Path,
        metavar="FILE",
        help="the file with the video VAE, by default the checkpoint",
    )
    add(
        "--text-encoder",
        metavar="PATH",
        help="the folder of Gemma 3 12B, for LTX-2.5 the file of Gemma 4 with its projections, or "
        f"{MINIATURE} for the miniature's own",
    )
    add(
        "--faces",
        type=Path,
        metavar="FOLDER",
        help="the folder of the InsightFace pack that FaceSim is measured with; the miniature has "
        "its own",
    )
    add(
        "--placement",
        type=Placement,
        choices=list(Placement),
        help="where the reference's tokens stand, by default what the weights were trained for",
    )
    add(
        "--reference-timestep",
        type=ReferenceTimestep,
        choices=list(ReferenceTimestep),
        help="whether the reference's tokens have timestep 0 (clean) or the video's (shared), by "
        "default what the weights were trained for",
    )
    add(
        "--adapter",
        choices=[adapter.name for adapter in KNOWN if not adapter.held_frames],
        help="which public adapter --lora is, for a file whose metadata and name do not tell",
    )
    add(
        "--offload",
        action="store_true",
        help="keeps the transformer's blocks in host memory and runs them on the GPU in turn, "
        "which needs less GPU memory",
    )
    add(
        "--device",
        help="where the models run: cpu, cuda, cuda:1, ...; by default cuda where there is one, "
        "else cpu",
    )
    add(
        "--text-device",
        metavar="DEVICE",
        help="where the text encoder runs before the other models are loaded; by default cpu with "
        "--offload, else --device",
    )
    add(
        "--rehearse",
        action="store_true",
        help="says what a clip takes, for a file or a published model such as ltx-2.3, and makes "
        "none; neither a GPU nor files of weights are needed",
    )
    add(
        "--vram",
        type=float,
        default=24.0,
        metavar="GIB",
        help="the memory of the GPU that --rehearse judges for, by default %(default)s",
    )


def _add_stages(add: Add) -> None:
    add(
        "--staged",
        action="store_true",
        help="makes a first frame, and then the clip that begins with it",
    )
    add(
        "--candidates",
        dest="num_candidates",
        type=int,
        default=4,
        metavar="NUMBER",
        help="how many first frames --staged makes to choose from, by default %(default)s",
    )
    add(
        "--subject",
        type=Gender,
        choices=list(Gender),
        help="the gender in the prompts of --staged, by default what the photo or the prompt "
        "tells; the log says which",
    )
    add(
        "--face-detail",
        type=float,
        metavar="SIGMA",
        help="with --staged, makes the first frame's face anew, enlarged, from this noise level "
        "on, between 0 and 1; try 0.4",
    )
