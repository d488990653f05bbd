"""`--rehearse`: a step of a run on tensors that have sizes and no numbers, and what it takes.

Objective, backbone, checkpointing, autocast, optimizer and identity losses are the run's own code,
at the size of the run's model. Weights, cache and GPU need not be there: a checkpoint that is not
there may be a published one (ltx.published), a cache that is not there has the clip's size that is
given, and a face pack that is not there is buffalo_l. Two micro-batches of the step are run, since
the others are as the second, with the optimizer's state of a step before.

Several GPUs share a LoRA's batch by DDP and shard a full fine-tune by FSDP2, as the launch files
beside the recipes do. This process is then one of them, in a process group of torch's that sends
nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn

from ..faces.published import NUM_FEATURES, sized_recognizer
from ..faces.recognizer import Recognizer
from ..ltx.published import file_bytes, open_sizes
from ..rehearsal.memory_record import GPU, HOST, MemoryRecord, Peak, fake_gpu
from .assemble import load_trainable_backbone, put_together
from .batches import own_share
from .cache import Cache, Manifest, read_manifest
from .config import TrainConfig
from .loop import Parts
from .objective import Draws, TrainingSample, draw
from .optimizer import make_optimizer
from .rehearsal_parts import ClipSize, EightBitMoments, place_vae, shard, write_sized_cache
from .trainable import AverageOfWeights, trained_parameters

_REHEARSED_MICRO_BATCHES = 2


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a run takes, in bytes where nothing else is said."""

    num_parameters: int
    """How many numbers the backbone has, without those that a LoRA adds."""
    num_trained: int
    tokens_per_sample: int
    """Tokens of a clip and its references."""
    tokens_per_step: int
    """Tokens of a whole batch, over all processes."""
    num_gpus: int
    is_sharded: bool
    peak: Peak
    """What one GPU holds at most during a step."""
    host_kept: int
    """What one process keeps in host memory during a step: parked weights and block inputs."""
    host_loading: int
    """What all processes of a machine hold in host memory while they load, beside the file."""
    checkpoint_file: int
    """How long the base's tensors are on disk; RAM and swap have to be as large."""
    flops_per_step: float
    """Operations of one GPU in a step."""
    network_per_step: float
    """What one GPU sends in a step, and as much receives."""
    checkpoint_on_disk: int
    """How long one checkpoint of the run is."""
    checkpoints_kept: int
    """How many of them are there at most, the one that is being written counted."""

    @property
    def disk(self) -> int:
        """What the run's checkpoints take on disk at most."""
        return self.checkpoint_on_disk * self.checkpoints_kept


def rehearse(config: TrainConfig, *, num_gpus: int = 1, clip: ClipSize | None = None) -> Rehearsal:
    """Rehearses one step of a run; `clip` is the size of clips where the cache is not there.

    Raises ValueError for a checkpoint whose size is not known, and where the batch cannot be shared
    over the GPUs.
    """
    places = own_share(config.run.batch_size, 0, num_gpus)
    is_sharded = num_gpus > 1 and config.trainable.method == "full"
    # FSDP2 takes no other CPU than the one without a number.
    device = HOST if is_sharded else GPU
    sizes = open_sizes(config.model.checkpoint)
    vae_sizes = sizes if config.model.vae is None else open_sizes(config.model.vae)
    changes = {"checkpoint": sizes, "compile": False}
    sized = config.model_copy(update={"model": config.model.model_copy(update=changes)})
    with (
        tempfile.TemporaryDirectory() as folder,
        _fake_processes(num_gpus) if is_sharded else nullcontext() as mesh,
        fake_gpu(device),
    ):
        # A LoRA is made without numbers, and moved like what the base's file does not hold.
        with torch.device("meta"):
            backbone = load_trainable_backbone(sized, device)
        made, num_references = largest_sample(config)
        if made is None:
            channels = backbone.transformer.config.in_channels
            made = (clip or ClipSize()).manifest(backbone.context_dim, channels)
        recognizer = _recognizer(config, device)
        num_features = NUM_FEATURES if recognizer is None else recognizer.network.output_shape[-1]
        cache = write_sized_cache(Path(folder), made, num_references, num_features)
        vae = place_vae(vae_sizes, config, device)
        parts = put_together(sized, device, cache, backbone, vae, recognizer)
        num_loaded = sum(_nbytes(p) for p in backbone.parameters())
        num_trained = sum(p.numel() for _, p in trained_parameters(backbone))
        num_parameters = sum(p.numel() for p in backbone.parameters())
        if config.trainable.method == "lora":
            num_parameters -= num_trained
        if is_sharded:
            shard(parts.model, mesh, config)
        num_micro_batches = len(places) // config.run.micro_batch_size
        with MemoryRecord() as record:
            record.declare([parts.model])
            record.declare(_frozen(parts, vae), is_frozen=True)
            num_rehearsed = min(_REHEARSED_MICRO_BATCHES, num_micro_batches)
            state_bytes = _step(sized, parts, record, device, num_rehearsed, num_micro_batches)
    scale = num_micro_batches / num_rehearsed
    peak = record.peak(device)
    trained_bytes = num_trained * torch.float32.itemsize
    share = (num_gpus - 1) / num_gpus
    network = sum(record.sent_bytes.values()) * scale * share
    if num_gpus > 1 and not is_sharded:
        # DDP reduces in buckets of its own, each the size of its gradients, once a step.
        peak = replace(peak, gradients=peak.gradients + trained_bytes)
        network = 2 * trained_bytes * share
    grid_tokens = _tokens(made, num_references)
    return Rehearsal(
        num_parameters=num_parameters,
        num_trained=num_trained,
        tokens_per_sample=grid_tokens,
        tokens_per_step=grid_tokens * config.run.batch_size,
        num_gpus=num_gpus,
        is_sharded=is_sharded,
        peak=peak,
        host_kept=0 if is_sharded else record.peak(HOST).total,
        host_loading=num_loaded * num_gpus if is_sharded else 0,
        checkpoint_file=file_bytes(sizes),
        flops_per_step=record.flops * scale,
        network_per_step=network,
        checkpoint_on_disk=trained_bytes
        + state_bytes * (num_gpus if is_sharded else 1)
        + (trained_bytes if config.optimizer.ema_decay else 0),
        checkpoints_kept=config.run.keep_checkpoints + 1 + (config.validation.every > 0),
    )


def _step(
    config: TrainConfig,
    parts: Parts,
    record: MemoryRecord,
    device: torch.device,
    num_rehearsed: int,
    num_micro_batches: int,
) -> int:
    """Runs a step of `num_rehearsed` micro-batches; returns the bytes of the optimizer's state."""
    optimizer = _optimizer(config, parts.model)
    trained = [p for _, p in trained_parameters(parts.model)]
    # A step before this one has left its state.
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    record.declare_gradients(trained)
    optimizer.step()
    optimizer.zero_grad()
    states = [
        value for state in optimizer.state.values() for value in state.values()
        if isinstance(value, Tensor)
    ]  # fmt: skip
    record.declare_state(states)
    average = None
    if config.optimizer.ema_decay:
        average = AverageOfWeights(parts.model, config.optimizer.ema_decay)
        record.declare_state(average.weights.values())
    state_bytes = sum(_nbytes(value) for value in states if value.ndim)
    del states
    record.reset_peak()
    velocity = _as_accelerate_runs(config, parts.model, device)
    size = config.run.micro_batch_size
    for number in range(num_rehearsed):
        samples = [_on(parts.samples[0], device) for _ in range(size)]
        draws = [_draws(config, each, number * size + i) for i, each in enumerate(samples)]
        losses = parts.objective(velocity, samples, draws)
        (losses.total / num_micro_batches).backward()
        record.declare_gradients(trained)
    torch.nn.utils.clip_grad_norm_(trained, config.optimizer.max_grad_norm)
    optimizer.step()
    optimizer.zero_grad()
    if average is not None:
        average.update(parts.model)
    return state_bytes


def _as_accelerate_runs(
    config: TrainConfig, model: nn.Module, device: torch.device
) -> Callable[..., list[Tensor]]:
    """The model under autocast where the run has it, with its outputs in float32."""
    if config.model.dtype != "bfloat16":
        return model
    return convert_outputs_to_fp32(torch.autocast(device.type, torch.bfloat16)(model.__call__))


def _draws(config: TrainConfig, sample: TrainingSample, place: int) -> Draws:
    """Draws for a sample that has all that makes a step large, where the run has it at all."""
    return replace(
        draw(sample, (config.run.seed, 0, place), config.objective, config.reference),
        drops_text=False,
        drops_reference=config.reference.p_drop == 1,
        shows_face=True,
    )


def _on(sample: TrainingSample, device: torch.device) -> TrainingSample:
    """The sample as the loop gives it to the objective."""
    return replace(sample, latent=sample.latent.to(device), context=sample.context.to(device))


def _optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    if config.optimizer.name == "adamw_8bit":
        return EightBitMoments(p for _, p in trained_parameters(model))
    return make_optimizer(config, model)


def largest_sample(config: TrainConfig) -> tuple[Manifest | None, int]:
    """The manifest of the run's cache and the most references that a sample of it has.

    Without a cache these are None and 1.
    """
    made = read_manifest(config.data.cache)
    return made, 1 if made is None else max(Cache(config.data.cache).num_references)


def _recognizer(config: TrainConfig, device: torch.device) -> Recognizer | None:
    if not config.objective.has_identity_losses:
        return None
    pack = config.objective.face_pack
    if pack.is_dir():
        return Recognizer.from_pack(pack).to(device)
    return sized_recognizer(device)


def _frozen(parts: Parts, vae: nn.Module) -> Sequence[nn.Module]:
    """The networks beside the model."""
    faces = parts.objective.face_losses
    return [vae] if faces is None else [vae, faces.embed.__self__]


def _tokens(made: Manifest, num_references: int) -> int:
    clip = ClipSize(num_frames=made.num_frames, height=made.height, width=made.width)
    return clip.num_tokens(num_references)


def _nbytes(tensor: Any) -> int:
    """Bytes of this process's part of a tensor; an 8-bit weight has its numbers inside."""
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    if hasattr(local, "__tensor_flatten__"):
        names, _ = local.__tensor_flatten__()
        return sum(getattr(local, name).nbytes for name in names)
    return local.nbytes


@contextmanager
def _fake_processes(num_gpus: int) -> Iterator[Any]:
    """A process group of `num_gpus` in which nothing is sent; yields its device mesh."""
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=num_gpus)
    try:
        yield distributed.device_mesh.init_device_mesh("cpu", (num_gpus,))
    finally:
        distributed.destroy_process_group()
