"""Files that a host builds as another model than they hold: one sentence, before any sampling."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.comfyui import HostError, Worker
from helpers.one_sentence import assert_one_clear_sentence

pytestmark = pytest.mark.host

# What the sentence has to say in a host that knows LTX-2.5, and in an older one.
WITHOUT_METADATA = ["config in its metadata", ".safetensors", "GGUF", "ComfyUI 0."]
NOT_KNOWN = ["model is an LTX-2.5", "ff_bias is False", "does not know", "newer ComfyUI"]
REFUSED = {
    "2.5 without metadata": (
        ["model is an LTX-2.5", "keyframes_abs_pos_embedding", "biases", *WITHOUT_METADATA],
        ["model is an LTX-2 ", "interleaved", "LTX-2.5 needs a newer ComfyUI", *WITHOUT_METADATA],
    ),
    "2.5 without metadata, GGUF": (
        ["model is an LTX-2.5", "interleaved", *WITHOUT_METADATA],
        NOT_KNOWN,
    ),
    "2.5 whose settings are of an older file": (
        ["model is an LTX-2.5", "biases that nobody trained", *WITHOUT_METADATA],
        # Nothing of the file's own is left there to tell it by.
        None,
    ),
    # Its layers have no biases, as in the file: it is as it was trained.
    "2.5 whose settings are of an older file, GGUF": (None, NOT_KNOWN),
    "2.5 with settings, GGUF": (None, NOT_KNOWN),
    "2.0 without metadata": (["model is an LTX-2 ", "interleaved", *WITHOUT_METADATA],) * 2,
    "2.0 without metadata, GGUF": (["model is an LTX-2 ", "interleaved", *WITHOUT_METADATA],) * 2,
    "2.0 with settings": (None, None),
    "2.0 with settings, GGUF": (None, None),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_the_files_is_refused_in_one_sentence(host: Worker, name: str) -> None:
    knowing, older = REFUSED[name]
    parts = knowing if host("backbone.knows_ltx_2_5") else older
    if parts is None:
        host("ltx25_files.patch", name=name)
        return
    assert_one_clear_sentence(host, "ltx25_files.patch", name, parts)


def test_the_self_check_says_it_too(host: Worker) -> None:
    assert "does not say" in host("ltx25_files.report", name="2.5 without metadata")
    assert "does not say" not in host("ltx25_files.report", name="2.0 with settings")


def test_ggufs_own_loader(host: Worker, gguf_folder: str, tmp_path: Path) -> None:
    with pytest.raises(HostError) as raised:
        host("ltx25_files.patch_ggufs_own", folder=gguf_folder, file_folder=str(tmp_path))
    assert raised.value.kind == "ValueError"
    parts = WITHOUT_METADATA if host("backbone.knows_ltx_2_5") else NOT_KNOWN
    for part in ["model is an LTX-2.5", *parts]:
        assert part in raised.value.message
