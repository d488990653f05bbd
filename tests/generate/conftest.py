from __future__ import annotations

from pathlib import Path

import pytest
from helpers.drawn_persons import write_photo


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photo(tmp_path_factory.mktemp("photos") / "person.png", 5)
