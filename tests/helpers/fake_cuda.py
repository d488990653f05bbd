"""Tensors on a GPU that is not there: they have a shape, a dtype and a device, and no numbers.

They are torch's own fake tensors, on `cuda`: an operation on mixed devices or dtypes raises as on a
GPU. They need a build of torch for CUDA, no GPU, and run forward alone. No memory is taken, so
models have the sizes that are published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.stray_tensors import NoStrays

CUDA = torch.device("cuda")
# What code is told that asks for a number. The float is a sigma in the middle of a run.
_ANSWERS = {torch.bool: True, torch.float32: 0.7}
_WHOLE_NUMBER = 9
# One for the whole process, since tensors stay in caches, the host's table of frequencies for one:
# a process that has used it is good for nothing else.
_MODE = FakeTensorMode()
_aten = torch.ops.aten
# Operations that raise for mixed dtypes on a GPU, and not for fake tensors. Inference mode has them
# by other names.
_PRODUCTS = (_aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm, _aten.convolution)
_PRODUCTS += (_aten.linear, _aten.matmul, _aten.conv2d, _aten.conv3d)
_PRODUCTS += (_aten.native_layer_norm, _aten.native_group_norm, _aten.scaled_dot_product_attention)
_OF_ONE_DTYPE = {each.default for each in _PRODUCTS}


class _Answers(TorchDispatchMode):
    """Answers what asks for a number, such as `.item()`, `float(x)` or `if x.any()`."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is _aten._local_scalar_dense.default and isinstance(args[0], FakeTensor):
            if args[0].constant is not None:
                with unset_fake_temporarily():
                    return args[0].constant.item()
            dtype = args[0].dtype
            default = _ANSWERS[torch.float32] if dtype.is_floating_point else _WHOLE_NUMBER
            return _ANSWERS.get(dtype, default)
        if func is _aten.equal.default:
            return False
        if func is _aten.index.Tensor:
            args = (args[0], [_all_of(each) for each in args[1]])
        if func in _OF_ONE_DTYPE:
            dtypes = {each.dtype for each in args if isinstance(each, Tensor)}
            if len(dtypes) > 1:
                raise RuntimeError(f"{func} of {', '.join(sorted(map(str, dtypes)))}")
        return func(*args, **(kwargs or {}))


def _all_of(index: Tensor | None) -> Tensor | None:
    """An index that takes everything, in the place of a mask `[N]` of which nothing is known."""
    if index is None or index.dtype is not torch.bool:
        return index
    return torch.arange(index.numel(), device=index.device)


@contextmanager
def fake_cuda(of: str = "") -> Iterator[None]:
    """Makes every tensor that is made in the block a fake one.

    Tensors that take the way over the CPU in code of the folder `of` raise (stray_tensors).
    A module's `to` works too, though torch's own cannot change fake parameters in place.
    """
    with (
        mock.patch.object(nn.Module, "_apply", _apply),
        torch.inference_mode(mode=False),
        torch.no_grad(),
        _MODE,
        NoStrays(of),
        _Answers(),
    ):
        yield


def _apply(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    """`nn.Module._apply` with new parameters in the place of the old ones."""
    for part in module.modules() if recurse else (module,):
        for name, old in [*part.named_parameters(recurse=False)]:
            part.register_parameter(name, nn.Parameter(change(old), old.requires_grad))
        for name, old in [*part.named_buffers(recurse=False)]:
            part.register_buffer(name, change(old), name not in part._non_persistent_buffers_set)
    return module


def filled(module: nn.Module, dtype: torch.dtype, device: torch.device = CUDA) -> nn.Module:
    """A module that was built on the meta device, with fake weights of `dtype` on `device`."""

    def fake(old: Tensor) -> Tensor:
        kind = dtype if old.is_floating_point() else old.dtype
        return torch.empty(old.shape, dtype=kind, device=device)

    return _apply(module, fake).eval().requires_grad_(False)


def check(tensor: Tensor, shape: list[int], dtype: torch.dtype, device: str) -> None:
    """`tensor` is a fake one of this shape and dtype on this device."""
    assert isinstance(tensor, FakeTensor)
    found = [*tensor.shape], tensor.dtype, tensor.device.type
    assert found == (shape, dtype, device), found
