"""A data set that `collect` made of drawn footage, beside the truth."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.drawn_footage import GOOD, Known
from helpers.json_lines import read_json_lines
from stdrc_core.faces.onnx_finder import open_onnx_pack
from stdrc_core.mini.shipped import FACES
from stdrc_core.train.collect.collect import Collection
from stdrc_core.train.collect.finish import Summary
from stdrc_core.train.collect.options import CollectConfig

CONFIG = CollectConfig(num_frames=25, fps=24.0, min_face_px=40)


def run_collect(footage: Path, out: Path, config: CollectConfig = CONFIG, **options) -> Summary:
    """Runs `collect` with the miniature's face pack."""
    finder = options.pop("finder", None) or open_onnx_pack(FACES)
    return Collection(footage=footage, out=out, config=config, finder=finder, **options).run()


@dataclass(frozen=True)
class Collected:
    """A finished data set and what is true of its footage."""

    footage: Path
    out: Path
    known: list[Known]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return read_json_lines(self.out / "manifest.jsonl")

    def window(self, line: dict[str, Any]) -> tuple[str, float, float]:
        """The file, the start and the end of a clip's window."""
        key = line["video"].removeprefix("clips/").rpartition(".")[0]
        record = json.loads((self.out / "work" / "clips" / f"{key}.json").read_text())
        return (self.file(key.partition("/")[0]), *record["asked"]["window"])

    def file(self, key: str) -> str:
        """The name of the video with that key."""
        stem = key.rpartition("-")[0]
        (name,) = {known.file for known in self.known if Path(known.file).stem == stem}
        return name

    def part_at(self, file: str, time_s: float) -> Known:
        (part,) = [k for k in self.known if k.file == file and k.start_s <= time_s < k.end_s]
        return part

    def true_windows(self, slack_s: float = 0.06) -> list[Known | None]:
        """For each clip the good part that its window lies in, None for one that it does not."""
        found = []
        for line in self.lines:
            file, start_s, end_s = self.window(line)
            part = self.part_at(file, (start_s + end_s) / 2)
            lies_in = start_s >= part.start_s - slack_s and end_s <= part.end_s + slack_s
            found.append(part if lies_in and part.part.kind in GOOD else None)
        return found


def purity(truth: Sequence[int], said: Sequence[str]) -> float:
    """The share of items whose group is mostly theirs; with the two exchanged, completeness."""
    groups: dict[str, Counter[int]] = {}
    for true, group in zip(truth, said, strict=True):
        groups.setdefault(group, Counter())[true] += 1
    return sum(counts.most_common(1)[0][1] for counts in groups.values()) / len(truth)
