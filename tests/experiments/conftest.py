"""A build of the shipped weights, and a reader that need not read well."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.tiny_build import write_build

from stdrc_core.experiments.reader import CaptionReader


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_build(tmp_path_factory.mktemp("build") / "build", num_clips=3)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """OUT with an untrained reader, which makes the same mistakes each time."""
    torch.manual_seed(0)
    (tmp_path / "out").mkdir()
    torch.save(CaptionReader().state_dict(), tmp_path / "out" / "reader.pt")
    return tmp_path / "out"
