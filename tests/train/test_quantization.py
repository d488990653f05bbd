"""A LoRA on an 8-bit base: real torchao, real backbone, on the CPU."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from helpers import commands, mini_run, run_quantized
from helpers.json_lines import read_json_lines
from helpers.run_quantized import config
from helpers.tiny_ltx import LTX_2_3, build_tiny, random_inputs, write_tiny
from safetensors.torch import load_file
from torch import Tensor, nn

from stdrc_core.ltx.backbone import VideoBackbone, load_backbone
from stdrc_core.mini.config import NUM_LAYERS
from stdrc_core.train.assemble import assemble
from stdrc_core.train.config import ModelSection, TrainConfig
from stdrc_core.train.loop import Parts, Result
from stdrc_core.train.quantization import load_base

CPU = torch.device("cpu")
FRAME_RATE = 24.0


def load_tiny(path: Path, quantization: str = "int8", dtype: str = "float32") -> VideoBackbone:
    section = ModelSection(checkpoint=path, dtype=dtype, quantization=quantization)
    return load_base(section, CPU).requires_grad_(False)


def round_to_8_bits(weight: Tensor) -> Tensor:
    """256 levels over [-a, a], a the largest size in the row."""
    step = weight.abs().amax(dim=1, keepdim=True) / 127.5
    return (weight / step).round().clamp(-128, 127) * step


def rounded(backbone: VideoBackbone) -> VideoBackbone:
    """A float model whose attention and feed-forward have the weights that 8 bits can tell."""
    num_changed = 0
    for block in backbone.transformer.transformer_blocks:
        for part in (block.attn1, block.attn2, block.ff):
            for name, layer in part.named_modules():
                if isinstance(layer, nn.Linear) and "gate" not in name:
                    layer.weight.data = round_to_8_bits(layer.weight.data)
                    num_changed += 1
    assert num_changed == 2 * 10
    return backbone.requires_grad_(False)


def velocity(backbone: nn.Module, video: Tensor | None = None) -> Tensor:
    drawn, t, context, reference = random_inputs(backbone.context_dim)
    video = drawn if video is None else video
    return backbone(video, t, context, frame_rate=FRAME_RATE, reference=reference)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.safetensors", LTX_2_3)


def test_an_8_bit_base_is_the_float_model_with_rounded_weights(tiny: Path):
    with torch.no_grad():
        plain = velocity(VideoBackbone(build_tiny(LTX_2_3)))
        expected = velocity(rounded(VideoBackbone(build_tiny(LTX_2_3))))
        ours = velocity(load_tiny(tiny))
    error, rounding = (((v - expected).norm() / plain.norm()).item() for v in (ours, plain))
    # A weight midway between two levels may go to either.
    assert error < 4e-4
    assert 3 * error < rounding < 5e-2, "8 bits are coarse, but not wrong"


def test_gradients_pass_through_an_8_bit_base(tiny: Path):
    gradients = []
    for backbone in (load_tiny(tiny), rounded(VideoBackbone(build_tiny(LTX_2_3)))):
        video = random_inputs(backbone.context_dim)[0].requires_grad_()
        velocity(backbone, video).square().sum().backward()
        gradients.append(video.grad)
    ours, expected = gradients
    assert (ours - expected).norm() < 1e-3 * expected.norm()


def test_under_autocast_layers_answer_in_the_dtype_of_other_layers(tiny: Path):
    """torchao alone would answer normalised activations, which autocast makes float32, in float32:
    twice the memory."""
    dtypes = []
    for quantization in ("none", "int8"):
        backbone = load_tiny(tiny, quantization, "bfloat16")
        assert backbone.dtype == torch.bfloat16
        seen = {}
        for name, layer in backbone.transformer.transformer_blocks.named_modules():
            if isinstance(layer, nn.Linear):
                layer.register_forward_hook(
                    lambda _m, _i, output, name=name, seen=seen: seen.update({name: output.dtype})
                )
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            velocity(backbone)
        dtypes.append(seen)
    assert dtypes[0] == dtypes[1]
    assert set(dtypes[1].values()) == {torch.bfloat16}


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    mini_checkpoint: Path,
    mini_cache: Path,
) -> tuple[TrainConfig, Parts, Result]:
    settings = config(tmp_path_factory.mktemp("int8"), mini_checkpoint, mini_cache)
    return settings, *mini_run.train(settings)


def logged_flows(out: Path) -> list[float]:
    return [step["flow"] for step in read_json_lines(out / "log.jsonl")]


def test_a_lora_on_an_8_bit_base_learns(whole: tuple[TrainConfig, Parts, Result]):
    settings, parts, result = whole
    flows = logged_flows(settings.run.out)
    assert sum(flows[-5:]) < 0.85 * sum(flows[:5])
    layer = parts.model.backbone.transformer.transformer_blocks[0].attn1.to_q
    assert type(layer).__name__ == "TorchaoLoraLinear"
    assert layer.base_layer.weight.qdata.dtype == torch.int8
    assert {p.dtype for p in parts.model.parameters() if p.requires_grad} == {torch.float32}
    assert len(result.weights) == NUM_LAYERS * 10 * 2


def test_its_checkpoints_hold_the_lora_alone(whole: tuple[TrainConfig, Parts, Result]):
    _, _, result = whole
    stored = load_file(result.checkpoint / "model.safetensors")
    assert stored.keys() == result.weights.keys()
    assert all(torch.equal(stored[name], value) for name, value in result.weights.items())


def test_it_goes_on_from_a_checkpoint_to_the_same_weights(
    whole: tuple[TrainConfig, Parts, Result],
    tmp_path: Path,
    mini_checkpoint: Path,
    mini_cache: Path,
):
    settings, _, expected = whole
    shutil.copytree(settings.run.out, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "checkpoints" / "step_00000030")
    _, resumed = mini_run.train(config(tmp_path, mini_checkpoint, mini_cache))
    for name, value in expected.weights.items():
        assert torch.equal(resumed.weights[name], value), name


def test_two_processes_are_one(
    whole: tuple[TrainConfig, Parts, Result],
    tmp_path: Path,
    mini_checkpoint: Path,
    mini_cache: Path,
):
    script = (run_quantized.__file__, tmp_path, mini_checkpoint, mini_cache)
    commands.run(*script, num_processes=2)
    ours, expected = logged_flows(tmp_path), logged_flows(whole[0].run.out)
    assert ours == pytest.approx(expected[:3], abs=1e-5)
    assert len(ours) == 3


def test_what_it_learned_holds_on_the_float_base(
    whole: tuple[TrainConfig, Parts, Result],
    tmp_path: Path,
    mini_checkpoint: Path,
    mini_cache: Path,
):
    """ComfyUI applies the LoRA to the weights as they were published."""
    _, parts, result = whole
    float_base = assemble(
        config(tmp_path, mini_checkpoint, mini_cache, quantization="none", offload=False), CPU
    )
    float_base.model.load_state_dict(result.weights)
    bare = load_backbone(mini_checkpoint, dtype=torch.float32)
    clip, context = torch.randn(1, 128, 2, 3, 3), mini_run.encode_text("a man")[None]
    t, photo = torch.tensor([0.5]), torch.randn(1, 128, 1, 3, 3)
    with torch.no_grad():
        (ours,), (floats,) = (p.model([(clip, t, context, photo, 0)]) for p in (parts, float_base))
        untrained = bare(clip, t, context, frame_rate=mini_run.FPS, reference=photo)
    assert (ours - floats).norm() < 0.05 * (floats - untrained).norm()


def test_without_torchao_one_sentence_says_what_to_install(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ValueError, match=r"quantization was int8; needs torchao .*pip install"):
        load_tiny(tiny)


def test_8_bit_weights_are_neither_trained_nor_sharded(tmp_path: Path):
    with pytest.raises(ValueError, match=r"quantization was int8 with trainable\.method full"):
        mini_run.config(
            tmp_path,
            tmp_path,
            tmp_path,
            model={"quantization": "int8"},
            trainable={"method": "full"},
        )
    settings = config(tmp_path, tmp_path, tmp_path)
    with pytest.raises(ValueError, match=r"quantization was int8 with FSDP2; needs none"):
        assemble(settings, CPU, will_shard=True)
