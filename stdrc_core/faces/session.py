"""Opens one model of a pack by InsightFace, in an ONNX Runtime session.

Both InsightFace 2 and the older 0.7 are taken (older_insightface). A model that fails on CUDA, for
want of memory or of a library, is opened again on the CPU where the provider was `auto`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .older_insightface import is_older, open_older
from .pack import FaceTask
from .provider import (
    CUDA_PROVIDER,
    Provider,
    check_providers,
    execution_providers,
    remedy,
    say_once,
)

T = TypeVar("T")

_ERROR_LEVEL = 3
# ONNX Runtime would by itself take GPU memory in powers of two, and never gives it back.
_CUDA_MEMORY = {"arena_extend_strategy": "kSameAsRequested"}
# What messages call the models.
_NAMES = {
    FaceTask.DETECTION: "detector",
    FaceTask.RECOGNITION: "recognition model",
    FaceTask.GENDERAGE: "gender model",
}


class PackModel:
    """InsightFace's object for a model of a pack, which goes on on the CPU where CUDA fails.

    Several threads may call it at once.
    """

    def __init__(
        self,
        path: Path,
        task: FaceTask,
        provider: Provider,
        device_index: int = 0,
        *,
        num_threads: int | None = None,
        prepare: Callable[[Any], None] | None = None,
    ) -> None:
        """The first arguments are those of `open_model`; `prepare` is called with what it opens.

        The log says where the model runs. Raises ValueError as `open_model` and `check_providers`
        do, and what `prepare` raises.
        """
        self._path, self._task, self._provider = path, task, Provider(provider)
        self._device_index, self._num_threads = device_index, num_threads
        self._prepare, self._lock = prepare, threading.Lock()
        self._model = self._open(self._provider)
        check_providers(self._provider, self.providers)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, as ONNX Runtime's session reports them."""
        return tuple(self._model.session.get_providers())

    def __getattr__(self, name: str) -> Any:
        """What InsightFace's object tells of the model."""
        return getattr(self._model, name)

    def run(self, use: Callable[[Any], T]) -> T:
        """Returns `use(model)`, where needed by the model on the CPU.

        Raises ValueError where CUDA fails that was asked for by name.
        """
        model = self._model
        try:
            return use(model)
        except _runtime_errors() as error:
            if CUDA_PROVIDER not in model.session.get_providers():
                raise
            if self._provider is Provider.CUDA:
                raise ValueError(_failed_on_cuda(self._task, self._path, error)) from error
            with self._lock:
                # Another thread may have been here first.
                if self._model is model:
                    say_once(_goes_on_on_cpu(error))
                    self._model = self._open(Provider.CPU)
            return use(self._model)

    def _open(self, provider: Provider) -> Any:
        model = open_model(
            self._path, self._task, provider, self._device_index, num_threads=self._num_threads
        )
        if self._prepare is not None:
            self._prepare(model)
        return model


def open_model(
    path: Path,
    task: FaceTask,
    provider: Provider,
    device_index: int = 0,
    *,
    num_threads: int | None = None,
) -> Any:
    """Returns InsightFace's object for the file, as `FaceAnalysis` opens it.

    For a detector that is an `SCRFD`, and for a recognition model an `ArcFaceONNX`. `device_index`
    is the GPU on CUDA. `num_threads` is the number of threads of one call on the CPU; None leaves
    it to ONNX Runtime.

    With `auto`, a file that does not open on CUDA is opened on the CPU. Raises ValueError where
    ONNX Runtime cannot run the file, where CUDA is asked for and not there or fails, and where
    InsightFace cannot be used.
    """
    providers: list[Any] = execution_providers(provider)
    try:
        return _open_on(providers, path, task, device_index, num_threads)
    except _opening_errors() as error:
        if providers[0] != CUDA_PROVIDER:
            raise ValueError(_damaged(task, path, error)) from error
        on_cuda = error
    # Where the CPU cannot open it either, it is the file's fault.
    try:
        model = _open_on(providers[1:], path, task, device_index, num_threads)
    except _opening_errors() as error:
        raise ValueError(_damaged(task, path, error)) from error
    if provider is Provider.CUDA:
        raise ValueError(_failed_on_cuda(task, path, on_cuda)) from on_cuda
    say_once(_goes_on_on_cpu(on_cuda))
    return model


def _open_on(
    providers: list[Any], path: Path, task: FaceTask, device_index: int, num_threads: int | None
) -> Any:
    # InsightFace is imported first, because it tells ONNX Runtime to send no telemetry.
    try:
        import insightface
        from insightface import model_zoo
    except ImportError as error:
        raise ValueError(
            f"face pack {path.parent} needs the package insightface, which could not be imported "
            f"({_one_line(error)}); needs version 2.1 or newer, or 0.7.3: pip install insightface."
        ) from error
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.log_severity_level = _ERROR_LEVEL
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    if providers[0] == CUDA_PROVIDER:
        settings = {"device_id": device_index, **_CUDA_MEMORY}
        providers = [(CUDA_PROVIDER, settings), *providers[1:]]
    if is_older(insightface.__version__):
        return open_older(path, task, providers, options)
    return model_zoo.get_model(str(path), providers=providers, sess_options=options)


def _opening_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return (
        *_runtime_errors(),
        *(errors.InvalidGraph, errors.InvalidArgument, errors.InvalidProtobuf),
    )


def _runtime_errors() -> tuple[type[Exception], ...]:
    """The errors that a session may end in where its device or a library of it fails."""
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    return errors.Fail, errors.RuntimeException, errors.EPFail, errors.NotImplemented


def _damaged(task: FaceTask, path: Path, error: Exception) -> str:
    return (
        f"ONNX Runtime could not open the {_NAMES[task]} {path} ({_one_line(error)}); needs a "
        "sound file: unpack the face pack again."
    )


def _failed_on_cuda(task: FaceTask, path: Path, error: Exception) -> str:
    return (
        f"provider was cuda, and the {_NAMES[task]} {path} failed on it ({_one_line(error)}); "
        "needs free GPU memory, and the CUDA and cuDNN that this onnxruntime-gpu is built for: "
        f"{remedy()}."
    )


def _goes_on_on_cpu(error: Exception) -> str:
    return (
        f"ONNX Runtime failed on CUDA ({_one_line(error)}): faces are found on the CPU from now on."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
