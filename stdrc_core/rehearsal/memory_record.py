"""Runs code on tensors that have sizes and no numbers, and records the memory that it would take.

Inside `fake_gpu` a tensor on the device GPU is a torch `FakeTensor`: it has a shape, a dtype and a
device, and takes no memory. What the code draws or counts on the host stays real, so that code with
random choices runs as it is. GPU is called cpu:0, which torch keeps apart from the host's cpu: a
tensor has to be moved from one to the other, and mixing them is an error as with a real GPU. Unlike
a fake `cuda`, it has a backward pass in every build of torch, autocast, and fused attention.

`MemoryRecord` watches such a run. It is torch's own MemTracker without its record of each module,
which would take most of the time (torchtitan estimates memory with the same one).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType
from torch.distributed.tensor import DTensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop, sdpa_flop

# What stands for the GPU, and the host beside it.
GPU, HOST = torch.device("cpu:0"), torch.device("cpu")

_TOTAL = "Total"
_GIB = 2**30
# How far above an operation DTensor's question may stand.
_NUM_FRAMES_ABOVE = 20
_aten = torch.ops.aten
# The fused attention of a CPU, for which torch lists no formula; it counts as any other does.
_FLOPS = {
    _aten._scaled_dot_product_flash_attention_for_cpu: sdpa_flop,  # noqa: SLF001
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: sdpa_backward_flop,  # noqa: SLF001
} | flop_registry


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What a device held when it held the most, in bytes."""

    weights: int = 0
    """Weights of the model that is trained or sampled, with what was declared as such."""
    frozen: int = 0
    """Weights of the networks beside it: VAE, face model."""
    gradients: int = 0
    optimizer: int = 0
    """The optimizer's state, and the average of weights where a run keeps one."""
    activations: int = 0
    """All else: what waits for a backward pass, and what is being computed."""

    @property
    def total(self) -> int:
        """All kinds together."""
        return self.weights + self.frozen + self.gradients + self.optimizer + self.activations


class _RealOnHost(TorchFunctionMode):
    """Lets calls that touch nothing on the device compute real numbers."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        leaves = tree_leaves((args, kwargs))
        if not any(self._is_fake(leaf) for leaf in leaves):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        result = func(*args, **kwargs)
        is_asked = any(isinstance(leaf, torch.device) and leaf == self.device for leaf in leaves)
        if func is Tensor.new_tensor and kwargs.get("device") is None:
            is_asked = args[0].device == self.device
        if func in (Tensor.to, Tensor.type_as):
            others = (each for each in leaves[1:] if isinstance(each, Tensor))
            is_asked = is_asked or any(each.device == self.device for each in others)
        if is_asked and isinstance(result, Tensor) and result.device != self.device:
            # torch keeps a single number as a constant, which is where the number really is.
            return torch.empty(result.shape, dtype=result.dtype, device=self.device)
        return result

    def _is_fake(self, value: object) -> bool:
        if isinstance(value, Tensor):
            return _has_fake(value)
        return isinstance(value, torch.device) and value == self.device


def _has_fake(tensor: Tensor) -> bool:
    """Whether a tensor, or what a wrapper such as DTensor or an 8-bit weight holds, is fake."""
    if isinstance(tensor, FakeTensor):
        return True
    if isinstance(tensor, DTensor):
        return True
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return any(_has_fake(getattr(tensor, name)) for name in names)
    return False


@contextmanager
def fake_gpu(device: torch.device = GPU) -> Iterator[FakeTensorMode]:
    """While it is open, tensors on `device` are fake, and so is what is computed from them.

    Tensors of the host that the code makes by itself are real. A real tensor that meets a fake one
    becomes fake.
    """
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, _RealOnHost(device):
        yield mode


class MemoryRecord(MemTracker):
    """Records the peak of a device's memory by kind, the FLOPs, and the bytes of collectives.

    Tensors that were made before it is entered count once they are declared by `weights` and
    `frozen`. It counts live tensors, as `torch.cuda.max_memory_allocated` does up to rounding: what
    CUDA and its libraries take for themselves, and gaps between tensors, are beside it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        """Floating point operations of matrix products, convolutions and attention so far."""
        self.sent_bytes: dict[str, int] = {}
        """Bytes that collectives were given so far, by the name of the operation."""

    def declare(self, modules: Iterable[nn.Module], *, is_frozen: bool = False) -> None:
        """Counts the tensors of `modules` as weights, or as those of the networks beside them."""
        kind = _MemRefType.BUFFER if is_frozen else _MemRefType.PARAM
        for module in modules:
            for tensor in (*module.parameters(), *module.buffers()):
                if _has_fake(tensor):
                    self._update_and_maybe_create_winfos(_local(tensor), kind)

    def declare_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Counts what `parameters` have as gradients from now on as such."""
        for parameter in parameters:
            if parameter.grad is not None:
                self._update_and_maybe_create_winfos(_local(parameter.grad), _MemRefType.GRAD)

    def declare_state(self, tensors: Iterable[Tensor]) -> None:
        """Counts `tensors` as the optimizer's."""
        for tensor in tensors:
            self._update_and_maybe_create_winfos(_local(tensor), _MemRefType.OPT)

    def reset_peak(self) -> None:
        """Forgets what was held so far but is not any more."""
        self._peak_mem_snap = self.get_tracker_snapshot("current")
        self._peak_mem = {device: held[_TOTAL] for device, held in self._peak_mem_snap.items()}

    def peak(self, device: torch.device = GPU) -> Peak:
        """Returns what `device` held when it held the most."""
        return _peak(self.get_tracker_snapshot("peak").get(device, {}))

    def current(self, device: torch.device = GPU) -> Peak:
        """Returns what `device` holds now."""
        return _peak(self.get_tracker_snapshot("current").get(device, {}))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if _only_asks_for_a_shape():
            return func(*args, **(kwargs or {}))
        result = super().__torch_dispatch__(func, types, args, kwargs)
        if result is NotImplemented:
            return result
        formula = _FLOPS.get(func._overloadpacket)  # noqa: SLF001
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        elif func.namespace in ("c10d", "_c10d_functional"):
            self._count_sent(func, args)
        return result

    def _count_sent(self, func: Any, args: tuple[Any, ...]) -> None:
        """Adds the larger side of a collective: what is gathered, or what is reduced."""
        sizes = [t.untyped_storage().nbytes() for t in tree_leaves(args) if isinstance(t, Tensor)]
        name = func._overloadpacket.__name__.strip("_")  # noqa: SLF001
        self.sent_bytes[name] = self.sent_bytes.get(name, 0) + max(sizes, default=0)

    # The tracker's record of each module is left out.

    def _update_peak_stats(self, peak_state: Any) -> None:
        for device, held in self._curr_mem_snap.items():
            if self._peak_mem.get(device, 0) < held[_TOTAL]:
                self._peak_mem[device] = held[_TOTAL]
                self._peak_mem_snap[device] = dict(held)

    def _pre_fw_hook(self, module: nn.Module, inputs: Any) -> None: ...

    def _post_fw_hook(self, module: nn.Module, inputs: Any, outputs: Any) -> None: ...

    def _pre_bw_hook(self, module: nn.Module, args: Any) -> None: ...

    def _post_bw_hook(self, module: nn.Module, args: Any) -> None: ...


def _only_asks_for_a_shape() -> bool:
    """Whether DTensor is asking what shape an operation's result has.

    The first time that it meets an operation it runs it on tensors of the whole size, which have no
    numbers in a real run either.
    """
    frame = sys._getframe(2)  # noqa: SLF001
    for _ in range(_NUM_FRAMES_ABOVE):
        if frame is None:
            return False
        if frame.f_code.co_name == "_propagate_tensor_meta_non_cached":
            return True
        frame = frame.f_back
    return False


def _local(tensor: Tensor) -> Tensor:
    """This process's part of a sharded tensor, else the tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _peak(held: dict[Any, int]) -> Peak:
    """Returns a snapshot of the tracker by our kinds."""
    named = {
        _MemRefType.PARAM: "weights",
        _MemRefType.BUFFER: "frozen",
        _MemRefType.GRAD: "gradients",
        _MemRefType.OPT: "optimizer",
    }
    sums = dict.fromkeys((*named.values(), "activations"), 0)
    for kind, size in held.items():
        if kind != _TOTAL:
            sums[named.get(kind, "activations")] += size
    return Peak(**sums)
