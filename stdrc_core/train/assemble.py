"""Makes the parts of a run from its configuration: weights, cache and frozen networks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..device import move
from ..faces.recognizer import Recognizer
from ..ltx.backbone import VideoBackbone
from ..ltx.checkpoint_files import open_checkpoint
from ..ltx.file_versions import (
    CONV_VAE_2_5,
    is_diffusion_vae,
    require_same_version,
    transformer_version,
)
from ..ltx.layout_of_files import decide_for_files
from ..ltx.reference_layout import Decision
from ..ltx.transformer_config import transformer_arguments
from ..ltx.vae import VideoVAE, load_vae, require_vae
from ..method.reference import fit_reference
from .cache import Cache, FurtherReference, Manifest, Sample, fingerprint
from .config import TrainConfig
from .distillation import Teacher, base_under_adapter
from .draws import Person, TrainingSample
from .face_losses import FaceLosses
from .galleries import Galleries, as_photo, most_photos
from .loop import GroupedVelocity, Parts
from .objective import Objective
from .offload import checkpoint_on_host, park
from .quantization import load_base
from .sharding import give_places, require_shardable, weightless_backbone
from .trainable import add_guidance_embedding, make_trainable

log = logging.getLogger(__name__)


class CachedSamples:
    """A cache seen as the sequence of samples that the objective takes."""

    def __init__(self, cache: Cache, *, shows_several_photos: bool = False) -> None:
        """Where it `shows_several_photos`, samples of one person have a gallery of its photos in
        place of further references."""
        self.cache = cache
        self.galleries = Galleries(cache) if shows_several_photos else None

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> TrainingSample:
        sample = self.cache[index]
        gallery = None if self.galleries is None else self.galleries.of(index, sample)
        further = sample.further if gallery is None else ()
        return TrainingSample(
            latent=sample.latent.float(),
            context=sample.context.float(),
            **_person(sample),
            further=tuple(Person(**_person(each)) for each in further),
            gallery=() if gallery is None else gallery,
        )


def _person(reference: Sample | FurtherReference) -> dict[str, Tensor]:
    """The fields of `objective.Person`: the photo as floats in [0, 1], and its person's face."""
    return {
        "photo": as_photo(reference.reference),
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
        """`[B, C, 1, H, W]` latents of B photos `[1, h, w, 3]` in [0, 1], of any sizes.

        Photos of the frame's size are taken as `fit` gives them back, which is as they are.
        """
        frame = (1, self.height, self.width, 3)
        fitted = [photo if photo.shape == frame else self.fit(photo) for photo in photos]
        return self.vae.encode_fitted(torch.cat(fitted).to(self.device, non_blocking=True))

    def fit(self, photo: Tensor) -> Tensor:
        """A photo `[1, h, w, 3]` in [0, 1] fitted into the frame, `[1, height, width, 3]`."""
        return fit_reference(photo, self.height, self.width)


def assemble(
    config: TrainConfig,
    device: torch.device,
    *,
    will_shard: bool = False,
    reads_weights: bool = True,
) -> Parts:
    """Loads all that `config` names, onto `device`.

    Where FSDP2 `will_shard` the backbone, it is loaded into host memory, from which accelerate
    sends every process its shards. No GPU then has to hold all of it. The host holds it once, if
    all processes but the main one pass `reads_weights` False: their backbones then get weights when
    they are sharded. Raises ValueError for files that cannot be read, for parts that do not fit
    together, and for what cannot be sharded.
    """
    if will_shard:
        require_shardable(config)
    cache = Cache(config.data.cache)
    if will_shard and len(cache.num_references) > 1 and config.run.micro_batch_size > 1:
        numbers = " and ".join(map(str, sorted(cache.num_references)))
        raise ValueError(
            f"run.micro_batch_size was {config.run.micro_batch_size} with FSDP2 and a cache of "
            f"samples with {numbers} references; needs 1, since those of one number run together."
        )
    require_fitting_files(config)
    home = torch.device("cpu") if will_shard else device
    backbone = load_trainable_backbone(config, home, reads_weights=reads_weights)
    frozen = load_teacher(config, home)
    cache.require(
        context_dim=backbone.context_dim,
        latent_channels=backbone.transformer.config.in_channels,
        base_version=transformer_version(config.model.checkpoint),
    )
    _warn_of_another_base(config, cache.manifest)
    _warn_of_base_weights(config)
    _warn_of_few_photos(config, cache)
    dtype = getattr(torch, config.model.vae_dtype or config.model.dtype)
    vae = load_vae(config.model.vae or config.model.checkpoint, dtype)
    recognizer = None
    if config.objective.has_identity_losses:
        recognizer = Recognizer.from_pack(config.objective.face_pack).to(device)
    place_vae(vae, config, device, park)
    return put_together(config, device, cache, backbone, vae, recognizer, frozen)


def put_together(
    config: TrainConfig,
    device: torch.device,
    cache: Cache,
    backbone: VideoBackbone,
    vae: VideoVAE,
    recognizer: Recognizer | None,
    frozen: VideoBackbone | None = None,
) -> Parts:
    """Makes the parts of a run of what was loaded; the identity losses need a `recognizer`.

    `frozen` is what `load_teacher` loaded.
    """
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
    encoder = ReferenceEncoder(vae, made.height, made.width, device)
    objective = Objective(
        config.objective,
        config.reference,
        encode_references=encoder,
        fit=encoder.fit,
        empty_context=cache.empty_context.float(),
        face_losses=face_losses,
        teacher=_teacher(config, frozen, made.fps),
    )
    samples = CachedSamples(cache, shows_several_photos=config.reference.num_photos is not None)
    model = GroupedVelocity(backbone, config, made.fps)
    _keep_frozen_unsent(model)
    return Parts(model=model, objective=objective, samples=samples)


def require_fitting_files(config: TrainConfig) -> None:
    """Raises ValueError where there is no VAE, for one of another version of LTX than the
    checkpoint, for one whose decoder the identity losses cannot differentiate, and for a base that
    has its guidance inside already.

    It reads headers alone.
    """
    model = config.model
    require_same_version(model.checkpoint, model.vae)
    # A file that is no transformer's is told of as such, before what it lacks.
    transformer_arguments(open_checkpoint(model.checkpoint))
    require_vae(model.vae or model.checkpoint)
    if config.objective.has_identity_losses and is_diffusion_vae(model.vae or model.checkpoint):
        raise ValueError(
            f"model.vae was {model.vae or model.checkpoint}, whose decoder is a one-step diffusion "
            "model; the identity losses need a convolutional one for their gradients: take "
            f"{CONV_VAE_2_5}, or set objective.lambda_id and objective.lambda_tic to 0."
        )
    distilled, is_teacher = _decide_for_base(config).distilled, config.objective.distil is not None
    if distilled is not None and (is_teacher or distilled.has_range):
        why = (
            "objective.distil would guide it twice"
            if is_teacher
            else "its scales are an input, which is lost where it is the base of another training"
        )
        raise ValueError(
            f"the base, {' with '.join(map(str, (model.checkpoint, *model.loras)))}, is distilled "
            f"for {distilled} and {why}; needs the weights that it was distilled from."
        )


def load_trainable_backbone(
    config: TrainConfig, device: torch.device, *, reads_weights: bool = True
) -> VideoBackbone:
    """The backbone on `device`, frozen but for its LoRA, or all trainable in a full fine-tune.

    Unless it `reads_weights` it has none, and has to be sharded with one that does (`sharding`).
    """
    section = config.model
    backbone = load_base(section, device) if reads_weights else weightless_backbone(section)
    if config.model.gradient_checkpointing:
        how = checkpoint_on_host if config.model.offload else None
        backbone.transformer.enable_gradient_checkpointing(how)
    make_trainable(backbone, config.trainable, config.run.seed)
    if config.embedded_scales is not None:
        add_guidance_embedding(backbone, config.run.seed)
    if not reads_weights:
        give_places(backbone)
    if config.model.compile:
        # Lengths vary from call to call, since not every sample has a reference.
        backbone.transformer.compile_repeated_blocks(dynamic=True)
    move(backbone, device)
    return backbone


def load_teacher(config: TrainConfig, device: torch.device) -> VideoBackbone | None:
    """The frozen base beside a full copy that is distilled; None where nothing needs one.

    A LoRA has its base under it.
    """
    if config.objective.distil is None or config.trainable.method == "lora":
        return None
    return load_base(config.model, device).requires_grad_(False)


def _teacher(
    config: TrainConfig, frozen: VideoBackbone | None, frame_rate: float
) -> Teacher | None:
    if config.objective.distil is None:
        return None
    if frozen is None:
        return base_under_adapter
    model = GroupedVelocity(frozen, config, frame_rate)
    return lambda _, groups: model(groups)


def _warn_of_another_base(config: TrainConfig, made: Manifest) -> None:
    """Warns where the cache was made with another file than the run trains.

    It is no error, since a fine-tune or a split file of the same model is another file too.
    """
    checkpoint = config.model.checkpoint
    if checkpoint.exists() and fingerprint(checkpoint) != made.checkpoint_fingerprint:
        log.warning(
            "cache %s was made with %s, the run trains %s: both need the same VAE and text "
            "connector, or the run learns what it will not be shown.",
            config.data.cache,
            made.checkpoint,
            checkpoint.name,
        )


def _warn_of_base_weights(config: TrainConfig) -> None:
    """Warns of LoRAs that are for another version of LTX, and of a base that is distilled and does
    not know the reference, or knows it elsewhere than it will be."""
    model, decision = config.model, _decide_for_base(config)
    is_teacher = config.objective.distil is not None
    if is_teacher and not decision.is_known:
        log.warning(
            "model.checkpoint %s does not say that it was trained for ST-DRC, and its guided "
            "velocity is what objective.distil learns: a base that does not know the reference "
            "teaches none. Take the file of a full fine-tune, or name your LoRA in model.loras.",
            model.checkpoint.name,
        )
    elif decision.is_doubtful and (is_teacher or model.loras):
        log.warning("the base: %s", decision.sentence)


def _decide_for_base(config: TrainConfig) -> Decision:
    """What the base's files say, of the reference where the run puts it."""
    model, reference = config.model, config.reference
    return decide_for_files(
        model.checkpoint,
        model.loras,
        placement=reference.placement,
        reference_timestep=reference.timestep,
    )


def _warn_of_few_photos(config: TrainConfig, cache: Cache) -> None:
    """Warns where no sample of the cache has as many photos as `reference.num_photos` asks for."""
    limit = config.reference.max_photos
    if limit is not None and (most := most_photos(cache, limit)) < limit:
        log.warning(
            "reference.num_photos asks for up to %d photos of a person, and no sample of %s has "
            "more than %d: samples show what they have. Name several `references` in the data set, "
            "or one `identity` for the clips of one person.",
            limit,
            cache.folder,
            most,
        )


def place_vae(
    vae: VideoVAE,
    config: TrainConfig,
    device: torch.device,
    park: Callable[[nn.Module, torch.device], None],
) -> None:
    """Puts the VAE on `device`, or with `model.offload` parks its halves in host memory.

    The decoder is not parked where the identity losses differentiate it. `park` is `offload.park`,
    or what does as much with tensors that have no numbers.
    """
    if not config.model.offload:
        move(vae, device)
        return
    park(vae.vae.encoder, device)
    if config.objective.has_identity_losses:
        move(vae.vae.decoder, device)
    else:
        park(vae.vae.decoder, device)


def _keep_frozen_unsent(model: nn.Module) -> None:
    """Keeps DDP from sending frozen weights, which each process has read from the same file.

    It could not send them in 8 bits. The method that PyTorch has for this is a private one.
    """
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, frozen)  # noqa: SLF001
