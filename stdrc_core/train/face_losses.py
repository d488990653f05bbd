"""L_id and L_tic of a clean estimate, through the frozen decoder and face network (Eq. 7-10)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..faces.align import ARCFACE_SIZE_PX
from ..faces.crop import face_crop
from ..grid import LTX_SCALE_FACTORS, ScaleFactors
from ..identity import identity_loss, temporal_consistency_loss
from .objective import TrainingSample


class FaceLosses:
    """Decodes a part of the clean estimate and embeds the faces in it.

    The decode is what costs. Only `num_latent_frames` consecutive latent frames are decoded, and of
    their pixel frames at most `num_frames` are embedded; nothing where none of them has a face.
    With a `crop_margin` only the cells that hold those faces are decoded, one box for all of them,
    and as many cells around it (`face_crop`).

    What is lost (ours, the paper is silent): faces outside the window get no gradient in this step;
    the window is decoded without its neighbours in time and the box without its neighbours in
    space, so that pixels near their ends differ from those of the whole clip. The decoder sees many
    cells far: each cell of margin makes the difference smaller, none makes it 0.
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
        """`decode` maps `[1,C,T,H,W]` latents to `[1,3,F,h,w]` pixels in [-1, 1], each cell to
        `scale`; `embed` maps `[N,3,h,w]` pixels in [0, 1] and `[N,5,2]` landmarks, faces that it
        aligns to `face_size_px`, to `[N,E]` embeddings."""
        self.decode, self.embed = decode, embed
        self.num_latent_frames, self.num_frames = num_latent_frames, num_frames
        self.crop_margin, self.face_size_px, self.scale = crop_margin, face_size_px, scale

    def __call__(
        self, clean: Tensor, sample: TrainingSample, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """L_id and L_tic of one clip's clean estimate `[C, T, H, W]`; scalars, 0 without a face."""
        num_latent_frames = min(self.num_latent_frames, clean.shape[1])
        num_starts = clean.shape[1] - num_latent_frames + 1
        start = int(torch.randint(num_starts, (), generator=generator))
        # Latent frame k > 0 holds pixel frames 8k - 7 to 8k. Decoded at the head of a window it
        # gives one pixel frame, as every clip's first does: its last, 8k.
        first_frame = start * self.scale.time
        num_frames = (num_latent_frames - 1) * self.scale.time + 1
        shown = sample.has_face[first_frame : first_frame + num_frames].nonzero()[:, 0].cpu()
        order = torch.randperm(len(shown), generator=generator)[: self.num_frames]
        chosen = shown[order].sort().values
        if len(chosen) == 0:
            return clean.new_zeros(()), clean.new_zeros(())
        window = clean[:, start : start + num_latent_frames]
        landmarks = sample.landmarks[first_frame + chosen]
        if self.crop_margin is not None:
            window, landmarks = self._cropped(window, landmarks, self.crop_margin)
        pixels = (self.decode(window[None])[0].movedim(1, 0) + 1) / 2
        faces = pixels[chosen.to(pixels.device)]
        embeddings = self.embed(faces, landmarks.to(pixels))[None]
        has_face = torch.ones(embeddings.shape[:2], device=embeddings.device)
        e_ref = sample.e_ref[None].to(embeddings)
        return (
            identity_loss(embeddings, e_ref, has_face)[0],
            temporal_consistency_loss(embeddings, has_face)[0],
        )

    def _cropped(self, window: Tensor, landmarks: Tensor, margin: int) -> tuple[Tensor, Tensor]:
        """The cells of `[C, T, H, W]` around the faces, and the landmarks in their pixels."""
        rows, columns = face_crop(
            landmarks, *window.shape[2:], margin=margin, size_px=self.face_size_px, scale=self.scale
        )
        origin = (columns.start * self.scale.width, rows.start * self.scale.height)
        return window[:, :, rows, columns], landmarks - landmarks.new_tensor(origin)
