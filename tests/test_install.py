"""install.py: what it decides, what it runs, and what it leaves alone. No network, no real pip."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import logging
import os
import platform
import re
import subprocess
import sys

import pytest
from helpers import PROJECT
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

SCRIPT = PROJECT / "install.py"

spec = importlib.util.spec_from_file_location("stdrc_install", SCRIPT)
install = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = install
spec.loader.exec_module(install)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# The truth table, written from the facts known about the wheels. Which machines have one:
PLATFORMS = {
    ("Linux", "x86_64"): True,
    ("Windows", "AMD64"): True,
    ("Linux", "aarch64"): False,
    ("Windows", "ARM64"): False,
    ("Darwin", "arm64"): False,
    ("Darwin", "x86_64"): False,
}
# What torch says, and the build it needs where there is one:
TORCHES = {
    (None, None): None,  # no torch
    ("2.13.0+cpu", None): None,
    ("2.9.1+rocm6.4", None): None,  # sees a GPU, but not by CUDA
    ("2.6.0+cu118", "11.8"): None,  # no wheel for CUDA 11
    ("2.10.0+cu128", "12.8"): "onnxruntime-gpu>=1.21,<1.27",
    ("2.13.0", "13.0"): "onnxruntime-gpu>=1.27",
    ("9.0", "14.1"): None,  # not known yet
}
# What ONNX Runtime says (version, CUDA, providers), and the major CUDA that it already serves:
RUNTIMES = {
    (None, None, ()): set(),
    ("1.31.1", None, (CPU,)): set(),
    ("1.20.0", None, ("DmlExecutionProvider", CPU)): set(),
    ("1.26.0", "12.8", ("TensorrtExecutionProvider", CUDA, CPU)): {"12"},
    ("1.31.1", "13.0", (CUDA, CPU)): {"13"},
    ("1.18.0", "11.8", (CUDA, CPU)): {"11"},
    ("1.31.1", None, (CUDA, CPU)): {"11", "12", "13", "14"},  # a build that does not say
}


def facts(place=("Linux", "x86_64"), torch=("2.10.0", "12.8"), runtime=(None, None, ())):
    return install.Facts(
        system=place[0],
        machine=place[1],
        torch=torch[0],
        torch_cuda=torch[1],
        onnxruntime=runtime[0],
        onnxruntime_cuda=runtime[1],
        providers=runtime[2],
    )


CPU_BUILD = facts(runtime=("1.31.1", None, (CPU,)))
CUDA_12_BUILD = facts(runtime=("1.26.0", "12.8", (CUDA, CPU)))
CUDA_13_BUILD = facts(runtime=("1.31.1", "13.0", (CUDA, CPU)))


class World:
    """Stands in for the machine: answers `probe` with each of `facts`, notes what is run."""

    def __init__(self, *facts, status=0):
        self.facts, self.status, self.commands = list(facts), status, []

    def probe(self):
        return self.facts.pop(0)

    def run(self, command):
        self.commands.append(command)
        return self.status


# --- the decision ---


@pytest.mark.parametrize("place", PLATFORMS)
def test_decision_follows_the_truth_table(place):
    for torch, runtime in itertools.product(TORCHES, RUNTIMES):
        served = torch[1] is not None and torch[1].split(".")[0] in RUNTIMES[runtime]
        expected = TORCHES[torch] if PLATFORMS[place] and not served else None
        found = facts(place, torch, runtime)
        assert install.needed_requirement(found) == expected, found


@given(
    majors=st.permutations([12, 13]),
    torch_minor=st.integers(0, 99),
    runtime_minor=st.integers(0, 99),
    others=st.lists(st.sampled_from([CPU, "TensorrtExecutionProvider"]), unique=True),
)
def test_only_the_major_cuda_counts(majors, torch_minor, runtime_minor, others):
    major, other_major = majors
    torch = ("2.13.0", f"{major}.{torch_minor}")
    same = ("1.30.0", f"{major}.{runtime_minor}", (*others, CUDA))
    other = ("1.30.0", f"{other_major}.{runtime_minor}", (*others, CUDA))
    assert install.needed_requirement(facts(torch=torch, runtime=same)) is None
    assert install.needed_requirement(facts(torch=torch, runtime=other)) == (
        install.needed_requirement(facts(torch=torch))
    )


@given(
    place=st.tuples(st.text(), st.text()) | st.sampled_from(list(PLATFORMS)),
    version=st.none() | st.text(),
    providers=st.lists(st.text() | st.sampled_from([CPU, CUDA])),
)
def test_without_cuda_nothing_is_ever_needed(place, version, providers):
    found = facts(place, (version, None), (version, None, tuple(providers)))
    assert install.needed_requirement(found) is None


# --- what is run, and what is said ---


@pytest.mark.parametrize(
    ("before", "after", "requirement"),
    [
        (CPU_BUILD, CUDA_12_BUILD, "onnxruntime-gpu>=1.21,<1.27"),
        (facts(), CUDA_12_BUILD, "onnxruntime-gpu>=1.21,<1.27"),
        (CUDA_13_BUILD, CUDA_12_BUILD, "onnxruntime-gpu>=1.21,<1.27"),
        (
            facts(("Windows", "AMD64"), ("2.13.0", "13.0"), ("1.31.1", None, (CPU,))),
            facts(("Windows", "AMD64"), ("2.13.0", "13.0"), ("1.31.1", "13.0", (CUDA, CPU))),
            "onnxruntime-gpu>=1.27",
        ),
    ],
)
def test_reinstalls_with_exactly_this_pip_command(caplog, before, after, requirement):
    caplog.set_level(logging.INFO)
    world = World(before, after)
    assert install.main(world.probe, world.run, has_pip=True) == 0
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--force-reinstall", requirement]
    assert world.commands == [pip]
    assert not world.facts, "the result was not looked at"
    assert "will be read on the GPU" in caplog.messages[-1]


def test_takes_uv_where_there_is_no_pip():
    world = World(CPU_BUILD, CUDA_12_BUILD)
    assert install.main(world.probe, world.run, has_pip=False) == 0
    uv = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    assert world.commands == [[*uv, "--no-deps", "--reinstall", "onnxruntime-gpu>=1.21,<1.27"]]


WITHOUT_TORCH = facts(torch=(None, None), runtime=("1.26.0", "12.8", (CUDA, CPU)))


@pytest.mark.parametrize(
    "after",
    [CPU_BUILD, CUDA_13_BUILD, facts(), WITHOUT_TORCH],
    ids=["cpu build", "other cuda", "onnxruntime broken", "torch broken"],
)
def test_says_so_when_the_provider_is_still_missing(caplog, after):
    world = World(CPU_BUILD, after)
    assert install.main(world.probe, world.run, has_pip=True) == 1
    assert len(world.commands) == 1, "tried more than once"
    error = caplog.records[-1]
    assert error.levelno == logging.ERROR
    assert "cannot be read on the GPU" in error.message and str(after) in error.message


def test_gives_the_command_when_pip_fails(caplog):
    world = World(CPU_BUILD, status=2)
    assert install.main(world.probe, world.run, has_pip=True) == 1
    assert caplog.records[-1].levelno == logging.ERROR
    assert "exit status 2" in caplog.messages[-1]
    # `<` and `>` redirect in every shell unless quoted, and Windows' knows no single quotes.
    assert caplog.messages[-1].endswith(
        '-m pip install --no-deps --force-reinstall "onnxruntime-gpu>=1.21,<1.27"'
    )


@pytest.mark.parametrize("place", PLATFORMS)
def test_leaves_other_machines_alone_in_one_sentence(caplog, place):
    caplog.set_level(logging.INFO)
    for torch, runtime in itertools.product(TORCHES, RUNTIMES):
        found = facts(place, torch, runtime)
        if install.needed_requirement(found) is None:
            caplog.clear()
            world = World(found)
            assert install.main(world.probe, world.run) == 0
            assert not world.commands
            assert caplog.messages == [f"Found {found}: onnxruntime is left as it is."]


# --- real processes ---


def run_script(cwd, packages=None):
    """`python install.py` in a process of its own, without GPU and network.

    `packages` is a folder of stand-ins that come before the installed packages.
    """
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PIP_NO_INDEX": "1"}
    if packages is not None:
        environment |= {"PYTHONPATH": str(packages), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def installed():
    """Every distribution of this environment, with the time at which it was installed."""
    return {
        (found.metadata["Name"], found.version, file.locate().stat().st_mtime_ns)
        for found in importlib.metadata.distributions()
        for file in found.files or ()
        if file.name == "RECORD"
    }


def write_package(folder, name, text, module="__init__"):
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / f"{module}.py").write_text(text)


TORCH = """
from types import SimpleNamespace
__version__ = "2.10.0"
version = SimpleNamespace(cuda={cuda!r})
cuda = SimpleNamespace(is_available=lambda: {sees_gpu})
"""
RUNTIME = "__version__ = {version!r}\ndef get_available_providers(): return {providers!r}\n"


def write_runtime(folder, version, cuda, providers):
    write_package(folder, "onnxruntime", RUNTIME.format(version=version, providers=providers))
    write_package(folder, "onnxruntime/capi", "")
    text = f"cuda_version = {cuda!r}\n" if cuda else ""
    write_package(folder, "onnxruntime/capi", text, "build_and_package_info")


def test_importing_does_nothing():
    watch = f"""
import importlib.util, logging, sys
def forbid(event, arguments):
    if event.split(".")[0] in ("subprocess", "socket") or event in ("os.system", "os.exec"):
        raise AssertionError(event)
spec = importlib.util.spec_from_file_location("stdrc_install", {str(SCRIPT)!r})
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
before = set(sys.modules)
sys.addaudithook(forbid)
spec.loader.exec_module(module)
heavy = {{name.split(".")[0] for name in set(sys.modules) - before}}
assert not heavy & {{"torch", "onnxruntime", "insightface", "numpy", "pip"}}, heavy
assert not logging.getLogger().handlers and not logging.getLogger("stdrc.install").handlers
"""
    command = [sys.executable, "-c", watch]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_real_run_on_a_machine_without_gpu_changes_nothing(tmp_path):
    before = installed()
    assert before
    done = run_script(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"\[ST-DRC\] Found (torch \S+ without CUDA|no usable torch) and "
        r"(no usable onnxruntime|onnxruntime \S+( for CUDA \S+)? \(.*\)) on \S+ \S+: "
        r"onnxruntime is left as it is\.\n",
        done.stdout,
    )
    assert installed() == before


@pytest.mark.parametrize("name", ["torch", "onnxruntime"])
@pytest.mark.parametrize(
    "trouble",
    [
        "raise ImportError('not installed')",
        "raise OSError('a shared library is missing')",
        "",  # what an uninstallation leaves of a shared folder: a package with nothing in it
        "import os; os._exit(139)",
        "print('some greeting'); raise ImportError",
    ],
    ids=["missing", "library missing", "emptied", "crash", "talkative"],
)
def test_real_run_survives_a_broken_package(tmp_path, name, trouble):
    write_package(tmp_path, "torch", TORCH.format(cuda=None, sees_gpu=False))
    write_runtime(tmp_path, "1.31.1", None, [CPU])
    write_package(tmp_path, name, trouble)
    done = run_script(tmp_path, packages=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    last = done.stdout.splitlines()[-1]
    assert f"no usable {name}" in last and last.endswith("onnxruntime is left as it is.")
    # The other one is seen all the same, unless the looking process went down.
    assert last.count("no usable") == (2 if "_exit" in trouble else 1)


@pytest.mark.parametrize(("cuda", "sees_gpu"), [("12.8", False), (None, True)])  # no GPU, ROCm
def test_real_run_needs_a_gpu_that_torch_drives_by_cuda(tmp_path, cuda, sees_gpu):
    write_package(tmp_path, "torch", TORCH.format(cuda=cuda, sees_gpu=sees_gpu))
    write_runtime(tmp_path, "1.31.1", None, [CPU])
    done = run_script(tmp_path, packages=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    assert line.startswith("[ST-DRC] Found torch 2.10.0 without CUDA and onnxruntime 1.31.1 (CPU")


@pytest.mark.skipif(
    (platform.system(), platform.machine()) not in [("Linux", "x86_64"), ("Windows", "AMD64")],
    reason="onnxruntime-gpu has no wheel here",
)
@pytest.mark.parametrize("repairs", [True, False])
@pytest.mark.parametrize(
    ("cuda", "providers"), [(None, [CPU]), ("13.0", [CUDA, CPU])], ids=["cpu build", "other cuda"]
)
def test_real_run_on_a_stand_in_cuda_machine(tmp_path, cuda, providers, repairs):
    """torch, onnxruntime and pip are stand-ins; processes, arguments and exit codes are real."""
    write_package(tmp_path, "torch", TORCH.format(cuda="12.8", sees_gpu=True))
    write_runtime(tmp_path, "1.31.1", cuda, providers)
    write_runtime(tmp_path / "wheel", "1.26.0", "12.8", [CUDA, CPU])
    repair = "shutil.copytree(root / 'wheel', root, dirs_exist_ok=True)" if repairs else ""
    pip = f"""
import pathlib, shutil, sys
root = pathlib.Path({str(tmp_path)!r})
(root / "arguments").write_text("\\n".join(sys.argv[1:]))
{repair}
"""
    write_package(tmp_path, "pip", "")
    write_package(tmp_path, "pip", pip, "__main__")

    done = run_script(tmp_path, packages=tmp_path)

    arguments = (tmp_path / "arguments").read_text().split("\n")
    assert arguments == ["install", "--no-deps", "--force-reinstall", "onnxruntime-gpu>=1.21,<1.27"]
    assert done.stderr == ""
    last = done.stdout.splitlines()[-1]
    if repairs:
        assert done.returncode == 0
        assert "onnxruntime 1.26.0 for CUDA 12.8" in last and "will be read on the GPU" in last
    else:
        assert done.returncode == 1
        assert "onnxruntime 1.31.1" in last and "cannot be read on the GPU" in last


# --- requirements.txt ---


def requirements():
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_requirements_can_be_handed_to_pip_line_by_line():
    """As ComfyUI-Manager does: so a line is a remark or a requirement, never both."""
    assert {entry.name for entry in requirements()} >= {"torch", "insightface", "safetensors"}
    assert all(">=" in str(entry.specifier) for entry in requirements())


@pytest.mark.parametrize("place", PLATFORMS)
def test_each_machine_gets_one_onnxruntime(place):
    machine = {"platform_system": place[0], "platform_machine": place[1]}
    names = [
        entry.name
        for entry in requirements()
        if "onnxruntime" in entry.name and entry.marker.evaluate(machine)
    ]
    assert names == ["onnxruntime-gpu" if PLATFORMS[place] else "onnxruntime"]


@pytest.mark.parametrize(
    ("cuda", "taken", "refused"),
    [
        ("12.8", ["1.21.0", "1.26.0"], ["1.18.0", "1.27.0", "1.31.1"]),
        ("13.0", ["1.27.0", "1.31.1"], ["1.21.0", "1.26.0"]),
    ],
)
def test_requirement_takes_builds_that_the_next_pip_run_keeps(cuda, taken, refused):
    needed = Requirement(install.needed_requirement(facts(torch=("2.13.0", cuda))))
    [listed] = [entry for entry in requirements() if entry.name == needed.name]
    assert all(needed.specifier.contains(version) for version in taken)
    assert all(listed.specifier.contains(version) for version in taken)
    assert not any(needed.specifier.contains(version) for version in refused)
