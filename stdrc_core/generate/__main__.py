"""`python -m stdrc_core.generate`: a photo, or several, and a prompt to a clip, without ComfyUI.

    NAME.mp4              the clip
    NAME.sheet.png        the references beside frames of the clip
    NAME.similarity.png   the face's cosine with each reference, frame by frame
    NAME.first.png        with --staged, the first frame that was kept
    NAME.json             what was asked, FaceSim and each frame's cosine; written last

With no --checkpoint it is the miniature that ships with this project, which knows drawn characters
alone (`python -m stdrc_core.mini draw` draws the photo of one) and brings its own face pack.
With --staged the prompt is split by rules into what stands still and what moves: the first makes
several candidates of a first frame, of which the one most like the photo is kept, and the second
makes the clip from it. --face-detail makes that frame's face anew first, enlarged.
Several photos, of one person or of several, take the slots 0, 1, ... in their order: weights must
have been trained for them. FaceSim of each is then of the face in each frame that is most like it.
A batch (`--batch jobs.jsonl`) goes on where it was stopped: what has its NAME.json is done.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ..commands import exit_on_failure
from ..device import open_device
from ..ltx.adapters import KNOWN
from ..ltx.text import open_text_encoder
from ..method.guidance import REFERENCE_SCALE, TEXT_SCALE
from ..method.guidance_options import PRESETS
from ..method.layout import Placement
from ..method.reference import ReferenceTimestep
from ..mini.text import MINIATURE, STAND_INS
from ..photo_file import load_opaque_photo
from ..prompts.gender import Gender
from .jobs import read_jobs
from .models import decide_layout, load_pipeline, name_models, open_faces
from .results import is_done, make
from .staging import split_job

log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the clips.

    Input that cannot be used and files that cannot be written are one sentence on stderr and exit
    status 2.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = make_parser()
    args = parser.parse_args(argv)
    with exit_on_failure(parser, parser.prog):
        run(args)


def run(args: argparse.Namespace) -> list[Path]:
    """The clips' paths. Raises ValueError for input that cannot be used."""
    name_models(args)
    decision = decide_layout(args)
    jobs = read_jobs(args, decision)
    waiting = [job for job in jobs if not is_done(args.out, job)]
    if len(waiting) < len(jobs):
        log.info("%d of %d clips are there already", len(jobs) - len(waiting), len(jobs))
    if waiting:
        paths = {path for job in waiting for path in job.references}
        photos = {path: load_opaque_photo(path) for path in sorted(paths)}
        device = open_device(args.device)
        faces = open_faces(args, device)
        if faces is None and args.face_detail is not None:
            raise ValueError(
                "faces is missing and face-detail was given; needs a face pack that finds the "
                "first frame's face: name one (--faces), or leave --face-detail out."
            )
        stages = {
            job.name: split_job(job, args, photos[job.reference], faces)
            for job in waiting
            if job.staging is not None
        }
        for name, staged in stages.items():
            log.info("%s: %s", name, " ".join(staged.notes))
        prompts = {"", *(job.prompt for job in waiting)}
        prompts |= {
            each for staged in stages.values() for each in (staged.spatial, staged.temporal)
        }
        text = open_text_encoder(args.text_encoder, args.checkpoint, device, STAND_INS)
        contexts = {prompt: text.encode(prompt) for prompt in sorted(prompts)}
        del text
        pipeline = load_pipeline(args, decision.layout, device, contexts[""])
        for job in waiting:
            staged = stages.get(job.name)
            own = [photos[path] for path in job.references]
            make(args.out, job, pipeline, faces, own, contexts, staged)
    return [args.out / f"{job.name}.mp4" for job in jobs]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m stdrc_core.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--reference", type=Path, nargs="+", help="photo of the person; several take slots")
    add("--prompt", help="what the clip shows")
    add("--batch", type=Path, help="JSON lines instead: reference, prompt, and what else differs")
    add("--out", type=Path, default=Path("outputs"), help="folder for the clips")
    add("--name", help="of the clip's files; by default the photo's name and the seed")
    add("--seed", type=int, default=0)
    add("--steps", dest="num_steps", type=int, default=30)
    paper = "by default what the weights say, else the paper's"
    curve = "a number, or a curve over sigma such as 5:1:cosine"
    add("--text-scale", help=f"s_y, {curve}; {paper} {TEXT_SCALE}")
    add("--reference-scale", help=f"s_r, as s_y; {paper} {REFERENCE_SCALE}")
    add("--start-percent", type=float, help="the two are guided separately from here, in [0, 1]")
    add("--end-percent", type=float, help="until here; outside, together")
    add("--guidance-rescale", type=float, help="phi of Lin et al. 2024, in [0, 1]; 0 is off")
    add("--reference-every", type=int, help="steps from one computed vyr - vy to the next")
    add("--guided-share", type=float, help="of the steps, from the first; then vyr runs alone")
    add("--preset", choices=list(PRESETS), help="fast: the last two as measured; flags count more")
    add("--frames", dest="num_frames", type=int, help="8n + 1")
    add("--height", type=int, help="pixels, a multiple of 32")
    add("--width", type=int, help="pixels, a multiple of 32")
    add("--fps", type=float, help="frames a second")
    add("--checkpoint", type=Path, help="LTX-2 single file; by default the shipped miniature")
    add("--lora", type=Path, help="LoRA for the checkpoint, ST-DRC's or a public adapter's")
    add("--vae", type=Path, help="file with the video VAE; by default the checkpoint")
    add("--text-encoder", help=f"folder of Gemma 3 12B, or {MINIATURE!r} for the miniature's")
    add("--faces", type=Path, help="InsightFace pack folder that measures FaceSim")
    add("--placement", type=Placement, choices=list(Placement), help="by default the weights'")
    add(
        "--reference-timestep",
        type=ReferenceTimestep,
        choices=list(ReferenceTimestep),
        help="of the reference's tokens; by default the weights'",
    )
    names = [adapter.name for adapter in KNOWN]
    add("--adapter", choices=names, help="the public adapter that --lora is, by its name")
    add("--staged", action="store_true", help="first frame, then image to video from the best")
    add("--candidates", dest="num_candidates", type=int, default=4, help="first frames of --staged")
    add(
        "--subject",
        type=Gender,
        choices=list(Gender),
        help="gender in the prompts of --staged; by default the photo's or the prompt's, and told",
    )
    add(
        "--face-detail",
        type=float,
        metavar="SIGMA",
        help="with --staged, makes the first frame's face anew from this sigma on, enlarged: 0.4",
    )
    add("--offload", action="store_true", help="keeps the transformer's blocks in host memory")
    default_device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=default_device, help="cpu, cuda, cuda:1, ...")
    return parser


if __name__ == "__main__":
    main()
