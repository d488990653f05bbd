"""How the tests prepare clips, and what was set aside."""

from __future__ import annotations

from pathlib import Path

from helpers.drawn_faces import SIDE
from helpers.json_lines import read_json_lines
from stdrc_core.train.prepare import PrepareConfig

CONFIG = PrepareConfig(num_frames=9, height=SIDE, width=SIDE, fps=24.0, shard_size=2)


def reasons(out: Path) -> dict[str, str]:
    """Why each clip was set aside, by its id."""
    lines = read_json_lines(out / "report.jsonl")
    assert len({line["id"] for line in lines}) == len(lines)
    return {line["id"]: line["reason"] for line in lines}
