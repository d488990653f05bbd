"""What a run takes in parameters, tokens and memory, counted from file headers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..ltx.backbone import VideoBackbone, empty_backbone
from ..ltx.checkpoint import VAE_PREFIX
from ..ltx.checkpoint_files import open_checkpoint
from ..method.grid import LTX_SCALE_FACTORS, latent_grid
from .cache import Cache, Manifest
from .config import TrainConfig
from .quantization import is_quantized
from .trainable import make_trainable, trained_parameters

_GIB = 2**30
# How many activations of the model's width a block of LTX-2.3 keeps per token for its backward pass
# under a LoRA (counted on a block), and how many where it is checkpointed: its input alone.
KEPT_PER_TOKEN, KEPT_PER_TOKEN_CHECKPOINTED = 52, 1
# How many numbers per decoded pixel LTX-2.3's decoder holds at most for its backward pass, where it
# is not checkpointed and where it is (counted on diffusers' own decoder).
KEPT_PER_PIXEL = {False: 560, True: 170}
# Bytes for each trained number: AdamW keeps two moments beside the weight and its gradient, all in
# float32; in bitsandbytes' form the moments take one byte each.
_BYTES_PER_TRAINED = {"adamw": 16, "adamw_8bit": 10}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run takes on one process, memory in bytes; activations are a rule of thumb."""

    num_parameters: int
    """How many numbers the backbone has, without those that a LoRA adds."""
    num_trained: int
    tokens_per_sample: int
    """Tokens of a clip and its references."""
    tokens_per_step: int
    """Tokens of a whole batch, over all processes."""
    weights_bytes: int
    """Memory of the backbone as the forward pass reads it."""
    vae_bytes: int
    """Memory of the part of the VAE that stays on the GPU."""
    training_bytes: int
    """Memory of trained weights, their gradients, moments and average."""
    activation_bytes: int
    """Memory of what waits for the backward pass."""

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.vae_bytes + self.training_bytes + self.activation_bytes


def estimate(config: TrainConfig) -> Estimate:
    """Counts from the headers of the run's files, without loading weights.

    Raises ValueError where the cache or the checkpoint cannot be read.
    """
    cache = Cache(config.data.cache)
    made = cache.manifest
    backbone = empty_backbone(config.model.checkpoint)
    num_parameters = sum(p.numel() for p in backbone.parameters())
    num_quantized = 0
    if config.model.quantization == "int8":
        state = backbone.transformer.state_dict()
        num_quantized = sum(value.numel() for key, value in state.items() if is_quantized(key))
    with torch.device("meta"):
        make_trainable(backbone, config.trainable, config.run.seed)
    num_trained = sum(p.numel() for _, p in trained_parameters(backbone))
    of_average = torch.float32.itemsize if config.optimizer.ema_decay else 0
    element = _element(config)
    num_tokens = _num_tokens(made, max(cache.num_references))
    # Of 8-bit weights one block at a time is also there in the activations' precision.
    restored = num_quantized * element // backbone.transformer.config.num_layers
    blocks = _waiting_bytes(config, backbone, num_tokens)
    one_block = KEPT_PER_TOKEN * _per_token(config, backbone) * num_tokens + restored
    return Estimate(
        num_parameters=num_parameters,
        num_trained=num_trained,
        tokens_per_sample=num_tokens,
        tokens_per_step=num_tokens * config.run.batch_size,
        weights_bytes=(num_parameters - num_quantized) * element + num_quantized,
        vae_bytes=_vae_bytes(config),
        training_bytes=num_trained * (_BYTES_PER_TRAINED[config.optimizer.name] + of_average),
        # The decoder's backward pass is over when that of the last block begins: the larger counts.
        activation_bytes=blocks + max(one_block, _decoding_bytes(config, made)),
    )


def describe(result: Estimate) -> str:
    """An estimate in words, in GiB; what it does not count is said."""
    return (
        f"parameters: {result.num_parameters:,}, trained: {result.num_trained:,}\n"
        f"tokens: {result.tokens_per_sample:,} a sample with its references, "
        f"{result.tokens_per_step:,} a step\n"
        f"memory of one process, roughly: {result.total_bytes / _GIB:.2f} GiB (weights "
        f"{result.weights_bytes / _GIB:.2f}, VAE {result.vae_bytes / _GIB:.2f}, training state "
        f"{result.training_bytes / _GIB:.2f}, activations {result.activation_bytes / _GIB:.2f}; "
        "face model and CUDA's own not counted, nothing sharded)"
    )


def _element(config: TrainConfig) -> int:
    """Bytes of a number of the backbone."""
    return getattr(torch, config.model.dtype).itemsize


def _vae_element(config: TrainConfig) -> int:
    """Bytes of a number of the VAE."""
    return getattr(torch, config.model.vae_dtype or config.model.dtype).itemsize


def _num_tokens(made: Manifest, num_references: int) -> int:
    """Tokens of a clip and its references, each of which is one more latent frame."""
    grid = latent_grid(made.num_frames, made.height, made.width)
    return grid.num_tokens + num_references * grid.tokens_per_frame


def _per_token(config: TrainConfig, backbone: VideoBackbone) -> int:
    """Bytes of one activation of the model's width, for all samples of a micro-batch."""
    shape = backbone.transformer.config
    width = shape.num_attention_heads * shape.attention_head_dim
    return width * _element(config) * config.run.micro_batch_size


def _waiting_bytes(config: TrainConfig, backbone: VideoBackbone, num_tokens: int) -> int:
    """Bytes that all blocks but the one at work keep on the GPU."""
    if config.model.offload:
        return 0
    kept = KEPT_PER_TOKEN_CHECKPOINTED if config.model.gradient_checkpointing else KEPT_PER_TOKEN
    num_blocks = backbone.transformer.config.num_layers
    num_waiting = num_blocks if config.model.gradient_checkpointing else num_blocks - 1
    return num_waiting * kept * _per_token(config, backbone) * num_tokens


def _vae_bytes(config: TrainConfig) -> int:
    """Bytes of the VAE's weights on the GPU.

    The encoder stays there where nothing is offloaded, the decoder also where the identity losses
    differentiate it.
    """
    stays = [] if config.model.offload else ["encoder"]
    if not config.model.offload or config.objective.has_identity_losses:
        stays.append("decoder")
    tensors = open_checkpoint(config.model.vae or config.model.checkpoint).tensors
    num_weights = sum(
        math.prod(tensor.shape)
        for name, tensor in tensors.items()
        if name.removeprefix(VAE_PREFIX).split(".")[0] in stays
    )
    return num_weights * _vae_element(config)


def _decoding_bytes(config: TrainConfig, made: Manifest) -> int:
    """Bytes that the decoder keeps for the identity losses, where it decodes whole frames."""
    objective = config.objective
    if not objective.has_identity_losses:
        return 0
    num_frames = (objective.identity_latent_frames - 1) * LTX_SCALE_FACTORS.time + 1
    num_pixels = min(num_frames, made.num_frames) * made.height * made.width
    per_pixel = KEPT_PER_PIXEL[config.model.gradient_checkpointing]
    return per_pixel * num_pixels * _vae_element(config) * config.run.micro_batch_size
