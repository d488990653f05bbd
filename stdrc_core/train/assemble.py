"""Makes the parts of a run from its configuration: weights, cache and frozen networks."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..device import move
from ..faces.recognizer import Recognizer
from ..ltx.backbone import VideoBackbone
from ..ltx.vae import VideoVAE, load_vae
from .cache import Cache, FurtherReference, Manifest, Sample, fingerprint
from .config import TrainConfig
from .face_losses import FaceLosses
from .loop import GroupedVelocity, Parts
from .objective import Objective, Person, TrainingSample
from .offload import checkpoint_on_host, park
from .quantization import load_base
from .trainable import make_trainable

log = logging.getLogger(__name__)


class CachedSamples:
    """A cache seen as the sequence of samples that the objective takes."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> TrainingSample:
        sample = self.cache[index]
        return TrainingSample(
            latent=sample.latent.float(),
            context=sample.context.float(),
            **_person(sample),
            further=tuple(Person(**_person(each)) for each in sample.further),
        )


def _person(reference: Sample | FurtherReference) -> dict[str, Tensor]:
    """The fields of `objective.Person`: the photo as floats in [0, 1], and its person's face."""
    return {
        "photo": reference.reference[None].float() / 255,
        "landmarks": reference.landmarks,
        "has_face": reference.has_face,
        "e_ref": reference.e_ref,
    }


class ReferenceEncoder:
    """Encodes photos as clean latents after fitting them into the clips' frame (Eq. 1)."""

    def __init__(self, vae: VideoVAE, height: int, width: int, device: torch.device) -> None:
        """`height` and `width` are the frame's sides in pixels."""
        self.vae, self.height, self.width, self.device = vae, height, width, device

    def __call__(self, photos: Sequence[Tensor]) -> Tensor:
        """`[B, C, 1, H, W]` latents of B photos `[1, h, w, 3]` in [0, 1], of any sizes."""
        return self.vae.encode_photos(photos, self.height, self.width, self.device)


def assemble(config: TrainConfig, device: torch.device, *, will_shard: bool = False) -> Parts:
    """Loads all that `config` names, onto `device`.

    Where FSDP2 `will_shard` the backbone, it is loaded into host memory, from which accelerate
    moves one block at a time to `device`. No GPU then has to hold all of it, but the host holds it
    once for each process. Raises ValueError for files that cannot be read and for parts that do not
    fit together.
    """
    if will_shard and config.model.quantization != "none":
        raise ValueError(
            f"model.quantization was {config.model.quantization} with FSDP2; needs none, since "
            "8-bit weights are not sharded: take it, or another distribution."
        )
    cache = Cache(config.data.cache)
    if will_shard and len(cache.num_references) > 1 and config.run.micro_batch_size > 1:
        numbers = " and ".join(map(str, sorted(cache.num_references)))
        raise ValueError(
            f"run.micro_batch_size was {config.run.micro_batch_size} with FSDP2 and a cache of "
            f"samples with {numbers} references; needs 1, since those of one number run together."
        )
    backbone = load_trainable_backbone(config, torch.device("cpu") if will_shard else device)
    cache.require(
        context_dim=backbone.context_dim,
        latent_channels=backbone.transformer.config.in_channels,
    )
    _warn_of_another_base(config, cache.manifest)
    dtype = getattr(torch, config.model.vae_dtype or config.model.dtype)
    vae = load_vae(config.model.vae or config.model.checkpoint, dtype)
    recognizer = None
    if config.objective.has_identity_losses:
        recognizer = Recognizer.from_pack(config.objective.face_pack).to(device)
    _place(vae, config, device)
    return put_together(config, device, cache, backbone, vae, recognizer)


def put_together(
    config: TrainConfig,
    device: torch.device,
    cache: Cache,
    backbone: VideoBackbone,
    vae: VideoVAE,
    recognizer: Recognizer | None,
) -> Parts:
    """Makes the parts of a run of what was loaded; the identity losses need a `recognizer`."""
    made = cache.manifest
    face_losses = None
    if recognizer is not None:
        if config.model.gradient_checkpointing:
            vae.enable_gradient_checkpointing()
        face_losses = FaceLosses(
            vae.decode,
            recognizer.embed_faces,
            num_latent_frames=config.objective.identity_latent_frames,
            num_frames=config.objective.identity_frames,
            crop_margin=config.objective.identity_crop_margin,
            face_size_px=recognizer.size_px,
        )
    objective = Objective(
        config.objective,
        config.reference,
        encode_references=ReferenceEncoder(vae, made.height, made.width, device),
        empty_context=cache.empty_context.float(),
        face_losses=face_losses,
    )
    model = GroupedVelocity(backbone, config, made.fps)
    _keep_frozen_unsent(model)
    return Parts(model=model, objective=objective, samples=CachedSamples(cache))


def load_trainable_backbone(config: TrainConfig, device: torch.device) -> VideoBackbone:
    """The backbone on `device`, frozen but for its LoRA, or all trainable in a full fine-tune."""
    backbone = load_base(config.model, device)
    if config.model.gradient_checkpointing:
        how = checkpoint_on_host if config.model.offload else None
        backbone.transformer.enable_gradient_checkpointing(how)
    make_trainable(backbone, config.trainable, config.run.seed)
    if config.model.compile:
        # Lengths vary from call to call, since not every sample has a reference.
        backbone.transformer.compile_repeated_blocks(dynamic=True)
    move(backbone, device)
    return backbone


def _warn_of_another_base(config: TrainConfig, made: Manifest) -> None:
    """Warns where the cache was made with another file than the run trains.

    It is no error, since a fine-tune or a split file of the same model is another file too.
    """
    checkpoint = config.model.checkpoint
    if checkpoint.is_file() and fingerprint(checkpoint) != made.checkpoint_fingerprint:
        log.warning(
            "cache %s was made with %s, the run trains %s: both need the same VAE and text "
            "connector, or the run learns what it will not be shown.",
            config.data.cache,
            made.checkpoint,
            checkpoint.name,
        )


def _place(vae: VideoVAE, config: TrainConfig, device: torch.device) -> None:
    """Puts the VAE on `device`, or with `model.offload` parks its halves in host memory.

    The decoder is not parked where the identity losses differentiate it.
    """
    if not config.model.offload:
        vae.to(device)
        return
    park(vae.vae.encoder, device)
    if config.objective.has_identity_losses:
        vae.vae.decoder.to(device)
    else:
        park(vae.vae.decoder, device)


def _keep_frozen_unsent(model: nn.Module) -> None:
    """Keeps DDP from sending frozen weights, which each process has read from the same file.

    It could not send them in 8 bits. The method that PyTorch has for this is a private one.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, frozen)  # noqa: SLF001
