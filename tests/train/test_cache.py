"""The cache: what goes in comes out, whatever dies in between."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.cached_samples import EMPTY, MANIFEST, SAMPLES, assert_same, write_samples
from safetensors.torch import load_file

from stdrc_core.train import cache_writer
from stdrc_core.train.cache import Cache
from stdrc_core.train.cache_writer import CacheWriter


def test_samples_come_back_bit_for_bit_in_the_order_of_their_ids(tmp_path: Path):
    write_samples(tmp_path, SAMPLES, shard_size=2)
    cache = Cache(tmp_path)
    assert len(cache) == 5
    assert cache.ids == [f"folder/{name}.mp4" for name in "abcde"]
    for sample, expected in zip(cache, sorted(SAMPLES, key=lambda s: s.id), strict=True):
        assert_same(sample, expected)
    assert torch.equal(cache.empty_context, EMPTY.bfloat16())
    assert cache.manifest == MANIFEST


def test_the_layout_on_disk_is_the_documented_one(tmp_path: Path):
    write_samples(tmp_path, SAMPLES, shard_size=2, rank=3)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    shards = [f"shards/003-{i:05d}.safetensors" for i in range(3)]
    assert files == ["common.safetensors", "manifest.json", "samples.jsonl", *shards]
    tensors = load_file(tmp_path / shards[0])
    assert tensors["folder/d.mp4/latent"].dtype == torch.bfloat16
    assert tensors["folder/d.mp4/reference"].dtype == torch.uint8
    assert tensors["folder/d.mp4/has_face"].dtype == torch.bool
    lines = [
        json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().split("\n") if line
    ]
    assert [line["shard"] for line in lines[:3]] == ["003-00000.safetensors"] * 2 + [
        "003-00001.safetensors"
    ]


def test_two_ranks_fill_one_cache(tmp_path: Path):
    with (
        CacheWriter(tmp_path, MANIFEST, EMPTY, rank=0, shard_size=1) as first,
        CacheWriter(tmp_path, MANIFEST, EMPTY, rank=1, shard_size=1) as second,
    ):
        for i, sample in enumerate(SAMPLES):
            (first, second)[i % 2].add(sample)
    for sample, expected in zip(Cache(tmp_path), sorted(SAMPLES, key=lambda s: s.id), strict=True):
        assert_same(sample, expected)


def test_what_was_not_flushed_is_made_again(tmp_path: Path):
    """A run killed between two shards: the second run knows what is on disk, and only that."""
    writer = CacheWriter(tmp_path, MANIFEST, EMPTY, shard_size=2)
    for sample in SAMPLES[:3]:
        writer.add(sample)
    again = CacheWriter(tmp_path, MANIFEST, EMPTY, shard_size=2)
    assert again.ids == {"folder/d.mp4", "folder/a.mp4"}
    with again:
        for sample in SAMPLES[2:]:
            again.add(sample)
    assert Cache(tmp_path).ids == [f"folder/{name}.mp4" for name in "abcde"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code may catch it."""


@pytest.mark.parametrize("moment", ["save_file", "append_lines"])
def test_killed_while_writing_a_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str):
    """Half a shard, or a whole one that no line speaks of: neither counts or is in the way."""

    def die(first: object, *args: object, **kwargs: object) -> None:
        if moment == "save_file":
            Path(args[0]).write_bytes(b"half")
        raise Killed

    write_samples(tmp_path, SAMPLES[:2], shard_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(cache_writer, moment, die)
        # A killed process does not clean up either.
        patch.setattr(Path, "unlink", lambda *args, **kwargs: None)
        with pytest.raises(Killed):
            write_samples(tmp_path, SAMPLES[2:4], shard_size=2)
    assert len(Cache(tmp_path)) == 2
    write_samples(tmp_path, SAMPLES[2:], shard_size=2)
    assert Cache(tmp_path).ids == [f"folder/{name}.mp4" for name in "abcde"]
    assert not list(tmp_path.rglob("*.partial"))
    assert len(list((tmp_path / "shards").iterdir())) == 3


def test_a_full_disk_is_told_and_costs_only_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    write_samples(tmp_path, SAMPLES[:2], shard_size=2)
    with monkeypatch.context() as patch:
        patch.setattr(cache_writer, "save_file", full)
        with pytest.raises(
            OSError, match=r"000-00001\.safetensors could not be written .*No space"
        ):
            write_samples(tmp_path, SAMPLES[2:4], shard_size=2)
    assert not list(tmp_path.rglob("*.partial"))
    assert Cache(tmp_path).ids == ["folder/a.mp4", "folder/d.mp4"]
    write_samples(tmp_path, SAMPLES[2:], shard_size=2)
    assert len(Cache(tmp_path)) == 5


def test_a_torn_last_line_costs_its_sample_and_no_other(tmp_path: Path):
    write_samples(tmp_path, SAMPLES[:2], shard_size=1)
    path = tmp_path / "samples.jsonl"
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert Cache(tmp_path).ids == ["folder/d.mp4"]
    write_samples(tmp_path, SAMPLES[1:3], shard_size=1)
    assert Cache(tmp_path).ids == ["folder/a.mp4", "folder/c.mp4", "folder/d.mp4"]


def test_a_damaged_shard_is_named_and_can_be_made_again(tmp_path: Path):
    write_samples(tmp_path, SAMPLES[:2], shard_size=1)
    shard = tmp_path / "shards" / "000-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    cache = Cache(tmp_path)
    assert_same(cache[0], SAMPLES[1])
    with pytest.raises(ValueError, match=r"000-00000\.safetensors is missing or damaged"):
        cache[1]
    shard.unlink()
    with pytest.raises(ValueError, match=r"000-00000\.safetensors is missing or damaged"):
        cache[1]
    write_samples(tmp_path, SAMPLES[:1])
    assert_same(Cache(tmp_path)[1], SAMPLES[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_frames", 17), ("fps", 25.0), ("checkpoint_fingerprint", "x"), ("face_pack", "y")],
)
def test_other_settings_do_not_mix(tmp_path: Path, field: str, value: object):
    write_samples(tmp_path, SAMPLES[:1])
    with pytest.raises(ValueError, match=f"made with {field} "):
        CacheWriter(tmp_path, replace(MANIFEST, **{field: value}), EMPTY)


def test_a_cache_for_a_model_of_another_size_says_both_sizes(tmp_path: Path):
    write_samples(tmp_path, SAMPLES[:1])
    cache = Cache(tmp_path)
    right = {"context_dim": 6, "latent_channels": MANIFEST.latent_channels}
    cache.require(**right)
    for name, what in (("context_dim", "prompts"), ("latent_channels", "latents")):
        with pytest.raises(ValueError, match=f"its {what} have {right[name]} .* needs 160"):
            cache.require(**right | {name: 160})


def test_what_is_no_cache(tmp_path: Path):
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        Cache(tmp_path)
    CacheWriter(tmp_path, MANIFEST, EMPTY)
    with pytest.raises(ValueError, match="holds no samples"):
        Cache(tmp_path)
    values = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(values | {"format_version": 99}))
    with pytest.raises(ValueError, match="format version 99"):
        Cache(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match="could not be read"):
        Cache(tmp_path)


def test_an_id_is_added_once(tmp_path: Path):
    with pytest.raises(ValueError, match=r"folder/d\.mp4 is in the cache already"):
        write_samples(tmp_path, [SAMPLES[0], SAMPLES[0]])
