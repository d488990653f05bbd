"""Chooses where ONNX Runtime runs, and checks where it really does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum

log = logging.getLogger(__name__)

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"

_REMEDY = "run install.py, or take the provider auto or cpu"


class Provider(StrEnum):
    """Where ONNX Runtime is to run; `auto` takes CUDA where this build has it, else the CPU."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"


def execution_providers(provider: Provider) -> list[str]:
    """Returns the execution providers to ask ONNX Runtime for, the preferred one first.

    Raises ValueError where CUDA is wanted and this build of ONNX Runtime does not have it.
    """
    import onnxruntime

    has_cuda = CUDA_PROVIDER in onnxruntime.get_available_providers()
    if provider is Provider.CUDA and not has_cuda:
        raise ValueError(
            f"provider was cuda, but the ONNX Runtime installed has no {CUDA_PROVIDER}; needs "
            f"onnxruntime-gpu: {_REMEDY}."
        )
    use_cuda = has_cuda and provider is not Provider.CPU
    return [CUDA_PROVIDER, CPU_PROVIDER] if use_cuda else [CPU_PROVIDER]


def check_providers(asked: Provider, in_use: Sequence[str]) -> None:
    """Logs what a session runs on, because ONNX Runtime falls back to the CPU in silence.

    `in_use` is the session's `get_providers()`. Raises ValueError where CUDA was asked for and is
    not in use. With `auto` there is a warning instead, where this build has CUDA.
    """
    log.info("ONNX Runtime runs on %s.", in_use[0])
    if CUDA_PROVIDER in in_use:
        return
    if asked is Provider.CUDA:
        raise ValueError(
            f"provider was cuda, but ONNX Runtime could not load {CUDA_PROVIDER} and fell back to "
            f"{in_use[0]}; needs an onnxruntime-gpu for the CUDA installed: {_REMEDY}."
        )
    if CUDA_PROVIDER in execution_providers(asked):
        log.warning("ONNX Runtime has %s but could not load it: run install.py.", CUDA_PROVIDER)
