"""Where the real ComfyUIs are, and the miniature checkpoint that the tests load."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from helpers.borrowed_packages import borrow
from helpers.comfyui import ComfyUI, Missing, find_comfyuis

from stdrc_core.commands import _QUIET

if TYPE_CHECKING:
    from helpers.overfit import Overfit

    from stdrc_core.experiments.reader import CaptionReader


def pytest_configure() -> None:
    # Tensors this small are done before a second thread has woken up, and waiting for it costs the
    # more, the busier the machine is. At one number of threads, a seed is a clip bit for bit.
    torch.set_num_threads(1)


def _host_id(found: ComfyUI | Missing) -> str:
    return found.version if isinstance(found, ComfyUI) else f"no-host-{found.name}"


_HOSTS = find_comfyuis()
_ASKED = {name: os.environ.get(name) for name in _QUIET}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves tests that are marked `newest_host` to the newest ComfyUI, and a file's tests of one
    ComfyUI to one process where several run (`-n`), so that each starts each ComfyUI once."""
    hosts = [each for each in _HOSTS if isinstance(each, ComfyUI)]
    kept, left = [], []
    for item in items:
        callspec = getattr(item, "callspec", None)
        host = callspec.params.get("comfyui") if callspec else None
        is_older = isinstance(host, ComfyUI) and host is not hosts[-1]
        (left if is_older and item.get_closest_marker("newest_host") else kept).append(item)
        file = item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(f"{file} {_host_id(host)}" if host else file))
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


@pytest.fixture(autouse=True)
def _as_loud_as_asked() -> Iterator[None]:
    """A command that a test or a fixture runs in this process quietens other packages for good, and
    with them the programs that later tests start."""
    _restore_environment()
    yield
    _restore_environment()


def _restore_environment() -> None:
    for name, value in _ASKED.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session", params=_HOSTS, ids=_host_id)
def comfyui(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ComfyUI:
    """Each of the user's ComfyUIs with requirements.txt, or a skip that says how to get one."""
    found = request.param
    if isinstance(found, Missing):
        pytest.skip(found.reason)
    packages = tmp_path_factory.mktemp("packages")
    if reason := borrow(found.python, packages):
        pytest.skip(reason)
    return replace(found, packages=packages)


@pytest.fixture(scope="session")
def mini_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from stdrc_core.mini_build.random_weights import write_miniature

    return write_miniature(tmp_path_factory.mktemp("checkpoints") / "stdrc_mini.safetensors")


@pytest.fixture(scope="session")
def reader() -> CaptionReader:
    """Reads the attributes of drawn clips; trained once for all that ask, in less than a build."""
    from stdrc_core.experiments.reader import train_reader

    return train_reader(num_clips=250, num_steps=150)


@pytest.fixture(scope="session")
def overfit(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Overfit:
    """The miniature trained on two clips of one caption, by the trainer's commands."""
    from helpers.overfit import make_overfit

    return make_overfit(tmp_path_factory.mktemp("overfit"), mini_checkpoint)
