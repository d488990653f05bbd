from __future__ import annotations

from pathlib import Path

import pytest
from helpers.drawn_faces import write_pack
from helpers.mini_run import write_cache

from stdrc_core.faces.detector import FaceDetector
from stdrc_core.faces.finder import PackFinder
from stdrc_core.faces.recognizer import Recognizer
from stdrc_core.ltx.vae import load_vae
from stdrc_core.mini.text import MiniatureText
from stdrc_core.train.cache import fingerprint
from stdrc_core.train.prepare import Models


@pytest.fixture(scope="session")
def mini_cache(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cache(tmp_path_factory.mktemp("cache"), mini_checkpoint)


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face pack that knows persons by their colours (see drawn_faces)."""
    return write_pack(tmp_path_factory.mktemp("packs") / "colors")


@pytest.fixture(scope="session")
def models(mini_checkpoint: Path, pack: Path) -> Models:
    """What `prepare` loads."""
    return Models(
        vae=load_vae(mini_checkpoint),
        text=MiniatureText(),
        faces=PackFinder("colors", FaceDetector(pack), Recognizer.from_pack(pack)),
        checkpoint=mini_checkpoint.name,
        fingerprint=fingerprint(mini_checkpoint),
        base_version="2.3",
    )
