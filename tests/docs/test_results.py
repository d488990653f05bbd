"""The pages of results name commands that exist, and tests that hold what they claim."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from helpers.doc_pages import DOCS, PROJECT, commands, names_in

from stdrc_core.experiments.__main__ import make_parser
from stdrc_core.experiments.ablation_section import readme_table
from stdrc_core.experiments.arguments import PARTS
from stdrc_core.experiments.page import BUILD_NUMBERS, PAGE_NAME, page, read_numbers
from stdrc_core.experiments.run import open_part
from stdrc_core.files import sha256_of

RESULTS = DOCS / "results"
NUMBERS = RESULTS / "numbers"
PAGES = sorted(RESULTS.glob("*.md"))
LINES = [(each.name, line) for each in PAGES for line in commands(each)]


def numbers() -> dict[str, Any]:
    return read_numbers(NUMBERS)


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
            make_parser().parse_args(rest)
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


def test_the_page_is_the_one_that_its_numbers_make():
    """`python -m stdrc_core.experiments --out docs/results --only page` writes it."""
    assert (RESULTS / PAGE_NAME).read_text(encoding="utf-8") == page(numbers())


def test_the_numbers_are_of_the_shipped_weights():
    shipped = {
        path.relative_to(folder).as_posix(): path
        for folder in (PROJECT / "stdrc_core" / "mini").iterdir()
        for path in folder.rglob("*")
        if path.suffix in (".safetensors", ".onnx")
    }
    measured = {name: facts["sha256"] for name, facts in numbers()["build"]["files"].items()}
    assert {"stdrc_mini.safetensors", "faces/rec_mini.onnx"} <= measured.keys() & shipped.keys()
    for name in measured.keys() & shipped.keys():
        assert measured[name] == sha256_of(shipped[name]), name
    for part, own in numbers().items():
        if part != "build":
            for name in own["files"].keys() & shipped.keys():
                assert own["files"][name] == sha256_of(shipped[name]), (part, name)


def test_every_part_has_its_numbers_and_no_other_file_stands_beside_them():
    names = {path.name for path in NUMBERS.iterdir()}
    assert names == {BUILD_NUMBERS, *(f"{name}.json" for name in PARTS)}
    assert all("dirty" not in own["commit"] for name, own in numbers().items() if name != "build")


def test_readmes_table_is_of_the_numbers():
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert readme_table(numbers()["shipped"]) in readme


def pictures() -> set[str]:
    """The pictures of the page as it stands."""
    parts = [open_part(name) for name in numbers() if name != "build"]
    return {name for part in parts for name in part.pictures}


def test_the_pictures_of_the_results_are_shown():
    text = (RESULTS / PAGE_NAME).read_text(encoding="utf-8")
    shown = set(re.findall(r"web/docs/(\w+\.(?:jpg|png))", text))
    assert shown == pictures()
    assert all((PROJECT / "web" / "docs" / name).is_file() for name in shown)
