"""L_id and L_tic of clean estimates, through the frozen decoder and face network (Eq. 7-10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..faces.align import ARCFACE_SIZE_PX
from ..faces.crop import face_crop
from ..method.grid import LTX_SCALE_FACTORS, ScaleFactors
from ..method.identity import identity_loss, tic_loss
from .draws import TrainingSample


@dataclass(frozen=True, kw_only=True)
class _View:
    """The part of a clip that is decoded, and where the person's face is in it."""

    window: Tensor
    """The latent frames to decode, `[C, t, h, w]`."""
    frames: Tensor
    """The numbers of the window's pixel frames whose faces are embedded, `[N]`."""
    landmarks: Tensor
    """The faces' landmarks in pixels of the window, `[N, 5, 2]`."""


class FaceLosses:
    """Decodes a part of each clip's clean estimate and embeds the faces in it.

    Decoding is what costs. Only `num_latent_frames` consecutive latent frames are decoded, and at
    most `num_frames` of their pixel frames are embedded; nothing is decoded where none of them has
    a face. With a `crop_margin` only the latent cells that hold those faces, one box for all of
    them, and that many cells around the box are decoded (`face_crop`).

    This loses something (our choice, the paper is silent). Faces outside the window get no gradient
    in this step. The window is decoded without its neighbours in time, and the box without its
    neighbours in space, so that pixels near their borders differ from those of the whole clip. The
    decoder sees many cells far: each cell of margin makes the difference smaller, but never 0.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        embed: Callable[[Tensor, Tensor], Tensor],
        *,
        num_latent_frames: int,
        num_frames: int,
        crop_margin: int | None = None,
        face_size_px: int = ARCFACE_SIZE_PX,
        scale: ScaleFactors = LTX_SCALE_FACTORS,
    ) -> None:
        """`decode` maps `[B, C, T, H, W]` latents to `[B, 3, F, h, w]` pixels in [-1, 1]; a latent
        cell becomes `scale` pixels. `embed` maps `[N, 3, h, w]` pixels in [0, 1] and `[N, 5, 2]`
        landmarks to `[N, E]` embeddings; it aligns each face to a square of `face_size_px`.
        """
        self.decode, self.embed = decode, embed
        self.num_latent_frames, self.num_frames = num_latent_frames, num_frames
        self.crop_margin, self.face_size_px, self.scale = crop_margin, face_size_px, scale

    def __call__(
        self,
        clean: Tensor,
        samples: Sequence[TrainingSample],
        generators: Sequence[torch.Generator],
    ) -> tuple[Tensor, Tensor]:
        """L_id and L_tic of the clean estimates `[B, C, T, H, W]` of clips, each `[B]`.

        Both are 0 for a clip without a face. A clip's window and frames are drawn from its
        generator.
        """
        views = [self._view(*each) for each in zip(clean, samples, generators, strict=True)]
        ids, tics = clean.new_zeros(len(views)), clean.new_zeros(len(views))
        groups: dict[torch.Size, list[int]] = {}
        for i, view in enumerate(views):
            if view is not None:
                groups.setdefault(view.window.shape, []).append(i)
        for group in groups.values():
            embeddings = self._embed_views([views[i] for i in group])
            for i, own in zip(group, embeddings, strict=True):
                has_face = own.new_ones(1, len(own))
                e_ref = samples[i].e_ref[None].to(own, non_blocking=True)
                ids[i] = identity_loss(own[None], e_ref, has_face)[0]
                tics[i] = tic_loss(own[None], has_face)[0]
        return ids, tics

    def _view(
        self, clean: Tensor, sample: TrainingSample, generator: torch.Generator
    ) -> _View | None:
        """The part of a clip `[C, T, H, W]` to look at; None where it shows no face."""
        num_latent_frames = min(self.num_latent_frames, clean.shape[1])
        num_starts = clean.shape[1] - num_latent_frames + 1
        start = int(torch.randint(num_starts, (), generator=generator))
        # Latent frame k > 0 holds pixel frames 8k - 7 to 8k. At the head of a window the decoder
        # makes one pixel frame of it, as of the first of every clip, and that is the last one, 8k.
        first_frame = start * self.scale.time
        num_frames = (num_latent_frames - 1) * self.scale.time + 1
        shown = sample.has_face[first_frame : first_frame + num_frames].nonzero()[:, 0].cpu()
        order = torch.randperm(len(shown), generator=generator)[: self.num_frames]
        chosen = shown[order].sort().values
        if len(chosen) == 0:
            return None
        window = clean[:, start : start + num_latent_frames]
        landmarks = sample.landmarks[first_frame + chosen]
        if self.crop_margin is not None:
            window, landmarks = self._cropped(window, landmarks, self.crop_margin)
        return _View(window=window, frames=chosen, landmarks=landmarks)

    def _embed_views(self, views: Sequence[_View]) -> Sequence[Tensor]:
        """The embeddings `[N, E]` of each view's faces; all windows must have one shape."""
        pixels = (self.decode(torch.stack([view.window for view in views])).movedim(1, 2) + 1) / 2
        faces = [
            clip[view.frames.to(clip.device, non_blocking=True)]
            for clip, view in zip(pixels, views, strict=True)
        ]
        landmarks = torch.cat([view.landmarks for view in views]).to(pixels, non_blocking=True)
        return self.embed(torch.cat(faces), landmarks).split([len(view.frames) for view in views])

    def _cropped(self, window: Tensor, landmarks: Tensor, margin: int) -> tuple[Tensor, Tensor]:
        """The cells of `[C, T, H, W]` around the faces, and the landmarks in the crop's pixels."""
        rows, columns = face_crop(
            landmarks, *window.shape[2:], margin=margin, size_px=self.face_size_px, scale=self.scale
        )
        origin = (columns.start * self.scale.width, rows.start * self.scale.height)
        return window[:, :, rows, columns], landmarks - landmarks.new_tensor(origin)
