"""The storeys of docs/architecture.md: who may import whom, read from the source of every file."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

PROJECT = Path(__file__).parents[1]
ROOMS = ("nodes", "stdrc_core")
MAX_LINES = 400

# Storey by storey, what is above may import what is below; rooms of one storey do not know each
# other. A room is a folder of `stdrc_core`, or a file beside these folders.
STOREYS = (
    {"folders", "shown_text", "text_files"},
    {"method", "prompts", "rehearsal", "color", "files", "device", "commands", "uint8"},
    {"ltx", "faces", "video", "photo_file"},
    {"mini"},
    {"train", "generate", "evaluate"},
    {"mini_build"},
    {"experiments"},
)
FLOORS = {room: floor for floor, rooms in enumerate(STOREYS) for room in rooms}

# The host's top-level modules; everything that begins with `comfy` is the host's too.
HOST_MODULES = {"nodes", "folder_paths", "node_helpers", "execution", "server", "latent_preview"}
# Who may import a library; from the storey of `ltx` on, all may import diffusers.
METHOD_IMPORTS = {"torch", "einops"}
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
        if is_inside(module, ("nodes.host",)) and top == "nodes":
            is_own = is_inside(each.target, ("nodes.host",))
            return None if is_own else f"{where} is a node's, above nodes.host"
        if room == "stdrc_core":
            return _broken_floor(module, each.target, where)
        return None
    if top == "stdrc_core":
        return f"{where} is ours: import it relatively"
    if room == "stdrc_core" and (top in HOST_MODULES or top.startswith("comfy")):
        return f"{where} is the host's"
    if is_inside(module, ("stdrc_core.method",)):
        is_known = top in METHOD_IMPORTS or top in sys.stdlib_module_names
        return None if is_known else f"{where} is more than torch, which method does with"
    may_use_diffusers = room == "stdrc_core" and FLOORS.get(_room(module), 0) >= FLOORS["ltx"]
    if top == "diffusers" and not may_use_diffusers:
        return f"{where} is for ltx and what is above it"
    if top == "insightface":
        if not is_inside(module, INSIGHTFACE_USERS):
            return f"{where} is for {', '.join(INSIGHTFACE_USERS)}"
        if each.at_import_time:
            return f"{where} needs to be imported where it is used"
    return None


def _room(module: str) -> str:
    return module.split(".")[1]


def _broken_floor(module: str, target: str, where: str) -> str | None:
    if target.count(".") == 0:
        return f"{where} is no room"
    own, other = _room(module), _room(target)
    for name in (own, other):
        if name not in FLOORS:
            return f"{where}: {name} has no storey"
    if own == other or FLOORS[other] < FLOORS[own]:
        return None
    return f"{where} is on storey {FLOORS[other]}, and {own} on storey {FLOORS[own]}"


def files_between(files: Iterable[PurePosixPath]) -> dict[str, set[str]]:
    """Module -> the modules of ours that it imports, now or later, names resolved to files."""
    modules = {".".join(path.with_suffix("").parts): path for path in files}
    found: dict[str, set[str]] = {}
    for module, path in modules.items():
        tree = ast.parse((PROJECT / path).read_text(encoding="utf-8"))
        targets = [each.target for each in read_imports(path, tree) if each.relative]
        found[module] = set()
        for target in targets:
            parts = target.split(".")
            candidates = (".".join(parts[:n]) for n in (len(parts), len(parts) - 1))
            found[module] |= {name for name in candidates if name in modules}
    return found


def circles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import one another, however long the way round."""

    def reach(start: str) -> set[str]:
        seen, waiting = set(), list(imports[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += imports[name]
        return seen

    reached = {name: reach(name) for name in imports}
    own = {
        name: frozenset(other for other in reached[name] if name in reached[other])
        for name in imports
    }
    return [set(circle) for circle in {circle for circle in own.values() if circle}]


# The files that may read and write text; all others go through them, so that no text depends on the
# machine's locale, or on what Python takes for the end of a line.
TEXT_ROOMS = {"stdrc_core/text_files.py", "stdrc_core/files.py"}
OWN_READING = {"read_text", "write_text", "splitlines", "safe_load"}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def own_reading(source: str) -> list[str]:
    """Where a file reads or writes text by itself, or lists a folder with what is hidden in it."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        method = call.func.attr if isinstance(call.func, ast.Attribute) else None
        if method in OWN_READING:
            found.append(f"line {call.lineno}: {method}; use text_files or files")
        first = ast.literal_eval(call.args[0]) if call.args and _is_text(call.args[0]) else ""
        if method in {"iterdir", "listdir", "rglob"} or (method == "glob" and first[:1] == "*"):
            found.append(f"line {call.lineno}: {method}; use folders")
        is_open = "open" in (method, ast.unparse(call.func)) and ast.unparse(call.func) != "av.open"
        modes = [ast.literal_eval(each) for each in call.args if isinstance(each, ast.Constant)]
        is_text = is_open and any(
            isinstance(mode, str) and set(mode) <= set("rwax+t") for mode in modes
        )
        if is_text and not {"encoding", "newline"} <= {each.arg for each in call.keywords}:
            found.append(f"line {call.lineno}: text without encoding and newline")
    return found


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
        "nodes/host/wrapper.py",
        "stdrc_core/method/layout.py",
        "stdrc_core/mini/prompt.py",
    }


def test_every_room_has_a_storey_and_is_there():
    inside = [path.parts[1] for path in files_of("stdrc_core") if len(path.parts) > 1]
    assert {name.removesuffix(".py") for name in inside} - {"__init__"} == set(FLOORS)


def test_no_files_import_each_other_in_a_circle():
    assert circles(files_between(files_of(*ROOMS))) == []


def test_a_circle_is_found():
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set(), "e": {"a"}}
    assert circles(imports) == [{"a", "b", "c"}]


@pytest.mark.parametrize("path", files_of(*ROOMS), ids=str)
def test_file_keeps_the_doors(path: PurePosixPath):
    assert broken_doors(path, (PROJECT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "path", [path for path in files_of(*ROOMS) if len(path.parts) > 1], ids=str
)
def test_text_and_folders_are_read_in_one_place(path: PurePosixPath):
    if str(path) not in TEXT_ROOMS | {"stdrc_core/folders.py"}:
        assert own_reading((PROJECT / path).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "path.read_text()",
        "path.write_text(x, encoding='utf-8')",
        "text.splitlines()",
        "yaml.safe_load(text)",
        "open(path, 'w')",
        "path.open('a', encoding='utf-8')",
        "sorted(folder.rglob('*'))",
        "sorted(folder.glob('*.onnx'))",
    ],
)
def test_reading_of_ones_own_is_found(source: str):
    assert len(own_reading(source)) == 1


def test_every_file_is_short_enough_to_hold_one_idea():
    lengths = {
        str(path): len((PROJECT / path).read_text(encoding="utf-8").splitlines())
        for path in files_of(*ROOMS)
    }
    assert "stdrc_core/train/loop.py" in lengths
    assert {name: length for name, length in lengths.items() if length >= MAX_LINES} == {}


VIOLATIONS = {
    # file, source -> a word of the rule that it breaks
    ("stdrc_core/method/grid.py", "import comfy.samplers"): "host",
    ("stdrc_core/method/grid.py", "from comfy_api.latest import io"): "host",
    ("stdrc_core/method/grid.py", "import torch, nodes"): "host",
    ("stdrc_core/train/loop.py", "def f():\n    import folder_paths"): "host",
    ("stdrc_core/mini/world.py", "import importlib\nimportlib.import_module('comfy.sd')"): "host",
    ("stdrc_core/method/grid.py", "__import__('node_helpers')"): "host",
    ("stdrc_core/video.py", "from ..nodes.host import patch_model"): "door",
    ("stdrc_core/video.py", "from .. import nodes"): "door",
    ("stdrc_core/mini/prompt.py", "from ... import WEB_DIRECTORY"): "door",
    ("nodes/mini_prompt.py", "from .. import WEB_DIRECTORY"): "door",
    ("nodes/mini_prompt.py", "from ..tests.comfyui import ComfyUI"): "door",
    ("__init__.py", "from .stdrc_core import grid"): "door",
    ("nodes/host/audio.py", "from ..mini_prompt import STDRCMiniPrompt"): "above nodes.host",
    ("stdrc_core/method/layout.py", "from .. import mini"): "storey 3, and method on storey 1",
    ("stdrc_core/method/layout.py", "from ..files import write_json"): "storey 1, and method",
    ("stdrc_core/ltx/vae.py", "from ..mini.config import NUM_HEADS"): "storey 3, and ltx",
    ("stdrc_core/faces/align.py", "from ..ltx.vae import load_vae"): "storey 2, and faces",
    ("stdrc_core/train/loop.py", "from ..generate import jobs"): "storey 4, and train",
    ("stdrc_core/evaluate/a.py", "def f():\n    from ..experiments import b"): "storey 6",
    ("stdrc_core/mini/text.py", "from ..attic import old"): "attic has no storey",
    ("stdrc_core/method/layout.py", "from stdrc_core.method.grid import LatentGrid"): "relative",
    ("nodes/mini_prompt.py", "import stdrc_core.method.layout"): "relative",
    ("nodes/mini_prompt.py", "from stdrc_core import method"): "relative",
    ("stdrc_core/method/layout.py", "import numpy"): "more than torch",
    ("stdrc_core/method/layout.py", "def f():\n    from PIL import Image"): "more than torch",
    ("stdrc_core/prompts/text.py", "import diffusers"): "for ltx",
    ("nodes/host/a.py", "from diffusers import AutoencoderKLLTX2Video"): "for ltx",
    ("stdrc_core/evaluate/a.py", "def f():\n    import insightface"): "for stdrc_core.faces",
    ("nodes/a.py", "from insightface.app import FaceAnalysis"): "for stdrc_core.faces",
    ("stdrc_core/faces/detect.py", "import insightface"): "where it is used",
    ("stdrc_core/faces/detect.py", "class A:\n    from insightface import app"): "where it is used",
    ("nodes/a.py", "def f():\n    print('here')"): "prints",
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
        ("nodes/a.py", "import comfy.samplers\nimport node_helpers\nimport nodes"),
        ("nodes/a.py", "from .host import f\nfrom ..stdrc_core.method.layout import Placement"),
        ("nodes/host/a.py", "from .audio import f\nfrom ...stdrc_core.method.grid import g"),
        ("nodes/mini_prompt.py", "from ..stdrc_core.mini.prompt import encode_prompt"),
        ("stdrc_core/method/layout.py", "from .grid import LatentGrid\nimport math, torch"),
        ("stdrc_core/ltx/vae.py", "import diffusers\nfrom ..method.grid import LatentGrid"),
        ("stdrc_core/generate/a.py", "from ..mini.text import MINIATURE\nimport diffusers"),
        ("stdrc_core/experiments/a.py", "from ..mini_build.build import BASE\nfrom . import b"),
        ("stdrc_core/evaluate/clip.py", "from ..mini import config\nfrom .report import Report"),
        ("stdrc_core/faces/detect.py", "def f():\n    from insightface.app import FaceAnalysis"),
        ("stdrc_core/mini/__main__.py", "parser.print_help()\npprint = 'print(1)'"),
    ],
)
def test_the_check_lets_what_is_allowed_pass(path: str, source: str):
    assert broken_doors(PurePosixPath(path), source) == []
