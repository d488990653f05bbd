"""`torchrun run_sharded.py OUT CHECKPOINT CACHE`: FSDP2 runs on CPU processes.

accelerate ignores FSDP on CPU. Here it is told that it does not: what then runs is its own FSDP2,
set up by the configuration file that ships, on gloo.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from accelerate import Accelerator, PartialState  # noqa: E402
from accelerate.commands.launch import _validate_launch_command, launch_command_parser  # noqa: E402
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin  # noqa: E402
from accelerate.utils.launch import prepare_multi_gpu_env  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402
from torch.distributed.fsdp import FSDPModule  # noqa: E402
from torch.distributed.tensor import DTensor  # noqa: E402

import stdrc_core.train  # noqa: E402
from helpers import drawn_faces, mini_run  # noqa: E402
from stdrc_core.ltx.checkpoint_files import Checkpoint  # noqa: E402
from stdrc_core.train import loop, run  # noqa: E402
from stdrc_core.train.assemble import assemble  # noqa: E402
from stdrc_core.train.config import TrainConfig  # noqa: E402
from stdrc_core.train.trainable import frozen_weights_listed  # noqa: E402
from stdrc_core.train.validation import Validator  # noqa: E402

FSDP2 = Path(stdrc_core.train.__file__).parent / "recipes" / "accelerate_fsdp2_8gpu.yaml"
CPU = torch.device("cpu")
LORA = {
    "trainable": {"method": "lora"},
    "run": {"num_steps": 2},
    "optimizer": {"lr": 1e-2},
}


def launch_environment(file: Path) -> dict[str, str]:
    """What `accelerate launch --config_file` tells the processes that it starts."""
    args = launch_command_parser().parse_args(["--config_file", str(file), "a_script.py"])
    args, _, _ = _validate_launch_command(args)
    return prepare_multi_gpu_env(args)


def config(out: Path, checkpoint: Path, cache: Path, **sections) -> TrainConfig:
    """Four steps on the miniature: accumulation, clipping, averaging, references of every kind."""
    values = {
        "run": {"num_steps": 4, "batch_size": 4, "micro_batch_size": 1, "checkpoint_every": 2},
        "reference": {"p_drop": 0.5},
        "trainable": {"method": "full"},
        "optimizer": {"lr": 1.0, "max_grad_norm": 0.1, "ema_decay": 0.5},
    }
    for name, changes in sections.items():
        values[name] = values.get(name, {}) | changes
    return mini_run.config(out, checkpoint, cache, **values)


def descent(config: TrainConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Stands for AdamW, whose division by the gradient's size would multiply rounding errors."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(trained, lr=config.optimizer.lr, momentum=0.9)


def sharding_accelerator(mixed_precision: str = "no") -> Accelerator:
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 2
    plugin = FullyShardedDataParallelPlugin()
    if mixed_precision != "no":
        plugin.set_mixed_precision(mixed_precision)
    for state in (PartialState(), accelerator.state):
        state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = plugin
    assert accelerator.is_fsdp2
    return accelerator


def check_sharded(model: nn.Module) -> None:
    """Each block and the root is a unit of its own; a process holds half of every weight."""
    units = {name for name, module in model.named_modules() if isinstance(module, FSDPModule)}
    blocks = model.backbone.transformer.transformer_blocks
    assert units == {
        "",
        *(f"backbone.transformer.transformer_blocks.{i}" for i in range(len(blocks))),
    }
    assert all(isinstance(p, DTensor) for p in model.parameters())
    own = sum(p.to_local().numel() for p in model.parameters())
    assert own < 0.52 * sum(p.numel() for p in model.parameters())


def assembled(config: TrainConfig, accelerator: Accelerator) -> loop.Parts:
    """As the command does it: the main process alone reads the transformer's weights."""
    return assemble(config, CPU, will_shard=True, reads_weights=accelerator.is_main_process)


_read = Checkpoint.read


def no_reading(checkpoint: Checkpoint, names: Iterable[str], **options: Any) -> Any:
    """What processes other than the main one have in the place of `Checkpoint.read`."""
    names = list(names)
    if not all(name.startswith("vae.") for name in names):
        raise AssertionError("a process that is not the main one reads the transformer's weights")
    return _read(checkpoint, names, **options)


def loaded(out: Path, *files: Path) -> None:
    """After sharding every weight, trained or frozen, is that of the file in the main process."""
    for method in ("full", "lora"):
        settings = config(out / "loaded", *files, trainable={"method": method})
        accelerator = sharding_accelerator()
        parts = assembled(settings, accelerator)
        loop.set_up_sharding(settings, accelerator)
        with frozen_weights_listed():
            model, _ = accelerator.prepare(parts.model, descent(settings, parts.model))
        check_sharded(model)
        whole = {name: p.full_tensor() for name, p in model.named_parameters()}
        is_trained = {name: p.requires_grad for name, p in model.named_parameters()}
        if accelerator.is_main_process:
            expected = dict(assemble(settings, CPU).model.named_parameters())
            assert whole.keys() == expected.keys()
            for name, value in expected.items():
                assert torch.equal(whole[name], value), name
                assert whole[name].dtype == value.dtype
                assert is_trained[name] == value.requires_grad
        accelerator.wait_for_everyone()


def train(config: TrainConfig, accelerator: Accelerator) -> tuple[loop.Parts, loop.Result]:
    parts = assembled(config, accelerator)
    result = loop.train(config, parts, accelerator)
    check_sharded(parts.model)
    return parts, result


def save(result: loop.Result, accelerator: Accelerator, path: Path) -> None:
    """The main process has whole weights, the others none."""
    assert not any(isinstance(value, DTensor) for value in result.weights.values())
    assert bool(result.weights) == accelerator.is_main_process
    if accelerator.is_main_process:
        save_file(result.weights, path)


def full(out: Path, *files: Path) -> None:
    """One run of four steps; one of two steps that is gone on with in a second call."""
    with mock.patch.object(loop, "make_optimizer", descent):
        whole = config(out / "whole", *files)
        _, result = train(whole, accelerator := sharding_accelerator())
        save(result, accelerator, out / "whole.safetensors")
        if accelerator.is_main_process:
            shutil.copytree(out / "whole", out / "resumed")
            shutil.rmtree(out / "resumed" / "checkpoints" / "step_00000004")
        accelerator.wait_for_everyone()
        _, result = train(config(out / "resumed", *files), accelerator := sharding_accelerator())
        save(result, accelerator, out / "resumed.safetensors")
        # Without an average, one step.
        plain = config(out / "plain", *files, optimizer={"ema_decay": 0}, run={"num_steps": 1})
        _, result = train(plain, accelerator := sharding_accelerator())
        save(result, accelerator, out / "plain.safetensors")


def lora(out: Path, *files: Path) -> None:
    """The base is sharded as well, and does not move; AdamW as it ships."""
    small = config(out / "lora", *files, **LORA)
    parts, result = train(small, accelerator := sharding_accelerator())
    trained = {name for name, p in parts.model.named_parameters() if p.requires_grad}
    assert len(trained) < len(list(parts.model.parameters()))
    assert not accelerator.is_main_process or set(result.weights) == trained
    save(result, accelerator, out / "lora.safetensors")
    longer = config(out / "lora", *files, **LORA | {"run": {"num_steps": 3}})
    _, result = train(longer, accelerator := sharding_accelerator())
    save(result, accelerator, out / "longer_lora.safetensors")


def bfloat16(out: Path, *files: Path) -> None:
    """Weights compute in bfloat16 and are kept in float32; t arrives as it was drawn."""
    low = config(out / "bfloat16", *files, run={"num_steps": 1})
    accelerator = sharding_accelerator("bf16")
    parts = assembled(low, accelerator)
    seen: list[torch.Tensor] = []
    embedding = parts.model.backbone.transformer.time_embed
    embedding.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    dtypes = set()
    projection = parts.model.backbone.transformer.transformer_blocks[0].attn1.to_q
    projection.register_forward_hook(lambda _m, _i, output: dtypes.add(output.dtype))
    result = loop.train(low, parts, accelerator)
    check_sharded(parts.model)
    assert {p.dtype for p in parts.model.parameters()} == {torch.float32}
    assert dtypes == {torch.bfloat16}
    assert seen
    for times in seen:
        assert times.dtype == torch.float32
        t = times[times > 0] / parts.model.backbone.transformer.config.timestep_scale_multiplier
        assert not torch.allclose(t, t.bfloat16().float(), rtol=1e-5)
    save(result, accelerator, out / "bfloat16.safetensors")


def validated(out: Path, *files: Path, accelerator: Accelerator) -> None:
    """The command as users give it, which validates the averages after each of two steps."""
    photo = out / f"photo_{accelerator.process_index}.png"
    drawn_faces.write_photo(photo, drawn_faces.RED)
    # Two processes have three items between them.
    items = [{"prompt": f"a man {does}", "photo": photo} for does in ("walks", "runs", "sits")]
    section = {"every": 1, "items": items, "text_encoder": "miniature", "num_steps": 2}
    settings = config(out / "validated", *files, validation=section, run={"num_steps": 2})
    recipe = out / f"recipe_{accelerator.process_index}.yaml"
    recipe.write_text(settings.to_yaml())
    latents: list[torch.Tensor] = []
    sampled: list[str] = []

    class Recording(Validator):
        def sample(self, case):
            sampled.append(case.item.prompt)
            assert accelerator.num_processes == 1 or all(
                isinstance(p, DTensor) for p in self.model.parameters()
            )
            return super().sample(case)

        def decode(self, latent):
            latents.append(latent)
            return super().decode(latent)

    with (
        mock.patch.object(loop, "make_optimizer", descent),
        mock.patch.object(run, "make_accelerator", lambda _: accelerator),
        mock.patch.object(run, "Validator", Recording),
    ):
        run.main(argparse.Namespace(config=recipe, changes=[], rehearse=False))
    assert len(latents) == (6 if accelerator.is_main_process else 0)
    # In each of two validations, where the second process samples once for nothing.
    own = (
        ["a man walks", "a man sits"]
        if accelerator.is_main_process
        else ["a man runs", "a man sits"]
    )
    assert accelerator.num_processes == 1 or sampled == 2 * own
    if accelerator.is_main_process:
        save_file({f"latent_{i}": x for i, x in enumerate(latents)}, out / "latents.safetensors")


def unsharded(out: Path, *files: Path) -> None:
    """The same runs in this process alone, for comparison."""
    lone = {
        "whole": config(out / "whole", *files),
        "plain": config(out / "plain", *files, optimizer={"ema_decay": 0}, run={"num_steps": 1}),
    }
    with mock.patch.object(loop, "make_optimizer", descent):
        for name, settings in lone.items():
            result = loop.train(settings, assemble(settings, CPU), Accelerator(cpu=True))
            save_file(result.weights, out / f"{name}.safetensors")
    small = config(out / "lora", *files, **LORA | {"run": {"num_steps": 3}})
    loop.train(small, assemble(small, CPU), Accelerator(cpu=True))
    validated(out, *files, accelerator=Accelerator(cpu=True))


def main() -> None:
    torch.set_num_threads(1)
    out, checkpoint, cache = map(Path, sys.argv[1:])
    os.environ |= {k: v for k, v in launch_environment(FSDP2).items() if k.startswith("FSDP_")}
    if os.environ["RANK"] != "0":
        Checkpoint.read = no_reading
    for case in (loaded, full, lora, bfloat16):
        case(out, checkpoint, cache)
    # Last: the command ends with its processes.
    validated(out, checkpoint, cache, accelerator=sharding_accelerator())


if __name__ == "__main__":
    main()
    # All is done and checked: on a busy machine gloo's threads, still there, sometimes abort a
    # Python that is being taken down ("terminate called without an active exception").
    sys.stdout.flush()
    os._exit(0)
