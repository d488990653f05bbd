"""From a configuration to the parts of a run: weights, cache and frozen networks from disk."""

from __future__ import annotations

import torch
from torch import Tensor

from ..backbone import VideoBackbone, load_backbone
from ..faces.recognizer import Recognizer
from ..reference import fit_reference
from ..vae import VideoVAE, load_vae
from .cache import Cache
from .config import TrainConfig
from .loop import GroupedVelocity, Parts
from .objective import FaceLosses, Objective, TrainingSample
from .trainable import make_trainable


class CachedSamples:
    """A cache as the sequence of samples that the objective takes."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> TrainingSample:
        sample = self.cache[index]
        return TrainingSample(
            latent=sample.latent.float(),
            context=sample.context.float(),
            photo=sample.reference[None].float() / 255,
            landmarks=sample.landmarks,
            has_face=sample.has_face,
            e_ref=sample.e_ref,
        )


class ReferenceEncoder:
    """E_vae of a photo fitted into the clip's frame (Eq. 1): `[1, C, 1, H, W]`."""

    def __init__(self, vae: VideoVAE, height: int, width: int, device: torch.device) -> None:
        self.vae, self.height, self.width, self.device = vae, height, width, device

    def __call__(self, photo: Tensor) -> Tensor:
        frame = fit_reference(photo, self.height, self.width).to(self.device)
        return self.vae.encode(frame.movedim(-1, 1)[:, :, None] * 2 - 1)


def assemble(config: TrainConfig, device: torch.device) -> Parts:
    """Loads what `config` names; raises ValueError for what does not fit together."""
    cache = Cache(config.data.cache)
    backbone = load_trainable_backbone(config, device)
    made = cache.manifest
    cache.require(
        num_frames=made.num_frames,
        height=made.height,
        width=made.width,
        context_dim=backbone.context_dim,
    )
    dtype = getattr(torch, config.model.dtype)
    vae = load_vae(config.model.vae or config.model.checkpoint, dtype).to(device)
    face_losses = None
    if config.objective.has_identity_losses:
        recognizer = Recognizer.from_pack(config.objective.face_pack).to(device)
        face_losses = FaceLosses(
            vae.decode,
            recognizer.embed_faces,
            num_latent_frames=config.objective.identity_latent_frames,
            num_frames=config.objective.identity_frames,
        )
    objective = Objective(
        config.objective,
        config.reference,
        encode_reference=ReferenceEncoder(vae, made.height, made.width, device),
        empty_context=cache.empty_context.float(),
        face_losses=face_losses,
    )
    return Parts(
        model=GroupedVelocity(backbone, config, made.fps),
        objective=objective,
        samples=CachedSamples(cache),
    )


def load_trainable_backbone(config: TrainConfig, device: torch.device) -> VideoBackbone:
    """The backbone with its LoRA, or ready for full training."""
    dtype = getattr(torch, config.model.dtype)
    backbone = load_backbone(config.model.checkpoint, dtype=dtype, device=device)
    if config.model.gradient_checkpointing:
        backbone.transformer.enable_gradient_checkpointing()
    make_trainable(backbone, config.trainable, config.run.seed)
    return backbone.to(device)
