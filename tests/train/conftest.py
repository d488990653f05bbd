from __future__ import annotations

from pathlib import Path

import pytest
from helpers.drawn_faces import write_pack
from helpers.mini_run import write_cache


@pytest.fixture(scope="session")
def mini_cache(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cache(tmp_path_factory.mktemp("cache"), mini_checkpoint)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face pack that knows persons by their colours (see drawn)."""
    return write_pack(tmp_path_factory.mktemp("packs") / "colors")
