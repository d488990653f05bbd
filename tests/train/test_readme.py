"""The README's words on training: each key and its default, and commands that exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from helpers import PROJECT
from pydantic import BaseModel
from pydantic.fields import PydanticUndefined

from stdrc_core.method.augmentation import Augmentation
from stdrc_core.train import __main__ as command_line
from stdrc_core.train.config import TrainConfig

README = (PROJECT / "README.md").read_text()
# A row: key, default, what it is.
ROWS = dict(re.findall(r"^\| `([a-z]+\.[a-z0-9_.]+)` \| ([^|]+) \| [^|]{4,} \|$", README, re.M))


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _keys(kind, f"{prefix}{name}.")
        elif kind is Augmentation:
            for each in dataclasses.fields(Augmentation):
                yield f"{prefix}{name}.{each.name}", each.default
        else:
            yield prefix + name, field.default


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return ", ".join(default)
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_every_key_stands_there_with_its_default_and_no_other_does():
    assert {key: _shown(default) for key, default in _keys(TrainConfig)} == ROWS


def test_the_five_commands_are_commands(monkeypatch: pytest.MonkeyPatch):
    """Each is parsed by its own parser; what it would do is put aside."""
    block = README[README.index("## Train") :].split("```sh\n")[1].split("```")[0]
    lines = [line for row in block.strip().splitlines() for line in row.split(" && ")]
    ours = [shlex.split(line)[3:] for line in lines if line.startswith("python -m stdrc_core")]
    assert [words[0] for words in ours] == ["prepare", "lora.yaml", "lora.yaml"]
    assert len(block.strip().splitlines()) == 5
    seen = []
    for module in ("prepare_command", "run"):
        monkeypatch.setattr(f"stdrc_core.train.{module}.main", seen.append)
    for words in ours:
        command_line.main(words)
    assert [vars(args).get("dry_run") for args in seen] == [None, True, False]


@pytest.mark.parametrize("name", re.findall(r"`([a-z0-9_]+\.yaml)`", README))
def test_the_recipes_that_it_names_are_there(name: str):
    assert (PROJECT / "stdrc_core" / "train" / "recipes" / name).is_file()
