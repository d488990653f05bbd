"""The backward pass of fake `cuda` tensors, which torch's own engine does not run without a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def gradients(loss: Tensor, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients of a scalar `loss` with respect to `inputs`; None where it does not depend.

    It walks the graph as the engine does, and as there a gradient has to lie on the device of the
    value that it belongs to.
    """
    num_readers: Counter[Any] = Counter()
    waiting, seen = [loss.grad_fn], {loss.grad_fn}
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                num_readers[node] += 1
                if node not in seen:
                    seen.add(node)
                    waiting.append(node)
    leaves = {id(each): i for i, each in enumerate(inputs)}
    found: list[Tensor | None] = [None] * len(inputs)
    sums: dict[Any, list[Tensor | None]] = {loss.grad_fn: [torch.ones_like(loss)]}
    ready = [loss.grad_fn]
    while ready:
        node = ready.pop()
        given = sums.pop(node, [])
        if hasattr(node, "variable"):
            if id(node.variable) in leaves:
                found[leaves[id(node.variable)]] = given[0]
            continue
        # A node that no gradient reached passes none on.
        made = [None] * len(node.next_functions)
        if any(each is not None for each in given):
            made = _called(node, given)
        for (reader, index), gradient in zip(node.next_functions, made, strict=True):
            if reader is None:
                continue
            if gradient is not None:
                _add(sums.setdefault(reader, []), index, _fitting(gradient, reader, index))
            num_readers[reader] -= 1
            if not num_readers[reader]:
                ready.append(reader)
    return found


def _called(node: Any, given: list[Tensor | None]) -> tuple[Tensor | None, ...]:
    num_outputs = len(node._input_metadata)
    with torch.no_grad():
        made = node(*given, *[None] * (num_outputs - len(given)))
    return made if isinstance(made, tuple) else (made,)


def _add(sums: list[Tensor | None], index: int, gradient: Tensor) -> None:
    sums += [None] * (index + 1 - len(sums))
    sums[index] = gradient if sums[index] is None else sums[index] + gradient


def _fitting(gradient: Tensor, node: Any, index: int) -> Tensor:
    """As the engine checks and fits it: a broadcast value gets a sum, a cast one its own dtype."""
    value = node._input_metadata[index]
    if gradient.device != value.device:
        raise RuntimeError(
            f"the gradient for {node} is on {gradient.device}, its value on {value.device}"
        )
    if gradient.shape != value.shape:
        gradient = gradient.sum_to_size(value.shape)
    return gradient.to(value.dtype)
