"""What downloads leave in the place of a file: each reader says what lies there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.one_sentence import assert_one_sentence

from stdrc_core.faces.onnx_file import read_onnx
from stdrc_core.ltx.checkpoint_files import open_checkpoint
from stdrc_core.ltx.lora_file import read_metadata
from stdrc_core.photo_file import load_photo
from stdrc_core.video import count_frames, probe

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + 64 * b"a" + b"\nsize 46149344\n"
LEFT = {
    "Git LFS": (LFS, "a pointer of Git LFS: git lfs pull brings the file"),
    "Git LFS, with CRLF": (LFS.replace(b"\n", b"\r\n"), "a pointer of Git LFS"),
    "a login": (b"<!DOCTYPE html>\n<html lang=en>" + 5000 * b" ", "it is a web page"),
    "a login of a proxy": (b"\r\n<HTML><HEAD><TITLE>302</TITLE>", "it is a web page"),
    "an answer": (b'{"error":"Unauthorized",\n"message":"x"}', 'answer: {"error":"Unauthorized",'),
    "nothing": (b"", "it is empty"),
}
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a checkpoint": ("ltx.safetensors", open_checkpoint),
    "a LoRA": ("lora.safetensors", read_metadata),
    "a photo": ("ann.png", load_photo),
    "a clip": ("clip.mp4", probe),
    "a clip that is counted": ("clip.mov", count_frames),
    "a model of faces": ("det_10g.onnx", read_onnx),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("left", LEFT)
def test_what_lies_there_is_said(tmp_path: Path, reader: str, left: str):
    content, says = LEFT[left]
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as raised:
        read(tmp_path / name)
    if (reader, left) != ("a model of faces", "nothing"):  # No bytes are a model without a graph.
        assert says in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)
    assert_one_sentence(raised.value)
