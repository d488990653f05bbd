"""Opens the device that a command computes on, and moves models there."""

from __future__ import annotations

import logging

import torch
from torch import nn
from torch.torch_version import TorchVersion

log = logging.getLogger(__name__)

# The versions of cuDNN that torch does without for 3D convolutions in 16 bits.
_CUDNN_WITHOUT_CONV3D = range(9_08_00, 9_15_00)


def default_device() -> str:
    """Returns cuda where torch has one, and else cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def open_device(name: str) -> torch.device:
    """Returns the device of this name. Raises ValueError where it cannot be used.

    A warning is logged as by `warn_of_costly_conv3d`.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"device was {name!r}, which cannot be used ({reason}); needs cpu, or cuda where there "
            "is a GPU."
        ) from error
    warn_of_costly_conv3d(device)
    return device


def warn_of_costly_conv3d(device: torch.device) -> None:
    """Logs a warning where 3D convolutions on `device` take several times the memory they need."""
    cudnn = torch.backends.cudnn.version() if device.type == "cuda" else None
    if cudnn is not None and is_conv3d_costly(torch.__version__, cudnn):
        log.warning(
            "torch %s with cuDNN %s runs the video VAE's 3D convolutions in 16 bits without "
            "cuDNN, which takes several times the GPU memory (github.com/pytorch/pytorch/issues/"
            "166643); needs torch 2.9.1 or newer with cuDNN 9.15 or newer: update torch, or with "
            "torch 2.9.1 the package nvidia-cudnn-cu12 (nvidia-cudnn-cu13 for CUDA 13).",
            torch.__version__,
            f"{cudnn // 10_000}.{cudnn // 100 % 100}.{cudnn % 100}",
        )


def is_conv3d_costly(torch_version: str, cudnn_version: int) -> bool:
    """Whether this torch runs 3D convolutions in bfloat16 or float16 without this cuDNN.

    `cudnn_version` is a number as `torch.backends.cudnn.version()` gives it, 91002 for 9.10.2.

    cuDNN 9.8 to 9.14 gave wrong results (pytorch issue 163539). Since 2.9.0 torch therefore does
    without, by a method that was measured to take 7.3 GB where cuDNN took 0.4 (issue 166643). 2.9.0
    does so with newer cuDNNs as well; 2.9.1 takes them up again from 9.15 on (pull request 166480).
    """
    version = TorchVersion(torch_version)
    if version < (2, 9):
        return False
    if version < (2, 9, 1):
        return cudnn_version >= _CUDNN_WITHOUT_CONV3D.start
    return cudnn_version in _CUDNN_WITHOUT_CONV3D


def move(module: nn.Module, device: torch.device) -> None:
    """Moves what of `module` is not on `device` yet, in place.

    `Module.to` would replace every parameter, also those that are there, which torch's fake tensors
    do not allow.
    """
    for part in module.modules():
        for name, parameter in [*part.named_parameters(recurse=False)]:
            if not _is_on(parameter, device):
                moved = nn.Parameter(parameter.data.to(device), parameter.requires_grad)
                setattr(part, name, moved)
        for name, buffer in [*part.named_buffers(recurse=False)]:
            if not _is_on(buffer, device):
                setattr(part, name, buffer.to(device))


def _is_on(tensor: torch.Tensor, device: torch.device) -> bool:
    """Whether the tensor is on the device; a device without a number stands for any of its kind."""
    if device.index is None and device.type != "cpu":
        return tensor.device.type == device.type
    return tensor.device == device
