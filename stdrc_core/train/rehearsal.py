"""`--rehearse`: a step of a run on tensors that have sizes and no numbers, and what it takes.

It is `loop.training_step` on the micro-batches of `batches.Batches` and with the parts of
`assemble`, at the size of the run's model. Weights, cache and GPU need not be there: a checkpoint
that is not there may be a published one (ltx.published), a cache that is not there has the clip's
size that is given, and a face pack that is not there is buffalo_l. Two micro-batches of the step
are run, since the others are as the second, with the optimizer's state of a step before.

Several GPUs share a LoRA's batch by DDP and shard a full fine-tune by FSDP2, as the launch files
beside the recipes do. This process is then one of them, in a process group of torch's that sends
nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..faces.published import NUM_FEATURES, sized_recognizer
from ..faces.recognizer import Recognizer
from ..ltx.published import file_bytes, open_sizes, sized_vae
from ..rehearsal.memory_record import GPU, HOST, MemoryRecord, Peak, fake_gpu
from ..rehearsal.parking import park
from ..rehearsal.repeated import run_few
from .assemble import load_teacher, load_trainable_backbone, place_vae, put_together
from .batches import Batches, own_share
from .cache import Cache, Manifest, read_manifest
from .config import TrainConfig
from .loop import Parts, training_step
from .optimizer import make_optimizer
from .rehearsal_parts import (
    ClipSize,
    EightBitMoments,
    RehearsedProcess,
    set_up_autocast,
    shard,
    write_sized_cache,
)
from .sharding import require_shardable
from .surroundings import DiskNeed, disk_need
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
    """What the processes hold in host memory while they load weights to shard them, beside the
    file; it is the main process that does."""
    checkpoint_file: int
    """How long the base's tensors are on disk; RAM and swap have to be as large."""
    flops_per_step: float
    """Operations of one GPU in a step."""
    network_per_step: float
    """What one GPU sends in a step, and as much receives."""
    disk: DiskNeed
    """What the run takes of its disk, as it says itself before it starts."""


def rehearse(config: TrainConfig, *, num_gpus: int = 1, clip: ClipSize | None = None) -> Rehearsal:
    """Rehearses one step of a run; `clip` is the size of clips where the cache is not there.

    Raises ValueError for a checkpoint whose size is not known, and where the batch or the model
    cannot be shared over the GPUs.
    """
    own_share(config.run.batch_size, 0, num_gpus)
    is_sharded = num_gpus > 1 and config.trainable.method == "full"
    if is_sharded:
        require_shardable(config)
    # FSDP2 takes no other CPU than the one without a number.
    device = HOST if is_sharded else GPU
    sizes = open_sizes(config.model.checkpoint)
    vae_sizes = sizes if config.model.vae is None else open_sizes(config.model.vae)
    sized = _with_all_in_each_sample(config)
    # LoRAs that are merged change no size.
    changes = {"checkpoint": sizes, "compile": False, "loras": ()}
    sized = sized.model_copy(update={"model": config.model.model_copy(update=changes)})
    disk = disk_need(sized)
    with (
        tempfile.TemporaryDirectory() as folder,
        _fake_processes(num_gpus) if is_sharded else nullcontext() as mesh,
        fake_gpu(device),
    ):
        # A LoRA is made without numbers, and moved like what the base's file does not hold.
        with torch.device("meta"):
            backbone = load_trainable_backbone(sized, device)
            teacher = load_teacher(sized, device)
        made, num_references = largest_sample(config)
        if made is None:
            channels = backbone.transformer.config.in_channels
            made = (clip or ClipSize()).manifest(backbone.context_dim, channels)
        recognizer = _recognizer(config, device)
        num_features = NUM_FEATURES if recognizer is None else recognizer.network.output_shape[-1]
        cache = write_sized_cache(Path(folder), made, num_references, num_features)
        vae_dtype = getattr(torch, config.model.vae_dtype or config.model.dtype)
        vae = sized_vae(vae_sizes, vae_dtype, device)
        place_vae(vae, config, device, park)
        parts = put_together(sized, device, cache, backbone, vae, recognizer, teacher)
        num_loaded = sum(_nbytes(p) for p in backbone.parameters())
        num_trained = sum(p.numel() for _, p in trained_parameters(backbone))
        num_parameters = sum(p.numel() for p in backbone.parameters())
        if config.trainable.method == "lora":
            num_parameters -= num_trained
        if is_sharded:
            shard(parts.model, mesh, config)
        with MemoryRecord() as record:
            record.declare([parts.model])
            record.declare([*_frozen(parts, vae), *filter(None, [teacher])], is_frozen=True)
            # FSDP2 frees what it gathered for a block by hooks that a stand-in does not call.
            if config.model.gradient_checkpointing and not is_sharded:
                run_few(parts.model.backbone.transformer.transformer_blocks, record)
            process = RehearsedProcess(
                parts.model, device, record, num_gpus=num_gpus, is_sharded=is_sharded
            )
            scale = _step(sized, parts, process)
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
        host_loading=num_loaded if is_sharded else 0,
        checkpoint_file=file_bytes(sizes),
        flops_per_step=record.flops * scale,
        network_per_step=network,
        disk=disk,
    )


def _with_all_in_each_sample(config: TrainConfig) -> TrainConfig:
    """The run with all that makes a step large in each sample, where the run has it at all.

    States of a distillation's teacher are left out: they take no more memory, but on average a
    share of `trajectory_steps` / 2 more passes of the teacher. Batches are made in between, since a
    thread of their own would know nothing of fake tensors.
    """
    shown = {
        "text_p_drop": 0.0,
        "identity_share": 1.0,
        "identity_from": 0,
        "single_frame_share": 0.0,
    }
    if config.objective.distil is not None:
        shown["distil"] = config.objective.distil.model_copy(update={"trajectory_share": 0.0})
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"prefetch": 0}),
            "objective": config.objective.model_copy(update=shown),
            "reference": config.reference.model_copy(
                update={"p_drop": float(config.reference.p_drop == 1), "num_photos": None}
            ),
        }
    )


def _step(config: TrainConfig, parts: Parts, process: RehearsedProcess) -> float:
    """Runs the first micro-batches of a step; returns how many times as many the step has."""
    record, trained = process.record, process.trained
    optimizer = _optimizer(config, parts.model)
    # A step before this one has left its state.
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    record.declare_gradients(trained)
    optimizer.step()
    optimizer.zero_grad()
    states = (value for state in optimizer.state.values() for value in state.values())
    record.declare_state(value for value in states if isinstance(value, Tensor))
    average = None
    if config.optimizer.ema_decay:
        average = AverageOfWeights(parts.model, config.optimizer.ema_decay)
        record.declare_state(average.weights.values())
    batches = Batches(
        config,
        parts.samples,
        parts.objective,
        rank=0,
        num_processes=process.num_gpus,
        pins=False,
    )
    set_up_autocast(config, parts.model, process.device)
    record.reset_peak()
    num_rehearsed = min(_REHEARSED_MICRO_BATCHES, len(batches.places))
    first = islice(batches.ahead([0]), num_rehearsed)
    training_step(config, parts.objective, process, parts.model, optimizer, 0, first)
    if average is not None:
        average.update(parts.model)
    return len(batches.places) / num_rehearsed


def _optimizer(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    if config.optimizer.name == "adamw_8bit":
        return EightBitMoments(p for _, p in trained_parameters(model))
    return make_optimizer(config, model)


def largest_sample(config: TrainConfig) -> tuple[Manifest | None, int]:
    """The manifest of the run's cache and the most references that a sample of it has.

    Without a cache these are None and 1. The run may say itself how many photos a sample shows.
    """
    made = read_manifest(config.data.cache)
    num_references = 1 if made is None else max(Cache(config.data.cache).num_references)
    return made, max(num_references, config.reference.max_photos or 1)


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
