"""Files that cannot be written, by the libraries' own errors: a limit stands for a full disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as sharded
from helpers import mini_run, stand_in_run
from helpers.one_sentence import refused
from safetensors.torch import load_file, save_file

from stdrc_core.ltx.checkpoint import write_tensors
from stdrc_core.train.__main__ import main
from stdrc_core.train.checkpoint_weights import read_weights
from stdrc_core.train.checkpoints import CheckpointFolder

resource = pytest.importorskip("resource", reason="needs limits on the size of files")

WEIGHTS = {"a": torch.arange(100_000.0)}
# More than what is not weights, less than WEIGHTS or those of a miniature run.
LIMIT_BYTES = 20_000


@contextmanager
def files_limited() -> Iterator[None]:
    """Python ignores the signal that comes with the error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def save_sharded(path: Path) -> None:
    with pytest.warns(UserWarning, match="single process"):
        sharded.save(
            {"model": WEIGHTS},
            storage_writer=sharded.FileSystemWriter(path / "pytorch_model_fsdp_0"),
            no_dist=True,
        )


@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_file(WEIGHTS, path / "model.safetensors"),
        lambda path: torch.save(WEIGHTS, path / "optimizer.bin"),
        # Only its end is too much.
        lambda path: torch.save(torch.zeros(4_750), path / "optimizer.bin"),
        lambda path: (path / "random_states_0.pkl").write_bytes(bytes(2 * LIMIT_BYTES)),
        save_sharded,
    ],
    ids=["safetensors", "torch", "torch's end", "python", "sharded"],
)
def test_a_full_disk_is_one_sentence_and_leaves_the_older_checkpoints(
    tmp_path: Path, save: Callable[[Path], None]
):
    folder = CheckpointFolder(path=tmp_path / "checkpoints", keep=2)
    for step in (1, 2, 3):
        folder.write(step, lambda path, step=step: (path / "w").write_text(str(step)))
    with files_limited(), pytest.raises(OSError, match="free space") as raised:
        folder.write(4, save)
    said = str(raised.value)
    assert said.startswith(f"checkpoint {folder.path / 'step_00000004'} could not be written (")
    assert said.endswith("make room and give the same command again.")
    assert "\n" not in said
    assert sorted(p.name for p in folder.path.iterdir()) == ["step_00000002", "step_00000003"]
    path, step = folder.newest()
    assert (step, (path / "w").read_text()) == (3, "3")


def test_what_is_no_failure_to_write_stays_what_it_is(tmp_path: Path):
    def fails(path: Path) -> None:
        torch.ones(2) + torch.ones(3)

    with pytest.raises(RuntimeError, match="size of tensor"):
        CheckpointFolder(path=tmp_path, keep=2).write(4, fails)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path):
    left = tmp_path / ".partial_00000007"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    CheckpointFolder(path=tmp_path, keep=2).write(2, lambda path: None)
    assert [p.name for p in tmp_path.iterdir()] == ["step_00000002"]


def test_sharded_weights_are_put_together_on_a_disk_with_room_for_them(tmp_path: Path):
    config = stand_in_run.config(tmp_path, optimizer={"ema_decay": 0})
    checkpoint = CheckpointFolder.of(config.run).write(2, save_sharded)
    left = checkpoint.parent / ".merged_by_a_killed_export"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    with files_limited(), pytest.raises(OSError, match=r"whole weights of .*free space"):
        read_weights(checkpoint, config)
    weights = read_weights(checkpoint, config)
    assert torch.equal(weights["a"], WEIGHTS["a"])
    assert [p.name for p in checkpoint.parent.iterdir()] == [checkpoint.name]


def test_weights_that_do_not_fit_leave_those_that_were_there(tmp_path: Path):
    path = tmp_path / "weights.safetensors"
    write_tensors(path, {"b": torch.ones(2)}, {})
    with files_limited(), pytest.raises(OSError, match=r"weights\.safetensors could not .*space"):
        write_tensors(path, WEIGHTS, {})
    assert torch.equal(load_file(path)["b"], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


def test_run_and_export_end_with_the_sentence(
    tmp_path: Path, mini_checkpoint: Path, mini_cache: Path, capsys: pytest.CaptureFixture[str]
):
    def refusal(command: str, path: Path) -> str:
        with files_limited():
            return refused(capsys, main, [command, path], f"python -m stdrc_core.train {command}")

    sections = {"run": {"num_steps": 1, "trackers": []}}
    config = mini_run.config(tmp_path / "run", mini_checkpoint, mini_cache, **sections)
    (tmp_path / "recipe.yaml").write_text(config.to_yaml())
    assert refusal("run", tmp_path / "recipe.yaml").startswith("checkpoint ")
    assert not list((config.run.out / "checkpoints").iterdir())
    checkpoint = CheckpointFolder.of(config.run).write(
        1,
        lambda path: save_file(
            {"backbone.transformer.x.lora_A.default.weight": WEIGHTS["a"]},
            path / "model.safetensors",
        ),
    )
    said = refusal("export", config.run.out)
    name = f"stdrc_lora_{checkpoint.name}.safetensors"
    assert said.startswith(f"weights {config.run.out / name}")
    assert not list(config.run.out.glob("*.safetensors*"))
