"""What FSDP2 needs of a run, and a model whose weights one process reads for all.

The main process reads the weights into host memory. The others have a model of the same names,
shapes and dtypes that takes no memory, and accelerate sends each its shards, weight by weight.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ..ltx.backbone import VideoBackbone, empty_backbone
from .config import ModelSection, TrainConfig


def require_shardable(config: TrainConfig) -> None:
    """Raises ValueError for what FSDP2 cannot do; it reads nothing but `config`."""
    quantization = config.model.quantization
    if quantization != "none":
        raise ValueError(
            f"model.quantization was {quantization} with FSDP2; needs none, since 8-bit weights "
            "are not sharded: take it, or another distribution."
        )
    # bitsandbytes issue 1633: its kernels take a shard for the whole weight.
    if config.optimizer.name == "adamw_8bit":
        raise ValueError(
            f"optimizer.name was {config.optimizer.name} with FSDP2; needs adamw, since "
            "bitsandbytes reads beyond the memory of sharded weights: take adamw, or another "
            "distribution."
        )
    if config.objective.distil is not None:
        raise ValueError(
            "objective.distil was given with FSDP2; needs DDP, since its teacher makes passes of "
            "its own, and not equally many in all processes: take accelerate_ddp.yaml, or leave it "
            "out."
        )
    # Each call of a block is a collective, so that all processes need the same number of them.
    run, objective, reference = config.run, config.objective, config.reference
    if run.micro_batch_size == 1:
        return
    shares = {
        "reference.p_drop": reference.p_drop,
        "objective.first_frame_share": objective.first_frame_share,
        "objective.single_frame_share": objective.single_frame_share,
    }
    uneven: dict[str, Any] = {key: share for key, share in shares.items() if 0 < share < 1}
    # Whatever the shares: who has fewer photos than were drawn shows fewer.
    if reference.max_photos not in (None, 1):
        uneven["reference.num_photos"] = list(reference.num_photos)
    if uneven:
        key, value = next(iter(uneven.items()))
        raise ValueError(
            f"run.micro_batch_size was {run.micro_batch_size} with FSDP2 and {key} {value}; needs "
            "1, since samples of different shapes run separately."
        )


def policy_of_run(policy: Any) -> Any:
    """FSDP2's mixed precision policy of a run, made of the one that accelerate was configured with.

    Inputs are not cast: t would be rounded to bfloat16, and the model casts the rest by itself.
    Gradients are summed over processes in float32 (our choice).
    """
    return replace(policy, reduce_dtype=torch.float32, output_dtype=None, cast_forward_inputs=False)


def weightless_backbone(section: ModelSection) -> VideoBackbone:
    """Returns the backbone that `quantization.load_base` loads, on the meta device.

    Of the file only its header is read. What no state dict holds, and so cannot be sent, is there.
    """
    backbone = empty_backbone(section.checkpoint).to(getattr(torch, section.dtype))
    for module in backbone.modules():
        for name in module._non_persistent_buffers_set:  # noqa: SLF001 (torch has no public list)
            silent = torch.zeros_like(module.get_buffer(name), device="cpu")
            module.register_buffer(name, silent, persistent=False)
    return backbone


def give_places(module: nn.Module) -> None:
    """Gives each parameter on the meta device one number of host memory, in place.

    accelerate tells the optimizer's parameters apart by where they lie in memory.
    """
    for part in module.modules():
        for name, parameter in [*part.named_parameters(recurse=False)]:
            one = torch.empty(1, dtype=parameter.dtype).expand(parameter.shape)
            part.register_parameter(name, nn.Parameter(one, parameter.requires_grad))
