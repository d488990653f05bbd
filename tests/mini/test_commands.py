"""`python -m stdrc_core.mini`: its commands as a user types them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import commands
from PIL import Image

from stdrc_core.mini.__main__ import COMMANDS, main
from stdrc_core.mini.photo import unseen_photo


def test_draw_writes_the_seeds_person(tmp_path: Path):
    words = ("draw", "--out", tmp_path / "new" / "person.png", "--seed", 3)
    done = commands.run("-m", "stdrc_core.mini", *words)
    assert "person.png" in done.stderr
    with Image.open(tmp_path / "new" / "person.png") as photo:
        assert (np.asarray(photo) == unseen_photo(3)).all()


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    words = ("draw", "--out", tmp_path / "file" / "person.png")
    done = commands.run("-m", "stdrc_core.mini", *words, status=2)
    assert len(done.stderr.splitlines()) == 1
    assert "file" in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_tells_what_it_writes(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert "--out" in capsys.readouterr().out
