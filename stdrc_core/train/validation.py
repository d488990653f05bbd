"""Validation of a run: fixed prompts, photos and seeds through the three-stream sampler.

    validation/step_XXXXXXXX/NN.mp4      a clip for each item
    validation/step_XXXXXXXX/sheet.png   a row for each item: its photos, then frames of the clip
    validation.jsonl                     a line for each validation, with FaceSim

A validation samples with the weights that the model has, and leaves them and every random state as
they were. FaceSim (docs/method.md section 7) is measured on the decoded frames, before H.264. An
item with several photos has the mean of its FaceSims with each of them, where each frame counts the
face that is most like the photo.

Of several processes each samples an item, and another one when it is done; the main one decodes,
scores and writes them all. Where weights are sharded (FSDP2) a forward pass needs all processes: a
process without an item of its own then samples one for nothing, so that all make as many passes.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule

from ..contact_sheet import contact_sheet
from ..faces.finder import FaceFinder
from ..faces.similarity import clip_facesim, clip_facesims, largest_embeddings, spread
from ..ltx.text import TextEncoder
from ..ltx.vae import VideoVAE
from ..method.grid import latent_grid
from ..method.guidance_options import GuidanceOptions
from ..method.reference import fit_reference, in_slots
from ..method.sampling import needs_reference, sample, sigma_schedule
from ..photo_file import load_opaque_photo
from ..shown_text import one_line
from ..uint8 import to_uint8
from ..video import read_clip, write_clip
from .assemble import ReferenceEncoder
from .cache import Manifest
from .config import TrainConfig, ValidationItem, ValidationSection
from .processes import Processes
from .step_lines import VALIDATIONS, append_line, read_lines

log = logging.getLogger(__name__)

SHEET_NAME = "sheet.png"
_NUM_COLUMNS, _LABEL_LENGTH = 6, 80


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """An item of `validation.items` with its photos read and its prompt embedded."""

    item: ValidationItem
    photos: Sequence[Tensor]
    """The item's photos in the order of their slots, `[1, h, w, 3]` in [0, 1]."""
    context: Tensor
    """The prompt's embedding, `[L, D]`."""
    e_refs: Sequence[Tensor] | None
    """Embeddings of the photos' faces; None where no face pack is configured."""


def read_cases(
    section: ValidationSection, text: TextEncoder, faces: FaceFinder | None
) -> list[Case]:
    """Reads the photos and embeds the prompts and faces, once for all validations of a run.

    Raises ValueError for a photo that cannot be read or in which `faces` finds none.
    """
    cases = []
    for item, photos in zip(section.items, read_photos(section), strict=True):
        e_refs = None
        if faces is not None:
            e_refs = [
                _embedding(path, photo, faces)
                for path, photo in zip(item.photos, photos, strict=True)
            ]
        cases.append(
            Case(
                item=item,
                photos=photos,
                context=text.encode(item.prompt).float().cpu(),
                e_refs=e_refs,
            )
        )
    return cases


def read_photos(section: ValidationSection) -> list[list[Tensor]]:
    """The photos of each item, `[1, h, w, 3]` in [0, 1] and black where they are transparent.

    Raises ValueError for a photo that cannot be read.
    """
    return [[load_opaque_photo(path) for path in item.photos] for item in section.items]


def _embedding(path: Path, photo: Tensor, faces: FaceFinder) -> Tensor:
    """Embedding of the photo's largest face; raises ValueError where it shows none."""
    e_ref = largest_embeddings(to_uint8(photo), faces)[0]
    if e_ref is None:
        raise ValueError(
            f"validation photo {path} shows no face; needs one to measure FaceSim: take another "
            "photo."
        )
    return e_ref


@dataclass(frozen=True, kw_only=True, eq=False)
class Validated:
    """A validation that was written, with a score and a clip for each item."""

    step: int
    facesim: float | None
    """Mean of `scores`; None where no face pack is configured, and so are the scores."""
    scores: list[float | None]
    clips: list[Tensor]
    """The items' clips, `[F, h, w, 3]` uint8."""
    fps: float
    folder: Path
    """The folder that holds NN.mp4 for each clip, and `SHEET_NAME`."""


class Validator:
    """Makes the validations of a run, each by a call with the number of steps done."""

    def __init__(
        self,
        config: TrainConfig,
        *,
        model: nn.Module,
        vae: VideoVAE,
        manifest: Manifest,
        empty_context: Tensor,
        cases: Sequence[Case],
        faces: FaceFinder | None = None,
        show: Callable[[Validated], None] | None = None,
        processes: Processes = Processes(),  # noqa: B008 (it cannot be changed)
    ) -> None:
        """`model` takes groups as `loop.GroupedVelocity` does; `manifest` is that of the cache.

        All `processes` need the same `cases`; those that are not the main one only sample. Raises
        ValueError where the prompts' embeddings have another width than the cache's.
        """
        for case in cases:
            if case.context.shape[1] != empty_context.shape[1]:
                raise ValueError(
                    f"validation.text_encoder gave embeddings of width {case.context.shape[1]}; "
                    f"needs {empty_context.shape[1]}, as the cache {config.data.cache} has: name "
                    f"the encoder that made it ({manifest.text_encoder})."
                )
        self.section, self.out = config.validation, config.run.out
        self.model, self.vae, self.empty_context = model, vae, empty_context
        self.cases, self.faces, self.fps = cases, faces, manifest.fps
        self.show, self.processes = show, processes
        text_scale, reference_scale = config.sampled_scales
        self.guidance = GuidanceOptions(text_scale=text_scale, reference_scale=reference_scale)
        self.embedded_scales = config.embedded_scales
        self.num_frames = self.section.num_frames or manifest.num_frames
        self.height = self.section.height or manifest.height
        self.width = self.section.width or manifest.width
        grid = latent_grid(self.num_frames, self.height, self.width)
        sides = (grid.num_frames, grid.height, grid.width)
        self.latent_shape = (1, vae.latent_channels, *sides)

    def __call__(self, step: int) -> float | None:
        """Writes the validation after `step` steps, and returns the mean FaceSim of its items.

        That is None where no face pack is configured, and on other processes than the main one.
        """
        started = time.perf_counter()
        latents = self._sampled()
        if not self.processes.is_main:
            return None
        clips = [self.decode(latent) for latent in latents]
        scores = [self._score(*each) for each in zip(self.cases, clips, strict=True)]
        mean = None if self.faces is None else sum(scores) / len(scores)
        folder = self._write(step, clips, scores)
        entry = {
            "step": step,
            "facesim": mean,
            "items": [
                {**case.item.model_dump(mode="json"), "facesim": score}
                for case, score in zip(self.cases, scores, strict=True)
            ],
            "time_s": round(time.perf_counter() - started, 3),
        }
        append_line(self.out / VALIDATIONS, entry)
        self._show(step, mean, scores, clips, folder)
        log.info("validated after step %d: mean FaceSim %s, clips in %s", step, mean, folder)
        return mean

    def show_again(self, step: int) -> None:
        """Shows the validation after `step` steps once more, from its files, where they are there.

        Where a run goes on, TensorBoard forgets all from its step on (tracking), and so the
        validation of that step too.
        """
        folder = self._folder(step)
        entries = read_lines(self.out / VALIDATIONS)
        entry = next((each for each in entries if each["step"] == step), None)
        if entry is None or not (folder / SHEET_NAME).is_file():
            return
        size = {"num_frames": self.num_frames, "height": self.height, "width": self.width}
        paths = [folder / f"{i:02d}.mp4" for i in range(len(entry["items"]))]
        clips = [read_clip(path, fps=self.fps, **size) for path in paths if path.is_file()]
        scores = [item["facesim"] for item in entry["items"]]
        self._show(step, entry["facesim"], scores, clips, folder)

    def _show(
        self,
        step: int,
        facesim: float | None,
        scores: list[float | None],
        clips: list[Tensor],
        folder: Path,
    ) -> None:
        if self.show is None:
            return
        self.show(
            Validated(
                step=step, facesim=facesim, scores=scores, clips=clips, fps=self.fps, folder=folder
            )
        )

    def _folder(self, step: int) -> Path:
        return self.out / "validation" / f"step_{step:08d}"

    def _sampled(self) -> list[Tensor]:
        """The latents of all items, in their order, on the main process; none on the others."""
        if self.processes.count == 1:
            return [self.sample(case) for case in self.cases]
        is_sharded = any(isinstance(module, FSDPModule) for module in self.model.modules())
        num_cases, own = len(self.cases), {}
        for number in range(self.processes.rank, num_cases, self.processes.count):
            own[number] = self.sample(self.cases[number]).cpu()
        if is_sharded and len(own) < math.ceil(num_cases / self.processes.count):
            self.sample(self.cases[-1])
        of_all = {k: latent for part in self.processes.gathered(own) for k, latent in part.items()}
        return [of_all[number] for number in sorted(of_all)]

    @torch.no_grad()
    def sample(self, case: Case) -> Tensor:
        """Samples an item: its clean latent `[1, C, T, H, W]`; the model's modes are restored."""
        device = next(self.model.parameters()).device
        # The noise is drawn on the CPU, so that a seed means the same noise on every machine.
        generator = torch.Generator().manual_seed(case.item.seed)
        noise = torch.randn(self.latent_shape, generator=generator)
        encode = ReferenceEncoder(self.vae, self.height, self.width, device)
        sigmas = sigma_schedule(self.section.num_steps, noise[0, 0].numel())
        has_reference = needs_reference(self.guidance, sigmas)
        more = []
        if self.embedded_scales is not None:
            more = [[torch.tensor([self.embedded_scales], device=device)]]
        with _undisturbed(self.model, device):
            return sample(
                lambda *group: self.model([(*group, 0)], *more)[0].float(),
                noise.to(device),
                sigmas,
                text=case.context[None].to(device),
                empty=self.empty_context[None].to(device),
                reference=in_slots(encode(case.photos), 1) if has_reference else None,
                guidance=self.guidance,
            )

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """The clip `[F, h, w, 3]` of a latent `[1, C, T, H, W]`, uint8 on the CPU."""
        pixels = self.vae.decode(latent)[0]
        return to_uint8((pixels.permute(1, 2, 3, 0) + 1) / 2)

    def _score(self, case: Case, clip: Tensor) -> float | None:
        """FaceSim of a clip `[F, h, w, 3]` uint8; None where no face pack is configured."""
        if self.faces is None:
            return None
        if len(case.e_refs) == 1:
            return clip_facesim(clip, case.e_refs[0], self.faces)
        scores = clip_facesims(clip, case.e_refs, self.faces)
        return sum(scores) / len(scores)

    def _write(self, step: int, clips: list[Tensor], scores: list[float | None]) -> Path:
        """Writes clips and contact sheet aside, renames their folder when it is whole, and returns
        it."""
        final = self._folder(step)
        partial = final.with_name(f".partial_{final.name}")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            rows, labels = [], []
            # Each row needs room for one frame or more beside its photos.
            num_columns = max([_NUM_COLUMNS, *(1 + len(case.photos) for case in self.cases)])
            for i, (case, clip, score) in enumerate(zip(self.cases, clips, scores, strict=True)):
                write_clip(partial / f"{i:02d}.mp4", clip, self.fps)
                photos = [
                    to_uint8(fit_reference(each, self.height, self.width)) for each in case.photos
                ]
                frames = clip[spread(len(clip), num_columns - len(photos))]
                rows.append(torch.cat((*photos, frames)))
                shown = "" if score is None else f"FaceSim {score:.3f}  "
                labels.append(shown + one_line(" ".join(case.item.prompt.split()), _LABEL_LENGTH))
            contact_sheet(partial / SHEET_NAME, rows, labels=labels, num_columns=num_columns)
            shutil.rmtree(final, ignore_errors=True)
            os.replace(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final


@contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Keeps the model in evaluation mode inside the block.

    Afterwards each module's mode and the random states are as before, and weights that FSDP2 had
    sharded are sharded again.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            model.eval()
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
            # FSDP2 keeps the weights of its root gathered for a backward pass that does not come.
            if isinstance(module, FSDPModule):
                module.reshard()
