"""What is wrong with a configuration, in a sentence."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

# Types of problems that pydantic tells of in Python's words.
_NEEDED = {
    "tuple_type": "a list, such as [a, b]",
    "path_type": "the path of a file or a folder",
}


def sentence(error: ValidationError, config: type[BaseModel]) -> str:
    """All that is wrong in one sentence, with each key and the value that was given for it."""
    parts = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "the whole"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            parts.append(f"{key} is missing")
        elif problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            parts.append(f"{key} is not a known key{_nearest(problem['loc'], config)}")
        elif problem["type"] == "value_error":
            parts.append(message)
        elif (needed := _NEEDED.get(problem["type"])) is not None:
            parts.append(f"{key} was {problem['input']!r}; needs {needed}")
        else:
            parts.append(f"{key} was {problem['input']!r}: {message[0].lower()}{message[1:]}")
    return "; ".join(parts) + "."


def _nearest(place: Sequence[str | int], config: type[BaseModel]) -> str:
    """The part of a sentence that names the known key which looks most like the unknown one."""
    *sections, name = (part for part in place if isinstance(part, str))
    known = _keys(config)
    for section in sections:
        known = _keys(known[section])
    close = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is {close[0]}" if close else f"; needs one of {', '.join(known)}"


def _keys(section: Any) -> dict[str, Any]:
    """The keys of a section with their types; a tuple of sections has the keys of one of them."""
    section = get_args(section)[0] if get_args(section) else section
    if dataclasses.is_dataclass(section):
        return {field.name: field.type for field in dataclasses.fields(section)}
    return {name: field.annotation for name, field in section.model_fields.items()}
