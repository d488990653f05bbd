"""The doors of ARCHITECTURE.md: who may import whom, read from the source of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

PROJECT = Path(__file__).parents[1]
ROOMS = ("nodes", "stdrc_core")
MAX_LINES = 400

# Where the relative imports of a room may lead.
DOORS = {
    "root": {"nodes"},
    "nodes": {"nodes", "stdrc_core"},
    "stdrc_core": {"stdrc_core"},
}

# The host's top-level modules; everything that begins with `comfy` is the host's too.
HOST_MODULES = {"nodes", "folder_paths", "node_helpers", "execution", "server", "latent_preview"}
# They may use everything in stdrc_core; nothing else there uses them.
PROGRAMS = tuple(f"stdrc_core.{name}" for name in ("train", "evaluate", "generate", "mini"))
DIFFUSERS_USERS = (
    "stdrc_core.ltx.backbone",
    "stdrc_core.ltx.checkpoint",
    "stdrc_core.ltx.connector",
    "stdrc_core.ltx.vae",
    *PROGRAMS,
)
INSIGHTFACE_USERS = ("stdrc_core.faces",)


@dataclass(frozen=True)
class Import:
    """One imported name: `target` from our root if relative, else as Python knows it."""

    target: str
    relative: bool
    at_import_time: bool
    line: int


def is_inside(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def read_imports(path: PurePosixPath, tree: ast.Module) -> list[Import]:
    return list(_read_imports(path, tree, at_import_time=True))


def _read_imports(path: PurePosixPath, node: ast.AST, at_import_time: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        match child:
            case ast.Import():
                for alias in child.names:
                    yield Import(alias.name, False, at_import_time, child.lineno)
            case ast.ImportFrom(level=level):
                # Level 1 is the file's own folder, each further one a folder up.
                folders = path.parent.parts
                base = [*folders[: len(folders) - level + 1]] if level else []
                base += child.module.split(".") if child.module else []
                for alias in child.names:
                    target = ".".join([*base, alias.name])
                    yield Import(target, level > 0, at_import_time, child.lineno)
            case ast.Call(
                func=ast.Name(id="__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(name, False, at_import_time, child.lineno)
        yield from _read_imports(path, child, at_import_time and not lazy)


def broken_doors(path: PurePosixPath, source: str) -> list[str]:
    """What in this file of ours, `path` from the root, is against the rules; one line each."""
    tree = ast.parse(source)
    room = path.parts[0] if len(path.parts) > 1 else "root"
    module = ".".join(path.with_suffix("").parts)
    rules = [_broken_rule(room, module, each) for each in read_imports(path, tree)]
    broken = [rule for rule in rules if rule]
    if room in ROOMS:
        broken += [
            f"line {call.lineno}: prints; use the module's logger"
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "print"
        ]
    return broken


def _broken_rule(room: str, module: str, each: Import) -> str | None:
    where, top = f"line {each.line}: {each.target}", each.target.split(".")[0]
    if each.relative:
        allowed = {
            "root": {"nodes"},
            "nodes": {"nodes", "stdrc_core"},
            "stdrc_core": {"stdrc_core"},
        }
        if top not in allowed[room]:
            return f"{where} is behind a door that {room} may not open"
        if room == "stdrc_core" and is_inside(each.target, PROGRAMS):
            return None if is_inside(module, PROGRAMS) else f"{where} is a program's, used by none"
        return None
    if top == "stdrc_core":
        return f"{where} is ours: import it relatively"
    if room == "stdrc_core" and (top in HOST_MODULES or top.startswith("comfy")):
        return f"{where} is the host's"
    if top == "diffusers" and not is_inside(module, DIFFUSERS_USERS):
        return f"{where} is for {', '.join(DIFFUSERS_USERS)}"
    if top == "insightface":
        if not is_inside(module, INSIGHTFACE_USERS):
            return f"{where} is for {', '.join(INSIGHTFACE_USERS)}"
        if each.at_import_time:
            return f"{where} needs to be imported where it is used"
    return None


def files_of(*rooms: str) -> list[PurePosixPath]:
    """Python files at the root and in `rooms`, from the root."""
    found = [*PROJECT.glob("*.py")]
    for room in rooms:
        found += (PROJECT / room).rglob("*.py")
    return sorted(PurePosixPath(path.relative_to(PROJECT).as_posix()) for path in found)


def test_every_room_is_read():
    names = {str(path) for path in files_of(*ROOMS)}
    assert names >= {
        "__init__.py",
        "nodes/__init__.py",
        "nodes/host.py",
        "stdrc_core/layout.py",
        "stdrc_core/mini/weights.py",
    }


@pytest.mark.parametrize("path", files_of(*ROOMS), ids=str)
def test_file_keeps_the_doors(path: PurePosixPath):
    assert broken_doors(path, (PROJECT / path).read_text(encoding="utf-8")) == []


def test_every_file_is_short_enough_to_hold_one_idea():
    lengths = {
        str(path): len((PROJECT / path).read_text(encoding="utf-8").splitlines())
        for path in files_of(*ROOMS)
    }
    assert "nodes/__init__.py" in lengths
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}


VIOLATIONS = {
    # file, source -> a word of the rule that it breaks
    ("stdrc_core/grid.py", "import comfy.samplers"): "host",
    ("stdrc_core/grid.py", "from comfy_api.latest import io"): "host",
    ("stdrc_core/grid.py", "import torch, nodes"): "host",
    ("stdrc_core/train/loop.py", "def f():\n    import folder_paths"): "host",
    ("stdrc_core/mini/world.py", "import importlib\nimportlib.import_module('comfy.sd')"): "host",
    ("stdrc_core/grid.py", "__import__('node_helpers')"): "host",
    ("stdrc_core/grid.py", "from ..nodes.host import patch_model"): "door",
    ("stdrc_core/grid.py", "from .. import nodes"): "door",
    ("stdrc_core/mini/prompt.py", "from ... import WEB_DIRECTORY"): "door",
    ("nodes/patch.py", "from .. import WEB_DIRECTORY"): "door",
    ("nodes/patch.py", "from ..tests.comfyui import ComfyUI"): "door",
    ("__init__.py", "from .stdrc_core import grid"): "door",
    ("stdrc_core/layout.py", "from . import mini"): "program",
    ("stdrc_core/layout.py", "from .mini.config import NUM_HEADS"): "program",
    ("stdrc_core/faces/align.py", "from ..train import loop"): "program",
    ("stdrc_core/layout.py", "def f():\n    from .generate import generate"): "program",
    ("stdrc_core/layout.py", "from stdrc_core.grid import LatentGrid"): "relative",
    ("nodes/patch.py", "import stdrc_core.layout"): "relative",
    ("nodes/patch.py", "from stdrc_core import layout"): "relative",
    ("stdrc_core/layout.py", "import diffusers"): "for stdrc_core.backbone",
    ("stdrc_core/trainer.py", "import diffusers"): "for stdrc_core.backbone",
    ("nodes/host.py", "from diffusers import AutoencoderKLLTX2Video"): "for stdrc_core.backbone",
    ("stdrc_core/identity.py", "def f():\n    import insightface"): "for stdrc_core.faces",
    ("nodes/identity.py", "from insightface.app import FaceAnalysis"): "for stdrc_core.faces",
    ("stdrc_core/faces/detect.py", "import insightface"): "where it is used",
    ("stdrc_core/faces/detect.py", "class A:\n    from insightface import app"): "where it is used",
    ("nodes/patch.py", "def f():\n    print('here')"): "prints",
    ("stdrc_core/mini/__main__.py", "import sys\nprint('x', file=sys.stderr)"): "prints",
}


@pytest.mark.parametrize(("path", "source"), VIOLATIONS)
def test_the_check_finds_a_violation(path: str, source: str):
    broken = broken_doors(PurePosixPath(path), source)
    assert len(broken) == 1
    assert VIOLATIONS[path, source] in broken[0]
    # The offending line is the last one of each example.
    assert broken[0].startswith(f"line {len(source.splitlines())}: ")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("__init__.py", "from .nodes import comfy_entrypoint"),
        ("nodes/patch.py", "import comfy.samplers\nimport node_helpers\nimport nodes"),
        ("nodes/patch.py", "from .host import f\nfrom ..stdrc_core.layout import Placement"),
        ("nodes/mini.py", "from ..stdrc_core.mini.prompt import encode_prompt"),
        ("stdrc_core/layout.py", "from .grid import LatentGrid\nfrom . import minimum"),
        ("stdrc_core/layout.py", "import computation, torch"),
        ("stdrc_core/mini/weights.py", "import diffusers\nfrom ..checkpoint import vae_key"),
        ("stdrc_core/generate.py", "from .train.config import Config"),
        ("stdrc_core/evaluate/clip.py", "from ..mini import config\nfrom .report import Report"),
        ("stdrc_core/backbone.py", "from diffusers import LTX2VideoTransformer3DModel"),
        ("stdrc_core/faces/detect.py", "def f():\n    from insightface.app import FaceAnalysis"),
        ("stdrc_core/mini/__main__.py", "parser.print_help()\npprint = 'print(1)'"),
    ],
)
def test_the_check_lets_what_is_allowed_pass(path: str, source: str):
    assert broken_doors(PurePosixPath(path), source) == []
