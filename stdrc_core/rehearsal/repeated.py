"""Rehearses a few of many equal blocks, and lets the others take what those take.

Of blocks that run one after another, what is held grows or falls by the same amount from each block
to the next: forwards by what a block leaves for the backward pass, backwards by the gradients of
its weights less what it left. So the most is held at an end of the row. The first block, the second
and the last one are run; the first is apart because its input may need no gradient. Each block
between takes its input and gives an output of its size, backwards makes the gradients of its
weights, and counts the operations of the blocks that were run. Hooks of a block (offload)
and the checkpoint around it run as ever; FSDP2's do not, since it learns from the gradients of a
block's outputs and inputs when to gather its weights.

What a block keeps inside itself for the backward pass is not there, so that a run without gradient
checkpointing has to run all of its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .memory_record import MemoryRecord

# The first, the second and the last one.
_NUM_RUN = 3


def run_few(blocks: Sequence[nn.Module], record: MemoryRecord) -> None:
    """Makes all of `blocks` but the first, the second and the last take what the second one takes.

    A block returns what its first two arguments become, of which only the first is computed; where
    there are gradients it is called without keywords, as a checkpoint does. Blocks that are not as
    the second one, by the shapes and dtypes of their weights, are run too.
    """
    if len(blocks) <= _NUM_RUN:
        return
    costs = _Costs(record)
    second, last, kind = blocks[1], blocks[-1], _kind(blocks[1])
    costs.watch_forward(second)
    costs.watch_backward(last)
    for block in blocks[2:-1]:
        if _kind(block) == kind:
            block.forward = _stand_in(block, costs)


class _Costs:
    """The operations of a block, taken from those that are run."""

    def __init__(self, record: MemoryRecord) -> None:
        self.record = record
        self.forward = self.backward = 0
        self._begun = 0

    def watch_forward(self, block: nn.Module) -> None:
        """Counts what `block` takes in a forward pass, each time that it runs one."""
        run = block.forward

        def counted(*args: Any, **kwargs: Any) -> Any:
            before = self.record.flops
            result = run(*args, **kwargs)
            if not _in_backward():
                self.forward = self.record.flops - before
            return result

        block.forward = counted

    def watch_backward(self, block: nn.Module) -> None:
        """Counts what `block` takes in a backward pass, with what it computes again in it."""
        run = block.forward

        def begin(_: Tensor) -> None:
            self._begun = self.record.flops

        def end(_: Tensor) -> None:
            self.backward = self.record.flops - self._begun

        def marked(*args: Any, **kwargs: Any) -> Any:
            result = run(*args, **kwargs)
            if torch.is_grad_enabled() and not _in_backward():
                # Hooks of tensors run when their gradients are there: after and before the block.
                args[0].register_hook(end)
                result[0].register_hook(begin)
            return result

        block.forward = marked


class _Use(torch.autograd.Function):
    """Passes a tensor on, and gives a weight a gradient in the backward pass."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, weight: Tensor) -> Tensor:
        ctx.like = weight
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return gradient, torch.empty_like(ctx.like)


class _Computed(torch.autograd.Function):
    """A tensor of the size of the one it is computed of, which waits for the backward pass."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, costs: _Costs) -> Tensor:
        ctx.costs = costs
        ctx.save_for_backward(tensor)
        return torch.empty_like(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # To ask for it makes a checkpoint compute it again.
        (tensor,) = ctx.saved_tensors
        ctx.costs.record.flops += ctx.costs.backward
        return torch.empty_like(tensor), None


def _stand_in(block: nn.Module, costs: _Costs) -> Callable[..., Any]:
    """A forward pass that takes what the watched blocks take, in the place of `block`'s own."""

    def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, Any]:
        hidden, other, *_ = (*args, *kwargs.values())
        other = torch.empty_like(other)
        if not _in_backward():
            costs.record.flops += costs.forward
        if not torch.is_grad_enabled():
            return torch.empty_like(hidden), other
        for weight in block.parameters():
            if weight.requires_grad:
                hidden = _Use.apply(hidden, weight)
        return _Computed.apply(hidden, costs), other

    return forward


def _in_backward() -> bool:
    """Whether a backward pass is under way, in which a checkpoint computes again."""
    return torch._C._current_graph_task_id() != -1  # noqa: SLF001 (as torch.utils.checkpoint asks)


def _kind(block: nn.Module) -> list[tuple[str, torch.Size, torch.dtype, bool]]:
    """The weights of a block: blocks of the same ones take the same."""
    return [(name, p.shape, p.dtype, p.requires_grad) for name, p in block.named_parameters()]
