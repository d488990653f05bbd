"""The workflow of one pass by the queue: core finds the LoRA, and the clip is `generate`'s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clips import decode
from helpers.comfyui_server import Server
from helpers.shipped_workflows import api_workflow, titled

from stdrc_core.generate.__main__ import main as generate
from stdrc_core.mini.__main__ import main as mini
from stdrc_core.mini.shipped import ONE_PASS_LORA

pytestmark = pytest.mark.host

# MP4s of two programs: their encoders need not agree to the bit.
MIN_PSNR_DB = 30
# The nodes whose inputs `generate` is told by flags.
ASKED = ("Reference: a character", "Positive prompt", "LTXVScheduler", "Sample the clip")


def test_core_lists_the_lora(server: Server) -> None:
    loader = server.object_info()["LoraLoaderModelOnly"]["input"]["required"]["lora_name"]
    assert ONE_PASS_LORA.name in str(loader)


def test_the_clip_is_that_of_generate_with_the_preset(server: Server, tmp_path: Path) -> None:
    workflow = api_workflow("stdrc_mini_one_pass")
    inputs = {node: workflow[titled(workflow, node)]["inputs"] for node in ASKED}
    photo = tmp_path / "person.png"
    seed = inputs["Reference: a character"]["seed"]
    mini(["draw", "--out", str(photo), "--seed", str(seed)])
    words = {
        "--reference": photo,
        "--out": tmp_path,
        "--name": "clip",
        "--prompt": inputs["Positive prompt"]["text"],
        "--steps": inputs["LTXVScheduler"]["steps"],
        "--seed": inputs["Sample the clip"]["noise_seed"],
    }
    given = [str(word) for pair in words.items() for word in pair]
    generate([*given, "--preset", "one-pass"])
    expected = decode(tmp_path / "clip.mp4").astype(float)

    earlier = len(server.log())
    server.forget()
    history, _ = server.complete(workflow)
    (file,) = history["outputs"][titled(workflow, "Save Video")]["images"]
    clip = decode(server.base / "output" / file["subfolder"] / file["filename"])
    error = np.square(clip - expected).mean()
    assert 10 * np.log10(255**2 / error) > MIN_PSNR_DB

    log = server.log()[earlier:]
    assert "They are distilled for text_scale 2 and reference_scale 4, in one pass" in log
    # What the host says of a LoRA that does not fit, and the guider of scales that do not.
    assert "ERROR lora" not in log
    assert "guided twice" not in log
