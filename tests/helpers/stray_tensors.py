"""Notices what a GPU does without a word of complaint: tensors that take the way over the CPU.

A GPU refuses most operations on tensors of two devices, but it takes an index that lies on the CPU,
fills a part of a tensor from there, and networks move some of their inputs themselves. Such a run
gives the right numbers, and waits for the CPU in every step. So, beside what torch refuses:

* nothing is copied from the GPU to the CPU, but for the results that are listed here;
* while a network on the GPU runs, nothing lies on the CPU, but for the few numbers listed here;
* no other operation than a copy has tensors on both.

A tensor without dimensions is a number, which may be anywhere, and so may a list of numbers in the
code, of which torch makes a tensor.
"""

from __future__ import annotations

import itertools
import linecache
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten
# Inference mode has the first by the second's name.
_COPIES = (_aten._to_copy, _aten.to, _aten.copy_)
_TORCH = str(Path(torch.__file__).parent) + os.sep
# The end of a file's path, and a part of the line that copies a result to the CPU.
RESULTS = (
    ("stdrc_core/generate/pipeline.py", ".clamp(0, 1).cpu()"),  # a clip's pixels
    ("stdrc_core/ltx/text.py", ".float().cpu()"),  # a caption, which waits for its clip
    ("stdrc_core/ltx/vae.py", "torch.cat(latents).to(pixels.device)"),  # where the pixels came from
    ("stdrc_core/train/clip_stages.py", "latent.cpu()"),  # a clip's latent, for the cache
    ("stdrc_core/evaluate/frame_batches.py", "outputs.cpu()"),  # scores
)
# The end of a file's path, and a part of the line that may use the CPU while a network runs.
# Where tokens stand depends on the sizes alone; it is worked out in double precision, which not
# every GPU has, and goes to the GPU at once.
FEW_NUMBERS = (
    ("stdrc_core/method/grid.py", ""),
    ("stdrc_core/method/layout.py", ""),
    ("stdrc_core/ltx/backbone.py", "bounds = torch.cat((bounds, *own), dim=1)"),
    ("nodes/host/in_context.py", "bounds"),
    ("stdrc_core/ltx/backbone.py", "boxes = to_seconds(bounds, frame_rate).to(video.device"),
    # The noise of the diffusion decoder has a seed, and is the same on every device.
    ("diffusers/utils/torch_utils.py", "torch.randn(shape, generator=generator"),
    # The grid of a picture's places, which the network moves itself.
    ("torchvision/models/optical_flow/_utils.py", ""),
    ("torchvision/models/optical_flow/raft.py", "torch.linspace(-self.radius"),
    ("torchvision/models/optical_flow/raft.py", "delta = torch.stack("),
    ("torchvision/models/optical_flow/raft.py", "= make_coords_grid("),
    # Checkpointing keeps the state of the random numbers.
    ("diffusers/models/modeling_utils.py", "torch.utils.checkpoint.checkpoint("),
)
_IN_CODE = ("", "tensor(")


class StrayTensorError(RuntimeError):
    """A tensor took the way over the CPU."""


class NoStrays(TorchDispatchMode):
    """While it is open, a stray tensor raises StrayTensorError, where the code that strays lies in
    `folder`, which by default is any."""

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self._folder = folder

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given, made = _tensors((args, kwargs)), _tensors(result)
        on_cpu = [each for each in (*given, *made) if each.device.type == "cpu" and each.ndim]
        if on_cpu and func.namespace == "aten" and func is not _aten.lift_fresh.default:
            is_mixed = any(each.is_cuda and each.ndim for each in (*given, *made))
            self._judge(func, on_cpu[0], is_mixed, _is_to_cpu(func, args, made))
        return result

    def _judge(self, func: Any, stray: Tensor, is_mixed: bool, is_to_cpu: bool) -> None:
        place = _Place(sys._getframe(2))
        if not place.is_under(self._folder):
            return
        if is_mixed and func.overloadpacket in _COPIES:
            if is_to_cpu:
                if not place.is_in(RESULTS):
                    self.found(f"a copy {list(stray.shape)} to the CPU {place}")
                return
        elif is_mixed:
            self.found(f"{func} on the GPU of {list(stray.shape)} on the CPU {place}")
        if place.is_in_network and not place.is_in((*FEW_NUMBERS, _IN_CODE)):
            self.found(f"{func} of {list(stray.shape)} on the CPU in a network {place}")

    def found(self, what: str) -> None:
        raise StrayTensorError(what)


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _is_to_cpu(func: Any, args: tuple, made: list[Tensor]) -> bool:
    source = args[1] if func is _aten.copy_.default else args[0] if args else None
    return isinstance(source, Tensor) and source.is_cuda and not all(e.is_cuda for e in made)


class _Place:
    """Where in the code an operation was asked for."""

    def __init__(self, frame: FrameType) -> None:
        own = (each for each in _outward(frame) if not _is_of_torch(each))
        first = next(own, frame)
        self._file, self._line = first.f_code.co_filename.replace("\\", "/"), first.f_lineno
        self._frame = frame

    def __str__(self) -> str:
        return f"at {self._file}:{self._line}: {self._text}"

    @property
    def _text(self) -> str:
        return linecache.getline(self._file, self._line).strip()

    @property
    def is_in_network(self) -> bool:
        """Whether the forward pass of a module with weights on the GPU is under way."""
        return any(
            each.f_code is nn.Module._call_impl.__code__ and _is_on_gpu(each.f_locals["self"])
            for each in _outward(self._frame)
        )

    def is_under(self, folder: str) -> bool:
        return self._file.startswith(folder)

    def is_in(self, places: tuple[tuple[str, str], ...]) -> bool:
        return any(self._file.endswith(file) and part in self._text for file, part in places)


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_of_torch(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith((_TORCH, "<")) or file == __file__ or file.endswith("fake_cuda.py")


def _is_on_gpu(module: nn.Module) -> bool:
    return any(each.is_cuda for each in itertools.chain(module.parameters(), module.buffers()))
