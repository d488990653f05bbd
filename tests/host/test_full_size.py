"""At the published sizes on fake `cuda` tensors: nothing is on the wrong device or of the wrong
dtype. It needs a ComfyUI whose torch is built for CUDA, and no GPU."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from helpers import PROJECT, borrowed_packages
from helpers.comfyui import ComfyUI, Worker

pytestmark = pytest.mark.host

RUNNER = PROJECT / "tests" / "helpers" / "run_on_fake_cuda.py"
# What our own commands import and the host's Python may lack.
PACKAGES = (
    "diffusers",
    "transformers",
    "accelerate",
    "pydantic",
    "av",
    "matplotlib",
    "insightface",
)
# The cases with a mistake in them, made by hand, and what is said of it.
WRONG = {
    "a_device_that_is_wrong": "to the CPU at",
    "a_way_over_the_cpu": "to the CPU at",
    "a_dtype_that_is_wrong": "of torch.bfloat16, torch.float32",
}


@pytest.fixture(scope="module")
def cuda_built(comfyui: ComfyUI) -> ComfyUI:
    asks = "import torch; print(torch.backends.cuda.is_built())"
    said = subprocess.run([comfyui.python, "-c", asks], capture_output=True, text=True, check=True)
    if said.stdout.strip() != "True":
        pytest.skip(f"the torch of ComfyUI {comfyui.version} is not built for CUDA")
    return comfyui


@pytest.fixture(scope="module")
def results(cuda_built: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The error of each case of `run_on_fake_cuda`, or ""."""
    packages, folder = (tmp_path_factory.mktemp(name) for name in ("packages", "files"))
    if reason := borrowed_packages.borrow(cuda_built.python, packages, PACKAGES):
        pytest.skip(reason)
    environment = replace(cuda_built, packages=packages).environment
    done = subprocess.run(
        [cuda_built.python, RUNNER, folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.newest_host
@pytest.mark.parametrize(
    "case",
    [
        "generate_2_3",
        "generate_2_5",
        "generate_in_other_ways",
        "generate_with_a_lora",
        "every_placement",
        "captions_2_3",
        "captions_2_5",
        "clips_2_3",
        "clips_2_5",
        "clips_2_5_by_diffusion",
        "identity_losses",
        "facesim_by_curricular_face",
        "clip_images_and_text",
        "aesthetics",
        "motion_by_raft",
    ],
)
def test_our_commands_run_on_a_gpu(results: dict[str, str], case: str) -> None:
    assert results[case] == ""


@pytest.mark.newest_host
@pytest.mark.parametrize("case", WRONG)
def test_a_tensor_on_another_device_or_of_another_dtype_is_caught(
    results: dict[str, str], case: str
) -> None:
    assert WRONG[case] in results[case]


@pytest.mark.newest_host
def test_every_case_is_looked_at(results: dict[str, str]) -> None:
    asked = test_our_commands_run_on_a_gpu.pytestmark[0].args[1]
    assert {*asked, *WRONG} == set(results)


@pytest.fixture(scope="module")
def own_host(cuda_built: ComfyUI, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Fake tensors stay in the host's caches, so that no other test may share the process."""
    worker = Worker(cuda_built, cuda_built.make_base(tmp_path_factory.mktemp("comfyui") / "base"))
    yield worker
    worker.close()


@pytest.mark.parametrize("way", ["plain", "audio", "guides", "first frame", "placements"])
@pytest.mark.parametrize("version", ["2.3", "2.5"])
def test_a_guided_step_in_the_host_runs_on_a_gpu(
    own_host: Worker, comfyui: ComfyUI, version: str, way: str
) -> None:
    if version == "2.5" and comfyui.version_numbers < (0, 33):
        pytest.skip(f"ComfyUI {comfyui.version} knows no LTX-2.5")
    assert own_host("full_size.guided_step", version=version, way=way) == ""


def test_a_tensor_on_the_cpu_in_the_host_is_caught(own_host: Worker) -> None:
    error = own_host("full_size.guided_step", version="2.3", way="first frame", stray=True)
    assert "to the CPU at" in error
