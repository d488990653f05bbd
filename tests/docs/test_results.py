"""The pages of results name commands that exist, and tests that hold what they claim."""

from __future__ import annotations

import re
import shlex

import pytest
from helpers.doc_pages import DOCS, PROJECT, commands, names_in

from stdrc_core.commands import make_parser
from stdrc_core.experiments.__main__ import COMMANDS

RESULTS = DOCS / "results"
LINES = [(page.name, line) for page in sorted(RESULTS.glob("*.md")) for line in commands(page)]


def every_test() -> frozenset[str]:
    return frozenset().union(*(names_in(path) for path in (PROJECT / "tests").rglob("test_*.py")))


def test_every_claim_of_equivalence_is_a_test():
    page = (RESULTS / "equivalence.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if re.match(r"\| [^-]", line)]
    claims = [row for row in rows if not row.startswith("| what |")]
    assert len(claims) > 15
    named = [re.findall(r"`(test_\w+)`", row) for row in claims]
    assert all(named), "a row names no test"
    assert set().union(*named) <= every_test()


@pytest.mark.parametrize(("page", "line"), LINES)
def test_every_command_is_one(page: str, line: str, monkeypatch: pytest.MonkeyPatch):
    words = shlex.split(line)
    match words:
        case ["pytest", path]:
            assert (PROJECT / path).exists()
        case ["python", "-m", "stdrc_core.experiments", *rest]:
            make_parser("stdrc_core.experiments", None, COMMANDS, rest).parse_args(rest)
        case ["python", "-m", "stdrc_core.mini_build", *rest]:
            from stdrc_core.mini_build import __main__ as command
            from stdrc_core.mini_build import build

            seen: list[object] = []
            monkeypatch.setattr(build, "main", seen.append)
            command.main(rest)
            assert len(seen) == 1
        case ["python", script, *rest] if script.startswith("tests/benchmarks/"):
            source = (PROJECT / script).read_text(encoding="utf-8")
            flags = [word for word in rest if word.startswith("--")]
            assert [flag for flag in flags if f'"{flag}"' not in source] == []
        case _:
            pytest.fail(f"{page} has a command that this test does not know: {line}")


def test_the_pictures_of_the_results_are_shown():
    page = (RESULTS / "miniature.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"web/docs/(\w+\.(?:jpg|png))", page))
    assert shown == {"ablation.jpg", "sweeps.png", "guidance.png", "two_people.jpg"}
