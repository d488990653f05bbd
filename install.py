"""Makes a machine with CUDA really end up with the CUDA build of ONNX Runtime.

ComfyUI-Manager runs this file after `pip install -r requirements.txt`; by hand it is
`python install.py`. It is needed because `onnxruntime` (which InsightFace asks for) and
`onnxruntime-gpu` share one folder, where the last one installed wins, and because the newest
`onnxruntime-gpu` is built for one CUDA only, which may not be torch's: such a build still lists
CUDAExecutionProvider, but cannot load it. On every other machine nothing is changed.

It also says where several packages are installed that share one folder, such as opencv-python and
opencv-contrib-python. These it leaves alone: other node packs may count on one of them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import logging
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

log = logging.getLogger("stdrc.install")

CUDA_PROVIDER = "CUDAExecutionProvider"

# Which onnxruntime-gpu is built for which CUDA: 1.19 to 1.26 for 12, later ones for 13. The lower
# bound for 12 is that of requirements.txt.
REQUIREMENTS = {12: "onnxruntime-gpu>=1.21,<1.27", 13: "onnxruntime-gpu>=1.27"}

# Packages that are one folder: whichever was installed last is the one that is imported. The first
# of each has all that the others have, or what another package would put aside.
_OPENCV = (
    *("opencv-contrib-python", "opencv-contrib-python-headless"),
    *("opencv-python", "opencv-python-headless"),
)
_ONNX_BUILDS = tuple(
    f"onnxruntime-{build}"
    for build in ("directml", "rocm", "migraphx", "openvino", "qnn", "silicon", "webgpu", "vitisai")
)
SHARED = {
    "cv2": _OPENCV,
    "onnxruntime": (*_ONNX_BUILDS, "onnxruntime-gpu", "onnxruntime"),
    "PIL": ("pillow-simd", "pillow"),
}
# onnxruntime beside onnxruntime-gpu is what InsightFace leads to; `main` sees to it.
_SEEN_TO = {"onnxruntime-gpu", "onnxruntime"}

# What a missing, a broken and a half uninstalled package raise when they are imported and asked.
UNUSABLE = (ImportError, OSError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one Python process finds on this machine; None and () where there is nothing to find.

    `torch_cuda` is the CUDA version that torch was built for, and None where torch sees no GPU or
    drives it by something else than CUDA. `onnxruntime_cuda` is ONNX Runtime's.
    """

    system: str
    machine: str
    torch: str | None = None
    torch_cuda: str | None = None
    onnxruntime: str | None = None
    onnxruntime_cuda: str | None = None
    providers: tuple[str, ...] = ()

    def __str__(self) -> str:
        cuda = f"with CUDA {self.torch_cuda}" if self.torch_cuda else "without CUDA"
        torch = f"torch {self.torch} {cuda}" if self.torch else "no usable torch"
        runtime = f"onnxruntime {self.onnxruntime}" if self.onnxruntime else "no usable onnxruntime"
        runtime += f" for CUDA {self.onnxruntime_cuda}" if self.onnxruntime_cuda else ""
        runtime += f" ({', '.join(self.providers)})" if self.providers else ""
        return f"{torch} and {runtime} on {self.system} {self.machine}"


def has_cuda_provider(facts: Facts) -> bool:
    """Whether ONNX Runtime brings the CUDA provider, built for the same major CUDA as torch."""
    if facts.torch_cuda is None or CUDA_PROVIDER not in facts.providers:
        return False
    runtime_cuda = facts.onnxruntime_cuda
    return runtime_cuda is None or _major(runtime_cuda) == _major(facts.torch_cuda)


def needed_requirement(facts: Facts) -> str | None:
    """The requirement that brings the CUDA provider, or None where things are to be left alone.

    Left alone are machines that have it, those without CUDA, and those for which there is no
    wheel: another processor, another system, another CUDA.
    """
    has_wheel = facts.system in ("Linux", "Windows") and facts.machine in ("x86_64", "AMD64")
    if not has_wheel or facts.torch_cuda is None or has_cuda_provider(facts):
        return None
    return REQUIREMENTS.get(_major(facts.torch_cuda))


def reinstall_command(requirement: str, *, has_pip: bool = True) -> list[str]:
    """The command that puts `requirement` over what is there, for pip or else for uv."""
    if has_pip:
        options = ["pip", "install", "--no-deps", "--force-reinstall"]
    else:
        options = ["uv", "pip", "install", "--python", sys.executable, "--no-deps", "--reinstall"]
    return [sys.executable, "-m", *options, requirement]


def as_typed(command: Sequence[str]) -> str:
    """`command` as a user types it, in a Unix shell or in Windows' (which knows only `"`)."""
    return " ".join(f'"{part}"' if set(part) & set(" <>()&") else part for part in command)


def facts_here() -> Facts:
    """The facts as this process sees them; it imports torch first, whose CUDA libraries count."""
    found = {}
    try:
        import torch

        found["torch"] = torch.__version__
        found["torch_cuda"] = torch.version.cuda if torch.cuda.is_available() else None
    except UNUSABLE as error:
        log.debug("torch: %s", error)
    try:
        import onnxruntime
        from onnxruntime.capi import build_and_package_info

        found["providers"] = tuple(onnxruntime.get_available_providers())
        found["onnxruntime"] = onnxruntime.__version__
        found["onnxruntime_cuda"] = getattr(build_and_package_info, "cuda_version", None) or None
    except UNUSABLE as error:
        log.debug("onnxruntime: %s", error)
    return Facts(system=platform.system(), machine=platform.machine(), **found)


def fresh_facts() -> Facts:
    """The facts as a new process sees them: after an installation, this one's imports are stale.

    A process that dies while it imports (a broken library) has found neither package.
    """
    probe = subprocess.run(
        [sys.executable, __file__, "--facts"],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if probe.returncode != 0:
        last_words = probe.stderr.strip()[-500:]
        log.warning(
            "Importing torch or onnxruntime ended Python (%d). %s", probe.returncode, last_words
        )
        return Facts(system=platform.system(), machine=platform.machine())
    found = json.loads(probe.stdout.splitlines()[-1])
    return Facts(**found | {"providers": tuple(found["providers"])})


def installed_packages() -> dict[str, str]:
    """The installed packages, by their names as PyPI writes them, and their versions."""
    found = {}
    for each in importlib.metadata.distributions():
        name = each.metadata["Name"]
        if name:
            found[re.sub(r"[-_.]+", "-", name).lower()] = each.version
    return found


def clashes(packages: Mapping[str, str], *, has_pip: bool) -> list[str]:
    """A sentence for each folder that several of the installed `packages` share, and what to do."""
    said = []
    for folder, names in SHARED.items():
        there = [name for name in names if name in packages]
        if len(there) < 2 or set(there) == _SEEN_TO:
            continue
        listed = " and ".join(f"{name} {packages[name]}" for name in there)
        pip = [sys.executable, "-m", *(("pip",) if has_pip else ("uv", "pip"))]
        yes = ("-y",) if has_pip else ()
        remove = as_typed([*pip, "uninstall", *yes, *there])
        install = as_typed([*pip, "install", "--no-deps", f"{there[0]}=={packages[there[0]]}"])
        said.append(
            f"{listed} are installed and share the folder {folder}, where the last one wins; it is "
            f"left as it is, and if a node pack misses something of {folder}, close ComfyUI and "
            f"run: {remove} and then: {install}"
        )
    return said


def run_command(command: Sequence[str]) -> int:
    """Runs `command` with its output in view; returns its exit status."""
    return subprocess.run(command, check=False).returncode


def main(
    probe: Callable[[], Facts] = fresh_facts,
    run: Callable[[Sequence[str]], int] = run_command,
    has_pip: bool | None = None,
    packages: Callable[[], Mapping[str, str]] = installed_packages,
) -> int:
    """Looks, reinstalls where needed, looks again; returns 0, or 1 where CUDA is still missing.

    `probe`, `run`, `has_pip` and `packages` are the outer world, and replaced in tests.
    """
    if has_pip is None:
        has_pip = importlib.util.find_spec("pip") is not None
    for sentence in clashes(packages(), has_pip=has_pip):
        log.warning("%s", sentence)
    before = probe()
    requirement = needed_requirement(before)
    if requirement is None:
        log.info("Found %s: onnxruntime is left as it is.", before)
        return 0

    command = reinstall_command(requirement, has_pip=has_pip)
    log.info("Found %s: installing %s.", before, requirement)
    status = run(command)
    if status != 0:
        log.error(
            "Installing %s failed (exit status %d), so faces cannot be read on the GPU; "
            "to try again, close ComfyUI and run: %s",
            requirement,
            status,
            as_typed(command),
        )
        return 1

    after = probe()
    if not has_cuda_provider(after):
        log.error(
            "Installed %s, but now found %s, so faces cannot be read on the GPU; "
            "to try again, close ComfyUI, install requirements.txt and then run: %s",
            requirement,
            after,
            as_typed(command),
        )
        return 1
    log.info("Now found %s: faces will be read on the GPU.", after)
    return 0


def _major(version: str) -> int:
    return int(version.split(".")[0])


if __name__ == "__main__":
    if sys.argv[1:] == ["--facts"]:
        sys.stdout.write(json.dumps(asdict(facts_here())) + "\n")
    else:
        # Of a terminal that lacks a letter of a folder's name, an error would hide what is said.
        sys.stdout.reconfigure(errors="replace")
        # To stdout: ComfyUI-Manager marks what comes on stderr as an error.
        logging.basicConfig(level=logging.INFO, format="[ST-DRC] %(message)s", stream=sys.stdout)
        sys.exit(main())
