"""Chooses where ONNX Runtime runs, and checks where it really does."""

from __future__ import annotations

import logging
import platform
from collections.abc import Sequence
from enum import StrEnum
from functools import cache

import torch

log = logging.getLogger(__name__)

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"

_INSTALL = "run install.py, or take the provider auto or cpu"
_NO_CUDA = "take the provider auto or cpu"


class Provider(StrEnum):
    """Where ONNX Runtime is to run; `auto` takes CUDA where this build has it, else the CPU."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"


def execution_providers(provider: Provider) -> list[str]:
    """Returns the execution providers to ask ONNX Runtime for, the preferred one first.

    These are CUDA and the CPU alone. Where torch drives another GPU than NVIDIA's (ROCm, which
    torch calls cuda too), CUDA is not asked for, as it could only fail. Raises ValueError where
    CUDA is wanted and cannot be had.
    """
    import onnxruntime

    has_cuda = CUDA_PROVIDER in onnxruntime.get_available_providers() and not _is_rocm()
    if provider is Provider.CUDA and not has_cuda:
        if _is_rocm():
            raise ValueError(
                "provider was cuda, and torch drives this GPU by ROCm, which is no CUDA; needs an "
                f"NVIDIA GPU: {_NO_CUDA}."
            )
        raise ValueError(
            f"provider was cuda, but the ONNX Runtime installed has no {CUDA_PROVIDER}; needs "
            f"onnxruntime-gpu: {remedy()}."
        )
    use_cuda = has_cuda and provider is not Provider.CPU
    return [CUDA_PROVIDER, CPU_PROVIDER] if use_cuda else [CPU_PROVIDER]


def check_providers(asked: Provider, in_use: Sequence[str]) -> None:
    """Logs what a session runs on, because ONNX Runtime falls back to the CPU in silence.

    `in_use` is the session's `get_providers()`. Raises ValueError where CUDA was asked for and is
    not in use. With `auto` there is a warning instead, where install.py would bring CUDA.
    """
    if CUDA_PROVIDER in in_use:
        say_once("Faces are found on the GPU.", logging.INFO)
        return
    if asked is Provider.CUDA:
        raise ValueError(
            f"provider was cuda, but ONNX Runtime could not load {CUDA_PROVIDER} and fell back to "
            f"{in_use[0]}; needs an onnxruntime-gpu for the CUDA installed: {remedy()}."
        )
    if asked is Provider.CPU:
        log.debug("Faces are found on the CPU, as asked for.")
    elif CUDA_PROVIDER in execution_providers(asked) and install_may_help():
        say_once(
            f"ONNX Runtime has {CUDA_PROVIDER} but could not load it: run install.py. Until then "
            "faces are found on the CPU."
        )
    else:
        say_once("Faces are found on the CPU.", logging.INFO)


def install_may_help() -> bool:
    """Whether install.py could bring ONNX Runtime's CUDA: torch has an NVIDIA GPU, on x86-64."""
    has_wheel = platform.system() in ("Linux", "Windows")
    has_wheel = has_wheel and platform.machine() in ("x86_64", "AMD64")
    return has_wheel and torch.version.cuda is not None and torch.cuda.is_available()


def remedy() -> str:
    """Returns what to do where CUDA was asked for by name and cannot be had."""
    return _INSTALL if install_may_help() else _NO_CUDA


@cache
def say_once(message: str, level: int = logging.WARNING) -> None:
    """Logs a message, and each one once in a process, however many models are opened."""
    log.log(level, "%s", message)


def _is_rocm() -> bool:
    return torch.version.hip is not None
