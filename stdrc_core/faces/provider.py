"""Where ONNX Runtime runs: what is asked for, and what is really in use."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from enum import StrEnum

log = logging.getLogger(__name__)

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"

_REMEDY = "run install.py, or take the provider auto or cpu"


class Provider(StrEnum):
    """`auto` takes CUDA when this ONNX Runtime has it, else the CPU."""

    AUTO = "auto"
    CUDA = "cuda"
    CPU = "cpu"


def execution_providers(provider: Provider) -> list[str]:
    """What to ask ONNX Runtime for; ValueError when CUDA is wanted and not in this build."""
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
    """Logs what a session runs on; ONNX Runtime itself falls back to the CPU without a word.

    `in_use` is the session's `get_providers()`. Raises ValueError when CUDA was asked for and is
    not in use; with `auto` that is a warning.
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
