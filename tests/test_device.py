"""Devices are opened or refused, and a torch that wastes memory in 3D convolutions is told of."""

from __future__ import annotations

import logging

import pytest
import torch

from stdrc_core.device import is_conv3d_costly, open_device, warn_of_costly_conv3d


@pytest.mark.parametrize(
    ("torch_version", "cudnn", "is_costly"),
    [
        ("2.8.0+cu128", 91002, False),
        ("2.9.0+cu128", 90701, False),
        # As torch 2.9.0 and 2.9.1 were shipped.
        ("2.9.0+cu128", 91002, True),
        ("2.9.1+cu128", 91002, True),
        ("2.9.1+cu130", 91300, True),
        # 2.9.0 does without any newer cuDNN as well; 2.9.1 looks at the version.
        ("2.9.0+cu130", 91501, True),
        ("2.9.1+cu128", 91501, False),
        ("2.10.0+cu128", 91002, True),
        ("2.11.0+cu130", 91900, False),
    ],
)
def test_versions_of_torch_and_cudnn(torch_version: str, cudnn: int, is_costly: bool):
    assert is_conv3d_costly(torch_version, cudnn) is is_costly


def test_a_costly_torch_is_told_of_on_a_gpu_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(torch, "__version__", "2.9.1+cu128")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    with caplog.at_level(logging.WARNING):
        open_device("cpu")
        assert not caplog.records
        warn_of_costly_conv3d(torch.device("cuda"))
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("torch 2.9.1+cu128 with cuDNN 9.10.2 runs")
    assert "needs torch 2.9.1 or newer with cuDNN 9.15 or newer" in message
