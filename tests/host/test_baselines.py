"""The other systems of the paper's table, through the queue to MP4s, and measured side by side.

The workflows are those of `workflows/api`, with small networks of random weights under the files'
own names. Four things are put in place of nodes whose networks have no small size: the miniature's
prompts for Gemma's and UMT5's, the split by rules for Gemma's answers, and a mask of the whole
photo for BiRefNet's.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.clips import decode, frame_rate
from helpers.comfyui import Worker
from helpers.comfyui_server import Server
from helpers.drawn_persons import write_picture
from helpers.json_lines import write_json_lines
from helpers.shipped_workflows import API, titled
from helpers.tiny_lora import write_tiny_lora

from stdrc_core.evaluate.__main__ import main as evaluate
from stdrc_core.mini.config import CONTEXT_DIM
from stdrc_core.mini.photo import unseen_photo
from stdrc_core.mini.shipped import CHECKPOINT, FACES

pytestmark = pytest.mark.host

SIZE, NUM_STEPS = 128, 2
# 4n + 1 for Wan, 8n + 1 for LTX.
NUM_FRAMES = {"ltx23_text_only": 9, "wan_vace": 5, "wan_phantom": 5, "stdrc_wan_vace_staged": 5}
PERSONS = {"anna": 1, "bo": 2}
# Input name -> value, in whatever node has it as a widget.
SMALL = {
    "width": SIZE,
    "height": SIZE,
    "target_width": SIZE,
    "target_height": SIZE,
    "steps": NUM_STEPS,
    "face_pack": "stdrc_mini",
}
TEXT_NODES = ("CLIPLoader", "LTXAVTextEncoderLoader", "TextGenerate")


@pytest.fixture(scope="module")
def small_models(host: Worker, server: Server) -> Path:
    """Files under the names that the workflows have, in the server's models."""
    models = server.base / "models"
    for name, vace in (("wan2.1_vace_14B_fp16", True), ("Phantom-Wan-14B_fp16", False)):
        path = str(models / "diffusion_models" / f"{name}.safetensors")
        host("wan.transformer", path=path, text_dim=CONTEXT_DIM, vace=vace)
    host("wan.vae", path=str(models / "vae" / "wan_2.1_vae.safetensors"))
    name = "ltx-2.3-spatial-upscaler-x2-1.1.safetensors"
    host("wan.upsampler", path=str(models / "latent_upscale_models" / name))
    ltx = models / "checkpoints" / "ltx-2.3-22b-dev-fp8.safetensors"
    ltx.unlink(missing_ok=True)
    shutil.copy(CHECKPOINT, ltx)
    write_tiny_lora(models / "loras" / "ltx-2.3-22b-distilled-lora-384.safetensors")
    return models


def small(name: str) -> dict[str, Any]:
    """A workflow at a size for small networks, which the titles still fit."""
    (path,) = API.rglob(f"{name}.json")
    prompt = json.loads(path.read_text())
    without_text = {key: n for key, n in prompt.items() if n["class_type"] not in TEXT_NODES}
    for node in without_text.values():
        inputs = node["inputs"]
        match node["class_type"]:
            case "CLIPTextEncode":
                node |= {"class_type": "STDRCMiniPrompt", "inputs": {"text": inputs["text"]}}
            case "STDRCParsePrompts":
                node["inputs"] = {"request": inputs["request"]}
            case "RemoveBackground":
                whole = {"value": 1.0, "width": SIZE, "height": SIZE}
                node |= {"class_type": "SolidMask", "inputs": whole}
        changed = {key: value for key, value in SMALL.items() if _is_widget(inputs.get(key))}
        if inputs.get("length", 1) != 1:
            changed["length"] = NUM_FRAMES[name]
        node["inputs"] |= {key: value for key, value in changed.items() if key in node["inputs"]}
    return without_text


def _is_widget(value: object) -> bool:
    return value is not None and not isinstance(value, list)


def make(server: Server, name: str, person: str, folder: Path) -> Path:
    """A person's clip of a system: by the four inputs that docs/baselines.md names."""
    prompt = small(name)
    photo = write_picture(folder / f"{person}.png", torch.from_numpy(unseen_photo(PERSONS[person])))

    def inputs(title: str) -> dict[str, Any]:
        return prompt[titled(prompt, title)]["inputs"]

    if name != "ltx23_text_only":
        inputs("Reference photo")["image"] = server.upload(photo)
    if name in NUM_FRAMES and "staged" not in name:
        inputs("Positive prompt")["text"] = "A person waves."
        inputs("Seed")["noise_seed"] = 7
    inputs("Save Video")["filename_prefix"] = f"baselines/{name}/{person}"
    already = len(server.log())
    server.complete(prompt)
    said = server.log()[already:]
    # The host says so where it finds less in a file, or more, than its network has.
    assert not any(word in said for word in ("ERROR", "missing", "left over", "unexpected")), said
    return server.base / "output" / "baselines" / name / f"{person}_00001_.mp4"


@pytest.mark.usefixtures("small_models")
def test_text_alone_goes_through_both_stages(server: Server, tmp_path: Path) -> None:
    path = make(server, "ltx23_text_only", "anna", tmp_path)
    assert decode(path).shape == (NUM_FRAMES["ltx23_text_only"], 2 * SIZE, 2 * SIZE, 3)
    assert frame_rate(path) == 24


@pytest.mark.usefixtures("small_models")
def test_a_first_frame_of_ours_is_animated_by_vace(server: Server, tmp_path: Path) -> None:
    path = make(server, "stdrc_wan_vace_staged", "anna", tmp_path)
    assert decode(path).shape == (NUM_FRAMES["stdrc_wan_vace_staged"], SIZE, SIZE, 3)
    assert frame_rate(path) == 16


@pytest.mark.usefixtures("small_models")
def test_two_systems_are_set_side_by_side_on_ones_own_pairs(server: Server, tmp_path: Path) -> None:
    systems = {"wan_vace": 16, "wan_phantom": 24}
    server.forget()
    already = len(server.log())
    for name, expected_rate in systems.items():
        clips = []
        for person in PERSONS:
            path = make(server, name, person, tmp_path)
            frames = decode(path)
            assert frames.shape == (NUM_FRAMES[name], SIZE, SIZE, 3)
            assert frame_rate(path) == expected_rate
            clips.append(frames.astype(int))
        # Alike but for the photo, which the clip heeds.
        assert np.abs(clips[0] - clips[1]).max() > 8
    loaded = server.log()[already:]
    assert all(f"load {network}\n" in loaded for network in ("WAN21_Vace", "WAN21"))
    lines = [
        {"video": f"{each}_00001_.mp4", "prompt": "A person waves.", "reference": f"{each}.png"}
        for each in PERSONS
    ]
    pairs = write_json_lines(tmp_path / "pairs.jsonl", lines)
    for name in systems:
        videos = server.base / "output" / "baselines" / name
        words = {"videos": videos, "pairs": pairs, "faces": FACES, "out": tmp_path / name}
        asked = [word for key, value in words.items() for word in (f"--{key}", str(value))]
        evaluate([*asked, "--metrics", "facesim_arc"])
    folders = [str(tmp_path / name) for name in systems]
    evaluate(["--compare", *folders, "--out", str(tmp_path / "compared")])
    found = json.loads((tmp_path / "compared" / "compare.json").read_text())
    assert [found["a"], found["b"]] == list(systems)
    assert found["num_common"] == len(PERSONS)
    assert found["metrics"]["facesim_arc"]["num_persons"] == len(PERSONS)
