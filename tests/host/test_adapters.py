"""Other trainers' adapters in the real host, each beside what its own pack makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import public_packs
from helpers.comfyui import ComfyUI, HostError, Worker
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

pytestmark = pytest.mark.host

GRID = [6, 3, 4]
LICON = {
    "reference_slot_embedding_enabled": "true",
    "reference_slot_embedding_type": "fourier_mlp",
    "reference_slot_embedding_num_frequencies": "16",
    "reference_slot_embedding_hidden_dim": "32",
    "reference_slot_embedding_dim": "128",
    "reference_token_order": "prepend",
    "reference_slot_time_offsets": "pic1_based_negative_time",
}
BFS = {key: value for key, value in LICON.items() if key.endswith(("_dim", "_frequencies"))}
LAYER = "diffusion_model.transformer_blocks.0.attn1.to_q"


def write(path: Path, width: int, metadata: dict[str, str]) -> str:
    """A LoRA of one layer, and slot tags strong enough to be seen."""
    torch.manual_seed(11)
    net = nn.Sequential(nn.Linear(33, 32), nn.SiLU(), nn.Linear(32, 128))
    tags = {f"net.{name}": 3 * value for name, value in net.state_dict().items()}
    tags["frequencies"] = 2.0 ** torch.arange(16)
    tensors = {
        f"{LAYER}.lora_A.weight": torch.randn(2, width) * 0.1,
        f"{LAYER}.lora_B.weight": torch.randn(width, 2) * 0.1,
    }
    tensors |= {f"diffusion_model.reference_slot_embedding.{k}": v for k, v in tags.items()}
    save_file(tensors, path, metadata=metadata)
    return str(path)


@pytest.fixture(scope="module")
def licon(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    width = load_file(mini_checkpoint)[f"model.{LAYER}.weight"].shape[0]
    return write(tmp_path_factory.mktemp("licon") / "ltx25_msr.safetensors", width, LICON)


@pytest.mark.parametrize(("num_photos", "held_frames"), [(1, 33), (3, 33), (2, 25), (5, 25)])
def test_licons_photos_stand_as_its_own_node_puts_them(
    host: Worker, licon: str, num_photos: int, held_frames: int
) -> None:
    """Held, tagged by torch's own layers, and appended by core's LTXVAddGuide, as Licon does it."""
    options: dict[str, Any] = {"num_photos": num_photos, "held_frames": held_frames, "grid": GRID}
    got = host("adapters.licon", path=licon, **options)
    assert difference(got["ours"], got["core"]) < 1e-4
    assert "before_clip, clean, which Licon MSR for LTX-2.5" in got["sentence"]
    # The miniature is of the version before.
    assert got["is_doubtful"]
    assert "The model is LTX-2.3, and Licon MSR for LTX-2.5 is for LTX-2.5" in got["sentence"]


@pytest.mark.parametrize("held_frames", [1, 17, 41])
def test_licons_photos_held_for_another_time_are_refused(
    host: Worker, licon: str, held_frames: int
) -> None:
    with pytest.raises(HostError) as raised:
        host("adapters.licon", path=licon, num_photos=1, held_frames=held_frames, grid=GRID)
    assert raised.value.kind == "ValueError"
    assert "held_frames of Encode Reference Latent to 33 or 25" in raised.value.message


def test_licons_adapter_whose_file_is_not_known_is_refused(host: Worker, licon: str) -> None:
    """Its loader stands after our patch, or a script loaded it: the tags cannot be read."""
    with pytest.raises(HostError) as raised:
        host(
            "adapters.licon",
            path=licon,
            num_photos=1,
            held_frames=33,
            grid=GRID,
            is_before=False,
        )
    assert raised.value.kind == "ValueError"
    message = raised.value.message
    assert "slot tags" in message and "before Apply TASS-RoPE Patch" in message


def test_what_a_loader_leaves_out_is_read_from_the_file(
    host: Worker, licon: str, tmp_path: Path
) -> None:
    """LoRA Manager's and KJNodes' loaders put the layers on the model and drop the metadata."""
    name = Path(licon).name
    for lora_files in ([name], ["style.safetensors", Path(licon).stem]):
        said = host("adapters.without_metadata", path=licon, lora_files=lora_files)
        assert "before_clip, clean, which Licon MSR for LTX-2.5" in said
    assert "do not say" in host("adapters.without_metadata", path=licon, lora_files=[])


def test_the_ingredients_sheet_is_held_for_the_whole_clip(host: Worker) -> None:
    got = host("adapters.ingredients", grid=[3, 3, 4])
    assert difference(got["ours"], got["core"]) < 1e-4
    assert "overlap, clean, which Ingredients IC-LoRA 0.9" in got["sentence"]
    with pytest.raises(HostError, match="trained with references that last the whole clip"):
        host("adapters.ingredients", grid=[3, 3, 4], held_frames=1)


@pytest.fixture(scope="module")
def bfs_folder(comfyui: ComfyUI) -> str:
    path = public_packs.BFS.require(comfyui)
    if not (path / "ltx_multiref_slots.py").is_file():
        pytest.skip(f"the BFS nodes at {path} are older than 1.23, which has slot tags first")
    return str(path)


@pytest.mark.parametrize(
    ("layout", "placement"),
    [("overlap", "auto"), ("strata", "strata"), ("st_drc", "bfs_st_drc")],
)
@pytest.mark.parametrize(("num_photos", "source_id"), [(6, 1), (2, 3)])
def test_bfs_slots_have_their_phases_and_their_tags(
    host: Worker,
    bfs_folder: str,
    tmp_path: Path,
    layout: str,
    placement: str,
    num_photos: int,
    source_id: int,
) -> None:
    lora = write(tmp_path / f"slots_{layout}_{placement}_{num_photos}.safetensors", 96, BFS)
    got = host(
        "adapters.bfs_slots",
        folder=bfs_folder,
        path=lora,
        layout=layout,
        placement=placement,
        num_photos=num_photos,
        source_id=source_id,
    )
    assert difference(got["ours"], got["tagged"]) < 1e-4
    assert difference(got["tagged"], got["untagged"]) > 1e-3
    # Which layout such adapters had is not in their metadata, but their first source_id is 1.
    assert got["is_doubtful"] is (source_id != 1)
    assert ("may have been" in got["sentence"]) is (layout != "overlap")


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())
