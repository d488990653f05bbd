"""`auto` on Apply TASS-RoPE Patch: the layout that the loaded weights were trained for."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import mini_run
from helpers.comfyui import HostError, Worker
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from stdrc_core.train.assemble import load_trainable_backbone
from stdrc_core.train.export import export

pytestmark = pytest.mark.host

PLACEMENTS = ("tass", "overlap", "temporal_only", "spatial_only")
TIMESTEPS = ("clean", "shared")
AUTO = ["patch", ["auto", "auto"]]
EXPORT = Callable[..., str]


@pytest.fixture(scope="module")
def exported(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> EXPORT:
    """Writes random weights, trained for a layout, as the trainer exports them."""
    weights: dict[str, dict[str, Tensor]] = {}

    def write(method: str, placement: str, timestep: str = "clean") -> str:
        folder = tmp_path_factory.mktemp("exported")
        config = mini_run.config(
            folder,
            mini_checkpoint,
            folder / "no cache",
            reference={"placement": placement, "timestep": timestep},
            trainable={"method": method},
        )
        if method not in weights:
            backbone = load_trainable_backbone(config, torch.device("cpu"))
            generator = torch.Generator().manual_seed(9)
            weights[method] = {
                f"backbone.{name}": p + 0.05 * torch.randn(p.shape, generator=generator)
                for name, p in backbone.named_parameters()
                if p.requires_grad
            }
        # The host looks a file up by its name alone.
        return str(export(config, weights[method], folder / f"{folder.name}.safetensors"))

    return write


def with_metadata(path: str, metadata: dict[str, str]) -> str:
    """The same tensors with other metadata."""
    target = Path(path).with_name(f"{Path(path).stem}_changed.safetensors")
    save_file(load_file(path), target, metadata=metadata)
    return str(target)


def facts_of(path: str) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["stdrc"])


def velocity(host: Worker, *chain: list[Any]) -> Tensor:
    return host("weights.run", chain=list(chain))["velocity"]


LAYOUTS = [*zip(PLACEMENTS, TIMESTEPS * 2, strict=True), ("tass", "shared")]


@pytest.mark.parametrize(("placement", "timestep"), LAYOUTS)
@pytest.mark.parametrize("loader", ["lora", "unet", "checkpoint"])
def test_auto_is_what_the_weights_were_trained_for(
    host: Worker, exported: EXPORT, loader: str, placement: str, timestep: str
) -> None:
    path = exported("lora" if loader == "lora" else "full", placement, timestep)
    auto = host("weights.run", chain=[[loader, path], AUTO])
    explicit = {
        layout: velocity(host, [loader, path], ["patch", list(layout)])
        for layout in product(PLACEMENTS, TIMESTEPS)
    }
    same = [layout for layout, other in explicit.items() if torch.equal(auto["velocity"], other)]
    assert same == [(placement, timestep)]
    ((level, sentence),) = auto["said"]
    assert level == "INFO"
    for part in (placement, timestep, "text_scale 5.0", "reference_scale 7.5"):
        assert part in sentence


def test_weights_that_say_nothing_are_taken_for_the_papers(host: Worker) -> None:
    auto = host("weights.run", chain=[AUTO])
    assert torch.equal(auto["velocity"], velocity(host, ["patch", ["tass", "clean"]]))
    ((level, sentence),) = auto["said"]
    assert level == "INFO"
    assert "tass, clean" in sentence
    assert "do not say" in sentence


def test_each_widget_may_be_auto_by_itself(host: Worker, exported: EXPORT) -> None:
    path = exported("lora", "overlap", "shared")
    expected = velocity(host, ["lora", path], ["patch", ["tass", "shared"]])
    assert torch.equal(velocity(host, ["lora", path], ["patch", ["tass", "auto"]]), expected)
    expected = velocity(host, ["lora", path], ["patch", ["overlap", "clean"]])
    assert torch.equal(velocity(host, ["lora", path], ["patch", ["auto", "clean"]]), expected)


@pytest.mark.parametrize("chosen", [("overlap", "clean"), ("tass", "shared")])
def test_a_choice_against_the_weights_is_kept_and_warned_of(
    host: Worker, exported: EXPORT, chosen: tuple[str, str]
) -> None:
    path = exported("lora", "tass", "clean")
    got = host("weights.run", chain=[["lora", path], ["patch", list(chosen)]])
    # The same weights from a file that was trained for what is chosen here.
    assert torch.equal(got["velocity"], velocity(host, ["lora", exported("lora", *chosen)], AUTO))
    ((level, sentence),) = got["said"]
    assert level == "WARNING"
    assert f"layout {', '.join(chosen)}, but" in sentence
    assert "trained for tass, clean" in sentence
    assert sentence.endswith(".")


def test_a_choice_with_the_weights_is_not_warned_of(host: Worker, exported: EXPORT) -> None:
    chain = [["lora", exported("lora", "overlap")], ["patch", ["overlap", "clean"]]]
    assert [level for level, _ in host("weights.run", chain=chain)["said"]] == ["INFO"]


@pytest.fixture(scope="module")
def stranger(exported: EXPORT) -> str:
    """A LoRA from elsewhere, with metadata of its own."""
    return with_metadata(exported("lora", "tass"), {"modelspec.title": "a style"})


@pytest.mark.parametrize(
    "order", ["ours, patch", "patch, ours", "stranger, ours, patch", "ours, stranger, patch",
              "ours, patch, stranger", "patch, stranger, ours", "patch, ours, clone, stranger"]
)  # fmt: skip
def test_the_order_of_loras_and_patch_does_not_matter(
    host: Worker, exported: EXPORT, stranger: str, order: str
) -> None:
    ours = exported("lora", "spatial_only", "shared")
    nodes = {
        "ours": ["lora", ours],
        "stranger": ["lora", stranger],
        "patch": AUTO,
        "clone": ["clone", None],
    }
    chain = [nodes[name] for name in order.split(", ")]
    explicit = [["patch", ["spatial_only", "shared"]] if node is AUTO else node for node in chain]
    assert torch.equal(velocity(host, *chain), velocity(host, *explicit))


def test_the_last_st_drc_weights_count(host: Worker, exported: EXPORT) -> None:
    full = ["unet", exported("full", "overlap")]
    first, last = (["lora", exported("lora", name)] for name in ("temporal_only", "spatial_only"))
    for chain, expected in (
        ([full, AUTO], "overlap"),
        ([full, first, AUTO], "temporal_only"),
        ([full, first, last, AUTO], "spatial_only"),
        ([full, first, AUTO, last], "spatial_only"),
    ):
        explicit = [["patch", [expected, "clean"]] if node is AUTO else node for node in chain]
        assert torch.equal(velocity(host, *chain), velocity(host, *explicit)), expected


UNREADABLE = {
    "not JSON": ("{", "not JSON"),
    "unknown placement": ({"placement": "sideways"}, "placement was 'sideways'"),
    "newer": ({"format_version": 3}, "format_version 3"),
}


@pytest.mark.parametrize("damage", UNREADABLE)
@pytest.mark.parametrize("position", ["before", "after"])
def test_what_cannot_be_read_stops_auto_and_warns_of_a_choice(
    host: Worker, exported: EXPORT, damage: str, position: str
) -> None:
    changes, part = UNREADABLE[damage]
    path = exported("lora", "overlap")
    text = changes if isinstance(changes, str) else json.dumps(facts_of(path) | changes)
    lora = ["lora", with_metadata(path, {"stdrc": text})]

    def chain(patch: list[Any]) -> list[list[Any]]:
        return [lora, patch] if position == "before" else [patch, lora]

    with pytest.raises(HostError) as raised:
        host("weights.run", chain=chain(AUTO))
    assert raised.value.kind == "ValueError"
    message = raised.value.message
    assert part in message
    assert "choose placement and reference_timestep" in message
    assert message.endswith(".")

    got = host("weights.run", chain=chain(["patch", ["overlap", "clean"]]))
    assert torch.equal(got["velocity"], velocity(host, ["lora", path], AUTO))
    ((level, sentence),) = got["said"]
    assert level == "WARNING"
    assert part in sentence


def test_saved_workflows_still_find_their_widgets(host: Worker) -> None:
    """Their values are kept by position: new widgets and choices come last."""
    others = ["overlap_source_phase", "strata", "sidecar", "bfs_st_drc", "before_clip"]
    adapters = [
        *("Best-Face-ID v1.0", "Best-Face-ID character sheet v1.0", "Ingredients IC-LoRA 0.9"),
        *("Licon MSR for LTX-2.3", "Licon MSR for LTX-2.5"),
    ]
    assert host("weights.widgets") == [
        ["placement", "auto", ["auto", "tass", "overlap", *PLACEMENTS[2:], *others]],
        ["reference_timestep", "auto", ["auto", *TIMESTEPS]],
        ["source_id", 2.0, []],
        ["phase_scale", 1.0, []],
        ["temporal_offset", 0, []],
        ["adapter", "auto", ["auto", *adapters]],
    ]


OTHERS = {
    "ltx-trainer": ({"reference_downscale_factor": "1"}, "overlap", "INFO", "IC-LoRA"),
    "scaled": ({"reference_downscale_factor": "2"}, "overlap", "WARNING", "scaled down by 2"),
    "slots": (
        {"reference_slot_embedding_dim": "128"},
        "overlap_source_phase",
        "WARNING",
        "source_id 1",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_auto_heeds_other_trainers_metadata(host: Worker, exported: EXPORT, case: str) -> None:
    metadata, placement, expected_level, part = OTHERS[case]
    lora = ["lora", with_metadata(exported("lora", "tass"), metadata)]
    got = host("weights.run", chain=[lora, AUTO])
    options = {"source_id": 1.0} if case == "slots" else {}
    expected = velocity(host, lora, ["patch", [placement, "clean", options]])
    assert torch.equal(got["velocity"], expected)
    ((level, sentence),) = got["said"]
    assert level == expected_level
    assert part in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize("loader", ["lora", "unet"])
def test_our_own_metadata_count_before_others(host: Worker, exported: EXPORT, loader: str) -> None:
    ours = [loader, exported("lora" if loader == "lora" else "full", "temporal_only")]
    other = ["lora", with_metadata(exported("lora", "tass"), OTHERS["ltx-trainer"][0])]
    got = velocity(host, ours, other, AUTO)
    expected = velocity(host, ours, other, ["patch", ["temporal_only", "clean"]])
    assert torch.equal(got, expected)


@pytest.mark.parametrize("placement", ["auto", "tass"])
def test_an_adapter_chosen_by_name(host: Worker, placement: str) -> None:
    options = {"adapter": "Best-Face-ID v1.0"}
    got = host("weights.run", chain=[["patch", [placement, "auto", options]]])
    chosen = "overlap_source_phase" if placement == "auto" else placement
    assert torch.equal(got["velocity"], velocity(host, ["patch", [chosen, "clean"]]))
    ((level, sentence),) = got["said"]
    assert level == ("INFO" if placement == "auto" else "WARNING")
    assert "Best-Face-ID v1.0 (chosen by name)" in sentence
    assert "ref_t2v: " in sentence


def test_lora_files_are_read_off_the_workflow(host: Worker) -> None:
    """A chain of loaders, a node of no model and a loop that no workflow should have."""
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "ltx.safetensors"}},
        "2": {"inputs": {"lora_name": "first.safetensors", "model": ["1", 0], "strength": 1.0}},
        "3:7": {"inputs": {"lora_1": "second.safetensors", "on": True, "model": ["2", 0]}},
        "4": {"inputs": {"placement": "auto", "model": ["3:7", 0]}},
        "5": {"inputs": {"lora_name": "other.safetensors", "model": ["1", 0]}},
        "6": {"inputs": {"lora_name": "loop.safetensors", "model": ["6", 0]}},
    }
    assert host("weights.lora_files", graph=graph, node_id="4") == [
        "second.safetensors",
        "first.safetensors",
    ]
    assert host("weights.lora_files", graph=graph, node_id="1") == []
    assert host("weights.lora_files", graph=graph, node_id="6") == ["loop.safetensors"]
    assert host("weights.lora_files", graph=graph, node_id="9") == []


def test_a_file_name_counts_before_all_but_st_drc_loras(host: Worker, exported: EXPORT) -> None:
    name = "faces/Best_FaceID_v1.0_LoRA.safetensors"
    known = host("weights.decide", chain=[], lora_files=["style.safetensors", name])
    assert "overlap_source_phase, clean" in known
    assert f"by its file name, {name}" in known
    other = with_metadata(exported("lora", "tass"), OTHERS["ltx-trainer"][0])
    for chain in ([["lora", other]], [["unet", exported("full", "spatial_only")]]):
        assert host("weights.decide", chain=chain, lora_files=[name]) == known
    ours = host("weights.decide", chain=[["lora", exported("lora", "tass")]], lora_files=[name])
    assert "layout tass, clean, which the weights were trained for" in ours


def test_more_than_the_weights_were_trained_with_is_said(host: Worker, exported: EXPORT) -> None:
    """In the log, on the guider and in the report, of photos, first frames and single frames."""
    path = exported("lora", "tass")
    facts = {"max_photos": 2, "first_frames": False, "single_frames": False}
    path = with_metadata(path, {"stdrc": json.dumps(facts_of(path) | facts)})
    fits = host("weights.beyond", path=path, num_photos=2)
    assert (fits["said"], fits["shown"]) == ([], [""])
    assert "Probably not meant:" not in fits["report"]
    assert any("Trained with up to 2 photos, no first frames, no" in s for s in fits["report"])

    more = host("weights.beyond", path=path, num_photos=3, has_first_frame=True)
    photos, first = more["said"]
    assert photos.startswith("reference has 3 photos and the weights were trained with 2 at most")
    assert first.startswith("The clip begins with a first frame and the weights were trained")
    assert more["shown"] == [photos]
    single = host("weights.beyond", path=path, num_photos=1, num_frames=1)
    (still,) = single["said"]
    assert still.startswith("A single frame is made and the weights were trained on clips alone")
    for found, sentences in ((more, [photos, first]), (single, [still])):
        place = found["report"].index("Probably not meant:")
        assert found["report"][place + 1 :] == [f"- {each}" for each in sentences]

    learned = facts | {"max_photos": 4, "first_frames": True, "single_frames": True}
    path = with_metadata(path, {"stdrc": json.dumps(facts_of(path) | learned)})
    assert host("weights.beyond", path=path, num_photos=3, has_first_frame=True)["said"] == []
