"""What `python -m stdrc_core.generate` is told for a small clip of the miniature."""

from __future__ import annotations

from pathlib import Path

from stdrc_core.mini.shipped import FACES

NUM_FRAMES, HEIGHT, WIDTH = 9, 64, 96


def words(checkpoint: Path, out: Path, *more: str | Path | int) -> list[str]:
    """What is given in `more` as well counts as it is there."""
    given = (
        *("--checkpoint", checkpoint, "--text-encoder", "miniature", "--faces", FACES),
        *("--out", out, "--frames", NUM_FRAMES, "--height", HEIGHT, "--width", WIDTH),
        *("--steps", 2),
    )
    return [str(word) for word in (*given, *more)]
