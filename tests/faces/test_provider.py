"""Where ONNX Runtime runs: its builds for all kinds of hardware, and CUDA that fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from helpers.one_sentence import assert_one_sentence
from helpers.tiny_face_networks import SquareDetector, export_detector
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from stdrc_core.faces import session
from stdrc_core.faces.detector import FaceDetector
from stdrc_core.faces.pack import FaceTask
from stdrc_core.faces.provider import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    Provider,
    check_providers,
    execution_providers,
    say_once,
)
from stdrc_core.faces.session import PackModel


@pytest.fixture(autouse=True)
def _nothing_said_yet() -> None:
    say_once.cache_clear()


# The build's word for its hardware, torch's ROCm, and whether torch has an NVIDIA GPU.
MACHINES: dict[str, tuple[list[str], str | None, str | None]] = {
    "ROCm, with CUDA's build beside it": ([CUDA_PROVIDER], "6.2", None),
    "ROCm": (["ROCMExecutionProvider"], "6.2", None),
    "MIGraphX": (["MIGraphXExecutionProvider", "ROCMExecutionProvider"], "6.4", None),
    "DirectML": (["DmlExecutionProvider"], None, None),
    "OpenVINO": (["OpenVINOExecutionProvider"], None, None),
    "CoreML": (["CoreMLExecutionProvider"], None, None),
    "CUDA's build without a GPU": (["TensorrtExecutionProvider", CUDA_PROVIDER], None, "12.8"),
    "CUDA's build with torch for CPUs": ([CUDA_PROVIDER], None, None),
    # More builds.
    "QNN": (["QNNExecutionProvider"], None, None),
    "WebGPU": (["WebGpuExecutionProvider"], None, None),
    "Vitis": (["VitisAIExecutionProvider"], None, None),
    "XNNPACK": (["XnnpackExecutionProvider"], None, None),
    "Azure": (["AzureExecutionProvider"], None, None),
    "CANN": (["CANNExecutionProvider"], None, None),
    "TensorRT RTX": (["NvTensorRTRTXExecutionProvider"], None, None),
    "ACL": (["ACLExecutionProvider"], None, None),
    "DNNL": (["DnnlExecutionProvider"], None, None),
    "the CPU's": ([], None, None),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_elsewhere_it_is_the_cpu_and_no_advice_that_does_nothing(
    machine: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    listed, rocm, cuda = MACHINES[machine]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*listed, CPU_PROVIDER])
    monkeypatch.setattr(torch.version, "hip", rocm)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    # torch calls ROCm's GPUs cuda as well.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: rocm is not None)
    asked = execution_providers(Provider.AUTO)
    assert asked[-1] == CPU_PROVIDER
    assert (CUDA_PROVIDER in asked) == (CUDA_PROVIDER in listed and rocm is None)
    with caplog.at_level(logging.INFO, logger="stdrc_core"):
        check_providers(Provider.AUTO, [CPU_PROVIDER])
        check_providers(Provider.AUTO, [CPU_PROVIDER])
    assert caplog.messages == ["Faces are found on the CPU."]
    with pytest.raises(ValueError) as raised:
        execution_providers(Provider.CUDA)
        check_providers(Provider.CUDA, [CPU_PROVIDER])
    assert_one_sentence(raised.value)
    assert "install.py" not in str(raised.value)
    assert "take the provider auto or cpu" in str(raised.value)
    assert execution_providers(Provider.CPU) == [CPU_PROVIDER]


def test_where_install_py_helps_it_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER])
    monkeypatch.setattr("stdrc_core.faces.provider.install_may_help", lambda: True)
    with caplog.at_level(logging.INFO, logger="stdrc_core"):
        for _ in range(3):
            check_providers(Provider.AUTO, [CPU_PROVIDER])
    (said,) = caplog.messages
    assert "could not load it: run install.py" in said


# What ONNX Runtime says when CUDA fails in the middle of a run, or while it opens a file.
FAILURES: dict[str, Exception] = {
    "no memory": errors.RuntimeException(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : BFCArena::AllocateRawInternal Available "
        "memory of 0 is smaller than requested bytes of 9437184"
    ),
    "cudaMalloc": errors.Fail("CUDA failure 2: out of memory ; GPU=0"),
    "no cuDNN": errors.EPFail("libcudnn.so.9: cannot open shared object file"),
    "cuDNN of another version": errors.RuntimeException("CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED"),
    "another architecture": errors.Fail(
        "CUDA failure 209: no kernel image is available for execution on the device"
    ),
    "an old driver": errors.Fail("CUDA failure 35: CUDA driver version is insufficient"),
    "cuBLAS": errors.RuntimeException("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED"),
    "an operator without a kernel": errors.NotImplemented("Could not find an implementation"),
    "a lost GPU": errors.Fail("CUDA failure 999: unknown error"),
    "an illegal access": errors.RuntimeException("CUDA failure 700: an illegal memory access"),
    "two\nlines": errors.Fail("CUDA failure 2:\nout of memory"),
    "no cuDNN 8 on CUDA 11": errors.RuntimeException("CUDNN failure 1: NOT_INITIALIZED"),
}  # fmt: skip


class OnCuda:
    """A model whose session says that it runs on CUDA, and that fails."""

    def __init__(self, error: Exception) -> None:
        self._error, self.session = error, self

    def get_providers(self) -> list[str]:
        return [CUDA_PROVIDER, CPU_PROVIDER]

    def run(self) -> str:
        raise self._error


class OnCpu:
    """The same model on the CPU."""

    def __init__(self) -> None:
        self.session = self

    def get_providers(self) -> list[str]:
        return [CPU_PROVIDER]

    def run(self) -> str:
        return "found"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """A machine where models open on CUDA, and fail there in opening or in running."""

    def make(error: Exception, *, opening: bool = False, on_cpu: Any = None) -> list[str]:
        opened: list[str] = []

        def open_on(providers: list[str], *_: object) -> Any:
            opened.append(providers[0])
            if providers[0] == CPU_PROVIDER:
                if isinstance(on_cpu, Exception):
                    raise on_cpu
                return OnCpu()
            if opening:
                raise error
            return OnCuda(error)

        monkeypatch.setattr(session, "_open_on", open_on)
        return opened

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER])
    monkeypatch.setattr(torch.version, "hip", None)
    return make


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_where_cuda_fails_the_cpu_goes_on_and_that_is_said_once(
    machine, caplog: pytest.LogCaptureFixture, failure: str, opening: bool
):
    machine(FAILURES[failure], opening=opening)
    with caplog.at_level(logging.INFO, logger="stdrc_core"):
        models = [PackModel(Path("det.onnx"), FaceTask.DETECTION, Provider.AUTO) for _ in range(2)]
        said = [model.run(lambda each: each.run()) for model in models for _ in range(2)]
    assert said == ["found"] * 4
    assert [model.providers for model in models] == [(CPU_PROVIDER,)] * 2
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert "failed on CUDA" in warning
    assert "\n" not in warning


@pytest.mark.parametrize("opening", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_where_cuda_was_named_it_is_a_sentence(machine, failure: str, opening: bool):
    machine(FAILURES[failure], opening=opening)
    with pytest.raises(
        ValueError, match=r"^provider was cuda, and the detector det\.onnx failed"
    ) as e:
        model = PackModel(Path("det.onnx"), FaceTask.DETECTION, Provider.CUDA)
        model.run(lambda each: each.run())
    assert_one_sentence(e.value)


def test_a_damaged_file_is_no_failure_of_cuda(machine):
    machine(errors.InvalidGraph("bad"), opening=True, on_cpu=errors.InvalidGraph("bad"))
    for provider in (Provider.AUTO, Provider.CUDA):
        with pytest.raises(ValueError, match=r"could not open the detector .*needs a sound file"):
            PackModel(Path("det.onnx"), FaceTask.DETECTION, provider)


def test_threads_that_fail_together_open_the_model_once(machine):
    opened = machine(FAILURES["no memory"])
    model = PackModel(Path("det.onnx"), FaceTask.DETECTION, Provider.AUTO)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: model.run(lambda each: each.run()), range(32))) == {"found"}
    assert opened == [CUDA_PROVIDER, CPU_PROVIDER]


def test_a_detector_that_fails_finds_on_the_cpu_what_the_cpu_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The session is real, says CUDA, and fails in its first run."""
    box, points = torch.tensor([30.0, 20.0, 40.0, 50.0]), torch.zeros(5, 2)
    export_detector(SquareDetector(box, points, (1.0, 1.0, 1.0)), tmp_path / "det.onnx")
    frame = torch.zeros(1, 3, 128, 128)
    frame[..., 40:48, 56:64] = 1
    expected = FaceDetector(tmp_path, provider=Provider.CPU, sizes_px=[128]).detect(frame)
    real = session._open_on

    class Failing:
        def __init__(self, model: Any) -> None:
            self._model, self.session = model, OnCuda(FAILURES["cudaMalloc"])

        def detect(self, pixels: Any) -> Any:
            raise FAILURES["cudaMalloc"]

        def __getattr__(self, name: str) -> Any:
            return getattr(self._model, name)

    def open_on(providers: list[str], *rest: Any) -> Any:
        model = real([CPU_PROVIDER], *rest)
        return Failing(model) if providers[0] == CUDA_PROVIDER else model

    monkeypatch.setattr(session, "_open_on", open_on)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER])
    detector = FaceDetector(tmp_path, sizes_px=[128])
    assert detector.providers[0] == CUDA_PROVIDER
    ((face,),) = detector.detect(frame)
    ((same,),) = expected
    assert detector.providers == (CPU_PROVIDER,)
    assert face.score == pytest.approx(same.score)
