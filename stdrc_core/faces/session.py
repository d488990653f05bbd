"""Opens one model of a pack by InsightFace, in an ONNX Runtime session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .pack import FaceTask
from .provider import CUDA_PROVIDER, Provider, execution_providers

_ERROR_LEVEL = 3
# ONNX Runtime would by itself take GPU memory in powers of two, and never gives it back.
_CUDA_MEMORY = {"arena_extend_strategy": "kSameAsRequested"}
# What messages call the models.
_NAMES = {
    FaceTask.DETECTION: "detector",
    FaceTask.RECOGNITION: "recognition model",
    FaceTask.GENDERAGE: "gender model",
}


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

    Raises ValueError where ONNX Runtime cannot run the file, and where CUDA is asked for and not
    there.
    """
    # InsightFace is imported first, because it tells ONNX Runtime to send no telemetry.
    from insightface import model_zoo
    from onnxruntime import SessionOptions
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = SessionOptions()
    options.log_severity_level = _ERROR_LEVEL
    if num_threads is not None:
        options.intra_op_num_threads = num_threads
    providers: list[Any] = execution_providers(provider)
    if providers[0] == CUDA_PROVIDER:
        providers[0] = (CUDA_PROVIDER, {"device_id": device_index, **_CUDA_MEMORY})
    try:
        return model_zoo.get_model(str(path), providers=providers, sess_options=options)
    except (
        errors.Fail,
        errors.InvalidGraph,
        errors.InvalidArgument,
        errors.InvalidProtobuf,
        errors.NotImplemented,
    ) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"ONNX Runtime could not open the {_NAMES[task]} {path} ({reason}); needs a sound "
            "file: unpack the face pack again."
        ) from error
