"""LoRA files of every trainer: each form of names and each kind of change, against its formula."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers import tiny_ltx
from helpers.one_sentence import assert_one_sentence
from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from stdrc_core.ltx.backbone import VideoBackbone
from stdrc_core.ltx.checkpoint import TRANSFORMER_PREFIX, transformer_key
from stdrc_core.ltx.lora import merge_lora

ATTENTION = "transformer_blocks.0.attn1.to_q"
OUT = "transformer_blocks.1.attn2.to_out.0"
# diffusers' names of layers, of which three have another name in the single file.
LAYERS = (ATTENTION, OUT, "transformer_blocks.1.ff.net.0.proj", "proj_in", "time_embed.linear")
RANK = 4


@pytest.fixture(scope="module")
def transformer() -> VideoBackbone:
    return VideoBackbone(tiny_ltx.build_tiny(tiny_ltx.LTX_2_3))


@pytest.fixture
def backbone(transformer: VideoBackbone):
    """The same tiny LTX-2.3 for every test; what a test merged is taken out again."""
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    yield transformer
    transformer.load_state_dict(before)


def single(layer: str) -> str:
    return transformer_key(layer).removeprefix(TRANSFORMER_PREFIX)


def drawn(*shape: int, seed: int = 0, std: float = 0.2) -> Tensor:
    return std * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weight_of(backbone: VideoBackbone, layer: str) -> Tensor:
    return backbone.transformer.get_parameter(f"{layer}.weight").detach().clone()


def halves(backbone: VideoBackbone) -> dict[str, tuple[Tensor, Tensor]]:
    """B and A of each layer, whose ranks differ."""
    found = {}
    for i, layer in enumerate(LAYERS):
        rows, columns = weight_of(backbone, layer).shape
        rank = RANK + i
        found[layer] = drawn(rows, rank, seed=i), drawn(rank, columns, seed=100 + i)
    return found


# How trainers write a layer and an ending; `n` is diffusers' name, `s` the single file's.
NAMES: dict[str, Callable[[str, str], tuple[str, str]]] = {
    "ComfyUI": lambda n, s: (
        f"diffusion_model.{s}.lora_A.weight",
        f"diffusion_model.{s}.lora_B.weight",
    ),
    "kohya": lambda n, s: tuple(f"lora_unet_{_flat(s)}.lora_{e}.weight" for e in ("down", "up")),
    "diffusers": lambda n, s: tuple(f"transformer.{n}.lora_{e}.weight" for e in "AB"),
    "diffusers, an adapter's name": lambda n, s: tuple(
        f"transformer.{n}.lora_{e}.default.weight" for e in "AB"
    ),
    "peft": lambda n, s: tuple(f"base_model.model.{n}.lora_{e}.weight" for e in "AB"),
    # Ten more.
    "bare": lambda n, s: tuple(f"{s}.lora_{e}.weight" for e in "AB"),
    "bare, by diffusers": lambda n, s: tuple(f"{n}.lora_{e}.weight" for e in "AB"),
    "peft in a pipeline": lambda n, s: tuple(
        f"base_model.model.diffusion_model.{s}.lora_{e}.my_face.weight" for e in "AB"
    ),
    "whole prefix": lambda n, s: tuple(
        f"model.diffusion_model.{s}.lora_{e}.weight" for e in ("down", "up")
    ),
    "kohya, by diffusers": lambda n, s: tuple(
        f"lora_unet_{_flat(n)}.lora_{e}.weight" for e in ("down", "up")
    ),
    "kohya, two underscores": lambda n, s: tuple(
        f"lora_unet__{_flat(s)}.lora_{e}.weight" for e in ("down", "up")
    ),
    "OneTrainer": lambda n, s: tuple(
        f"lora_transformer_{_flat(n)}.lora_{e}.weight" for e in ("down", "up")
    ),
    "SimpleTuner": lambda n, s: tuple(
        f"lycoris_{_flat(n)}.lora_{e}.weight" for e in ("down", "up")
    ),
    "diffusers of old": lambda n, s: tuple(
        f"transformer.{n}.lora.{e}.weight" for e in ("down", "up")
    ),
    "its processors": lambda n, s: tuple(
        f"transformer.{'.processor.'.join(n.rsplit('.', 1))}_lora.{e}.weight"
        for e in ("down", "up")
    ),
    "linear layers": lambda n, s: tuple(
        f"unet.{n}.lora_linear_layer.{e}.weight" for e in ("down", "up")
    ),
    "Mochi": lambda n, s: tuple(f"diffusion_model.{s}.lora_{e}" for e in "AB"),
    "compiled": lambda n, s: tuple(
        f"transformer._orig_mod.{n.replace('attn1', 'attn1._orig_mod')}.lora_{e}.weight"
        for e in "AB"
    ),
    "DiffSynth's pipeline": lambda n, s: tuple(
        f"pipe.dit.{n}.lora_{e}.default.weight" for e in "AB"
    ),
    "a wrapped net": lambda n, s: tuple(f"net.{s}.lora_{e}.weight" for e in ("down", "up")),
    "distributed": lambda n, s: tuple(f"module.transformer.{n}.lora_{e}.weight" for e in "AB"),
    "ltx-core": lambda n, s: tuple(f"velocity_model.{s}.lora_{e}.weight" for e in "AB"),
}


def _flat(name: str) -> str:
    return name.replace(".", "_")


@pytest.mark.parametrize("alphas", [True, False])
@pytest.mark.parametrize("form", NAMES)
def test_each_form_of_names_is_the_same_lora(
    backbone: VideoBackbone, tmp_path: Path, form: str, alphas: bool
):
    tensors, expected = {}, {}
    for i, (layer, (up, down)) in enumerate(halves(backbone).items()):
        down_key, up_key = NAMES[form](layer, single(layer))
        tensors[down_key], tensors[up_key] = down, up
        factor = 1.0
        if alphas:
            end = next(e for e in ("_lora.", ".lora") if e in down_key)
            tensors[f"{down_key.partition(end)[0]}.alpha"] = torch.tensor(2.0 + i)
            factor = (2.0 + i) / len(down)
        expected[layer] = weight_of(backbone, layer) + 0.7 * factor * up @ down
    # What the video branch has not is left out.
    tensors["lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"] = torch.zeros(2, 2)
    save_file(tensors, tmp_path / "a.safetensors")
    merge_lora(backbone, tmp_path / "a.safetensors", 0.7)
    for layer, weight in expected.items():
        torch.testing.assert_close(weight_of(backbone, layer), weight, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
)
def test_halves_of_any_precision_are_merged_in_float32(
    backbone: VideoBackbone, tmp_path: Path, dtype: torch.dtype
):
    up, down = (each.to(dtype) for each in halves(backbone)[ATTENTION])
    expected = weight_of(backbone, ATTENTION) + up.float() @ down.float()
    key = f"lora_unet_{_flat(ATTENTION)}"
    save_file({f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}, tmp_path / "a")
    merge_lora(backbone, tmp_path / "a")
    torch.testing.assert_close(weight_of(backbone, ATTENTION), expected)


def kinds(weight: Tensor) -> dict[str, tuple[dict[str, Tensor], Tensor]]:
    """What a file holds of a layer, and the weight at strength 0.6, in float64 by the formulas.

    DoRA's are those of ComfyUI for `dora_scale`, and of the paper for peft's own name.
    """
    rows, columns = weight.shape
    up, down = drawn(rows, RANK, seed=1), drawn(RANK, columns, seed=2)
    lora = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(2.0)}
    change = 0.5 * up.double() @ down.double()
    w, merged = weight.double(), weight.double() + change
    of_rows = drawn(rows, 1, seed=3).abs() + 1
    of_columns = drawn(1, columns, seed=4).abs() + 1
    loha = {}
    for n in (1, 2):
        loha[f"hada_w{n}_a"] = drawn(rows, RANK, seed=5 + n)
        loha[f"hada_w{n}_b"] = drawn(RANK, columns, seed=15 + n)
    product = (loha["hada_w1_a"] @ loha["hada_w1_b"]).double()
    product *= (loha["hada_w2_a"] @ loha["hada_w2_b"]).double()
    w_1 = drawn(4, 2, seed=8)
    w_2 = drawn(rows // 4, columns // 2, seed=9)
    a, b = drawn(rows // 4, RANK, seed=10), drawn(RANK, columns // 2, seed=11)
    whole = drawn(rows, columns, seed=12)

    def part(changed: Tensor) -> Tensor:
        return w + 0.6 * (changed - w)

    return {
        "dora_scale of rows": (
            {**lora, "dora_scale": of_rows},
            part(merged * of_rows / w.norm(dim=1, keepdim=True)),
        ),
        "dora_scale of columns": (
            {**lora, "dora_scale": of_columns},
            part(merged * of_columns / merged.norm(dim=0, keepdim=True)),
        ),
        "peft's DoRA": (
            {**lora, "lora_magnitude_vector.default.weight": of_rows.flatten()},
            part(merged * of_rows / merged.norm(dim=1, keepdim=True)),
        ),
        "LoHa": ({**loha, "alpha": torch.tensor(2.0)}, w + 0.6 * 0.5 * product),
        "LoHa without alpha": (loha, w + 0.6 * product),
        "LoKr": ({"lokr_w1": w_1, "lokr_w2": w_2, "alpha": torch.tensor(3.0)},
                 w + 0.6 * torch.kron(w_1, w_2).double()),
        "LoKr, factored": (
            {"lokr_w1": w_1, "lokr_w2_a": a, "lokr_w2_b": b, "alpha": torch.tensor(3.0)},
            w + 0.6 * 3 / RANK * torch.kron(w_1, a @ b).double(),
        ),
        "diff": ({"diff": whole}, w + 0.6 * whole.double()),
        "set_weight": ({"set_weight": whole}, whole.double()),
        "reshape_weight to its own size": (
            {**lora, "reshape_weight": torch.tensor([rows, columns])}, w + 0.6 * change
        ),
        "1 x 1 convolutions": (
            {part: each[..., None, None] if each.ndim else each for part, each in lora.items()},
            w + 0.6 * change,
        ),
    }  # fmt: skip


KINDS = list(kinds(torch.zeros(8, 4)))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_change_is_its_formula(
    backbone: VideoBackbone, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
):
    layer = "transformer_blocks.1.ff.net.0.proj"
    parts, expected = kinds(weight_of(backbone, layer))[kind]
    key = f"lora_unet_{_flat(layer)}"
    save_file(
        {f"{key}.{part}": value.contiguous() for part, value in parts.items()}, tmp_path / "a"
    )
    # A weight is changed some rows at a time.
    monkeypatch.setattr("stdrc_core.ltx.lora._ENTRIES_TOGETHER", 1000)
    merge_lora(backbone, tmp_path / "a", 0.6)
    got = weight_of(backbone, layer).double()
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


def test_biases_and_tables_are_changed(backbone: VideoBackbone, tmp_path: Path):
    bias = backbone.transformer.get_parameter("transformer_blocks.0.attn1.to_q.bias")
    table = backbone.transformer.get_parameter("transformer_blocks.0.scale_shift_table")
    expected = bias.detach() + 0.5, table.detach() + 0.25
    tensors = {
        f"diffusion_model.{ATTENTION}.diff_b": torch.ones(bias.shape),
        "diffusion_model.transformer_blocks.0.scale_shift_table.diff": torch.full(table.shape, 0.5),
    }
    save_file(tensors, tmp_path / "a")
    merge_lora(backbone, tmp_path / "a", 0.5)
    torch.testing.assert_close(bias.detach(), expected[0])
    torch.testing.assert_close(table.detach(), expected[1])


def test_factors_that_diffusers_wrote_are_read(backbone: VideoBackbone, tmp_path: Path):
    """diffusers' own loader reads the same file to the same weights, by its metadata."""
    theirs = tiny_ltx.build_tiny(tiny_ltx.LTX_2_3)
    theirs.load_state_dict(backbone.transformer.state_dict(), strict=False)
    config = LoraConfig(
        r=RANK,
        lora_alpha=10,
        target_modules=["attn1.to_q", "proj_in"],
        alpha_pattern={"transformer_blocks.1.attn1.to_q": 3},
        use_rslora=True,
    )
    theirs.add_adapter(config, adapter_name="mine")
    for i, (name, parameter) in enumerate(theirs.named_parameters()):
        if "lora_" in name:
            parameter.data = drawn(*parameter.shape, seed=i)
    theirs.save_lora_adapter(tmp_path, adapter_name="mine")
    (path,) = tmp_path.glob("*.safetensors")
    merge_lora(backbone, path)
    theirs.fuse_lora()
    for layer in ("transformer_blocks.0.attn1.to_q", "transformer_blocks.1.attn1.to_q", "proj_in"):
        expected = theirs.get_submodule(layer).base_layer.weight.detach()
        torch.testing.assert_close(weight_of(backbone, layer), expected, atol=1e-5, rtol=1e-5)


_HALVES = (("A", (4, 96)), ("B", (96, 4)))
REFUSED: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "OFT": ({"oft_blocks": (4, 8, 8)}, "by oft_blocks, which is OFT"),
    "BOFT": ({"oft_blocks": (2, 4, 8, 8), "rescale": (96, 1)}, "which is OFT"),
    "GLoRA": ({f"{x}.weight": (4, 4) for x in ("a1", "a2", "b1", "b2")}, "which is GLoRA"),
    "LoCon": (
        {"lora_up.weight": (96, 4), "lora_down.weight": (4, 96), "lora_mid.weight": (4, 4, 1, 1)},
        "by lora_mid.weight",
    ),
    "another size": (
        {"lora_up.weight": (96, 4), "lora_down.weight": (4, 96), "reshape_weight": (2,)},
        "by reshape_weight",
    ),
    "a bias": (
        {"lora_B.weight": (96, 4), "lora_A.weight": (4, 96), "lora_B.bias": (96,)},
        "by lora_B.bias",
    ),
    "packed halves": (
        {"lora_up.weight": (96, 4), "lora_down.weight": (4, 96), "lora_up.scale_weight": (1,)},
        "by lora_up.scale_weight",
    ),
    "whole weights": ({"weight": (96, 96)}, "whole weights, no LoRA"),
    "VeRA": ({"vera_lambda_b": (96,)}, "by vera_lambda_b"),
    "one half": ({"lora_up.weight": (96, 4)}, "lacks lora_down"),
    "a length alone": ({"dora_scale": (96, 1)}, "a length of DoRA alone"),
    "a length of another size": (
        {"lora_up.weight": (96, 4), "lora_down.weight": (4, 96), "dora_scale": (95, 1)},
        r"a dora_scale of shape [95, 1]",
    ),
    "two adapters": (
        {f"lora_{h}.weight": s for h, s in _HALVES} | {f"lora_{h}.x.weight": s for h, s in _HALVES},
        "which are one part of the layer",
    ),
    "LoKr of another size": ({"lokr_w1": (4, 4), "lokr_w2": (4, 4)}, "a change of shape [16, 16]"),
    "LoHa of another size": (
        {f"hada_w{n}_{h}": s for n in (1, 2) for h, s in (("a", (90, 4)), ("b", (4, 96)))},
        "a change of shape [90, 96]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float8_e5m2])
def test_a_training_that_diverged_is_told(
    backbone: VideoBackbone, tmp_path: Path, number: float, dtype: torch.dtype
):
    up, down = halves(backbone)[ATTENTION]
    down[1, 2] = number
    save_file(
        {f"{ATTENTION}.lora_A.weight": down.to(dtype), f"{ATTENTION}.lora_B.weight": up.to(dtype)},
        tmp_path / "a",
    )
    before = weight_of(backbone, ATTENTION)
    with pytest.raises(ValueError, match=f"not finite in down of {ATTENTION}") as raised:
        merge_lora(backbone, tmp_path / "a")
    assert_one_sentence(raised.value)
    assert torch.equal(weight_of(backbone, ATTENTION), before)


def test_an_alpha_may_be_a_list_of_one(backbone: VideoBackbone, tmp_path: Path):
    up, down = halves(backbone)[ATTENTION]
    key = f"lora_unet_{_flat(ATTENTION)}"
    tensors = {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
    expected = weight_of(backbone, ATTENTION) + 2 / RANK * up @ down
    for i, alpha in enumerate((torch.tensor([2.0]), torch.tensor(2), torch.tensor([[2.0]]).half())):
        copy = weight_of(backbone, ATTENTION)
        save_file({**tensors, f"{key}.alpha": alpha}, tmp_path / f"{i}")
        merge_lora(backbone, tmp_path / f"{i}")
        torch.testing.assert_close(weight_of(backbone, ATTENTION), expected)
        backbone.transformer.get_parameter(f"{ATTENTION}.weight").data.copy_(copy)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_merged_is_refused_by_name(
    backbone: VideoBackbone, tmp_path: Path, kind: str
):
    parts, words = REFUSED[kind]
    good = halves(backbone)[OUT]
    tensors = {
        f"transformer.{ATTENTION}.{part}": torch.ones(shape) for part, shape in parts.items()
    }
    tensors |= {f"transformer.{OUT}.lora_{h}.weight": v for h, v in zip("BA", good, strict=True)}
    save_file(tensors, tmp_path / "odd.safetensors")
    before = weight_of(backbone, OUT)
    with pytest.raises(ValueError) as raised:
        merge_lora(backbone, tmp_path / "odd.safetensors")
    assert words in str(raised.value)
    assert "odd.safetensors" in str(raised.value)
    assert_one_sentence(str(raised.value))
    assert torch.equal(weight_of(backbone, OUT), before)


def test_damaged_metadata_are_told(backbone: VideoBackbone, tmp_path: Path):
    up, down = halves(backbone)[ATTENTION]
    tensors = {f"{ATTENTION}.lora_A.weight": down, f"{ATTENTION}.lora_B.weight": up}
    for stored in ("{", "[]", json.dumps({"lora_alpha": "much"})):
        save_file(tensors, tmp_path / "a", metadata={"lora_adapter_metadata": stored})
        with pytest.raises(ValueError, match="has a damaged lora_adapter_metadata"):
            merge_lora(backbone, tmp_path / "a")
