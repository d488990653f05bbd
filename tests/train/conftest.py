from __future__ import annotations

from pathlib import Path

import pytest
from train.mini_run import write_cache


@pytest.fixture(scope="session")
def mini_cache(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cache(tmp_path_factory.mktemp("cache"), mini_checkpoint)
