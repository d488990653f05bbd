"""Words and lines of the page of results, as Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from .tables import known

_WIDTH = 120
# Where pictures lie, seen from the page.
_PICTURES = "../../web/docs"


def paragraph(*sentences: str) -> str:
    """Sentences as one paragraph, with a line break at its end; empty ones are left out."""
    text = " ".join(" ".join(sentence.split()) for sentence in sentences if sentence)
    lines = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def blocks(*parts: str) -> str:
    """Blocks of Markdown with an empty line between them; empty ones are left out."""
    return "\n".join(part.rstrip("\n") + "\n" for part in parts if part)


def shell(command: str) -> str:
    """A command as a block of code."""
    return f"```sh\n{command}\n```\n"


def picture(name: str, shows: str) -> str:
    """A picture of the docs and what it shows."""
    return f"![{shows}]({_PICTURES}/{name})\n"


def series(words: Sequence[str]) -> str:
    """Words as they are listed in a sentence: `a`, `a and b`, `a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """A number with its noun: `1 seed`, `2 seeds`; `nouns` is a plural of another form."""
    return f"{number} {noun if number == 1 else nouns or noun + 's'}"


def figure(found: Mapping[str, float], decimals: int = 3, *, signed: bool = False) -> str:
    """`mean ± error` in a sentence; the mean alone where it has no error."""
    mean, error = known(found["mean"]), known(found["standard_error"])
    sign = "+" if signed else ""
    shown = f"{mean:{sign}.{decimals}f}"
    return shown if math.isnan(error) else f"{shown} ± {error:.{decimals}f}"


def moved(name: str, found: Mapping[str, float], way: str) -> str:
    """What a score does from one row to the next, as a clause: `FaceSim rises by 0.031 ± 0.010`.

    `way` is a `judgement.Direction`.
    """
    if way == "not told apart":
        return f"{name} stays within two errors ({figure(found, signed=True)})"
    verb = "rises" if way == "above" else "falls"
    size = {"mean": abs(found["mean"]), "standard_error": found["standard_error"]}
    return f"{name} {verb} by {figure(size)}"


def measured(numbers: Mapping[str, Any]) -> str:
    """The command of a part, and the commit and machine of its numbers."""
    where = f"Commit {numbers['commit']}; {numbers['machine']}."
    return blocks(shell(numbers["command"]), paragraph(where))
