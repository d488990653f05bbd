"""`python -m stdrc_core.train configuration`: the page of all keys of a recipe, from `config`.

    python -m stdrc_core.train configuration --out docs/train/configuration.md

Each key's row has its default, the sentence under the key in the source, and what values it takes.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MultipleOf
from pydantic import BaseModel
from pydantic.fields import PydanticUndefined

from ..files import write_text
from ..method.augmentation import PROBABILITY_RANGE, RANGES, Augmentation
from .config import TrainConfig, ValidationItem
from .distil_config import DistilSection

_HEAD = """\
# Every key of a recipe

A recipe is a YAML file with the sections below; `stdrc_core/train/recipes` has some to begin with.
`--set` changes a key on the command line:

```sh
python -m stdrc_core.train lora.yaml --set run.num_steps=8000 --set objective.identity_share=0.5
```

A key that a recipe leaves out has its default. Unknown keys and values out of range are refused,
and the resolved configuration is saved as `config.yaml` in the run's folder.
[Running](running.md) says which keys may change when a run goes on. Equations are the paper's.

`python -m stdrc_core.train configuration --out docs/train/configuration.md` writes this page from
`stdrc_core/train/config.py`; a test compares the two.
"""
_TABLE = "| key | default | what it does |\n|---|---|---|"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One key of the configuration, such as `run.num_steps`."""

    key: str
    default: str
    about: str
    """What the key does, and where its type does not say enough, which values it takes."""


def main(args: argparse.Namespace) -> None:
    """Prints or writes the page; raises OSError where it cannot be written."""
    if args.out is None:
        sys.stdout.write(page())
        return
    write_text(args.out, page())


def page() -> str:
    """The page as Markdown: a table for each section of `TrainConfig`."""
    parts = [_HEAD]
    for name, field in TrainConfig.model_fields.items():
        rows = list(_rows(field.annotation, f"{name}."))
        parts.append(_section(name, field.annotation, rows))
        if name == "validation":
            rows = list(_rows(ValidationItem, ""))
            parts.append(_section("An item of validation.items", ValidationItem, rows))
    return "\n".join(parts)


def _section(title: str, section: type, rows: list[Row]) -> str:
    level = "###" if " " in title else "##"
    lines = [f"| `{row.key}` | {row.default} | {row.about} |" for row in rows]
    return "\n".join([f"{level} {title}", "", inspect.getdoc(section), "", _TABLE, *lines, ""])


def _rows(section: type, prefix: str) -> Iterator[Row]:
    """The keys of a section in the source's order, those of sections inside it with their path."""
    for name, kind, default, values in _fields(section):
        if kind is Augmentation:
            yield from _rows(kind, f"{prefix}{name}.")
            continue
        about = " ".join([*_field_docs(section)[name].split(), values]).rstrip()
        yield Row(key=prefix + name, default=_shown(default), about=about)
        if DistilSection in get_args(kind):
            yield from _rows(DistilSection, f"{prefix}{name}.")


def _fields(section: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Name, type, default, and the sentence on values of each key of a section."""
    if issubclass(section, BaseModel):
        for name, field in section.model_fields.items():
            kind = field.annotation
            yield name, kind, field.default, _choices(kind) or _range(field.metadata)
    else:
        for field in dataclasses.fields(section):
            low, high = RANGES.get(field.name, PROBABILITY_RANGE)
            yield field.name, field.type, field.default, f"From {low} to {high}."


@cache
def _field_docs(section: type) -> dict[str, str]:
    """The docstring under each field of a class, which Python itself does not keep."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    docs = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str())):
                docs[name] = below.value.value
    return docs


def _choices(kind: Any) -> str:
    """The values that a type lists one by one, in a sentence; empty where it lists none."""
    if get_origin(kind) is Literal:
        values = get_args(kind)
    elif isinstance(kind, type) and issubclass(kind, Enum):
        values = [member.value for member in kind]
    elif get_origin(kind) is tuple:
        listed = _choices(get_args(kind)[0])
        return listed.replace("One of", "Any of")
    elif type(None) in get_args(kind):
        (kind,) = (each for each in get_args(kind) if each is not type(None))
        return _choices(kind)
    else:
        return ""
    return f"One of {', '.join(f'`{value}`' for value in values)}."


def _range(metadata: list[Any]) -> str:
    """The bounds of a number in a sentence; empty where it has none."""
    low = high = ""
    others = []
    for bound in metadata:
        match bound:
            case Ge(ge=value):
                low = f"at least {value}"
            case Gt(gt=value):
                low = f"above {value}"
            case Le(le=value):
                high = f"at most {value}"
            case Lt(lt=value):
                high = f"below {value}"
            case MultipleOf(multiple_of=value):
                others.append(f"a multiple of {value}")
    sentence = ", ".join(filter(None, (low, high, *others)))
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def _shown(default: Any) -> str:
    """A default as a table shows it."""
    if default is PydanticUndefined:
        return "required"
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return ", ".join(f"`{each}`" for each in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
