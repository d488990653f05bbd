"""The miniature's stand-in for a text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import commands
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from stdrc_core.mini.prompt import encode_prompt

words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)


def test_a_prompt_has_the_width_that_the_checkpoint_reads(mini_checkpoint: Path):
    """The host splits one context into the video's and the audio's part."""
    block = "model.diffusion_model.transformer_blocks.0."
    with safe_open(mini_checkpoint, framework="pt") as file:
        video = file.get_slice(f"{block}attn2.to_k.weight").get_shape()[1]
        audio = file.get_slice(f"{block}audio_attn2.to_k.weight").get_shape()[1]
    for text in ("", "a red car", "word " * 500):
        embedding = encode_prompt(text)
        assert embedding.shape == (1, 32, video + audio)
        assert embedding.dtype == torch.float32


@settings(deadline=None, max_examples=30)
@given(text=st.lists(words, max_size=40).map(" ".join))
def test_a_prompt_is_deterministic_ignores_case_and_has_unit_variance(text: str):
    embedding = encode_prompt(text)
    assert torch.equal(encode_prompt(text), embedding)
    assert torch.equal(encode_prompt(text.upper()), embedding)
    assert embedding.mean().item() == pytest.approx(0, abs=0.07)
    assert embedding.var().item() == pytest.approx(1, abs=0.1)


@settings(deadline=None, max_examples=30)
@given(first=st.lists(words, max_size=10), second=st.lists(words, max_size=10))
def test_two_prompts_are_equal_only_when_their_words_are(first: list[str], second: list[str]):
    same = torch.equal(encode_prompt(" ".join(first)), encode_prompt(" ".join(second)))
    assert same == (first == second)


def test_word_order_counts_for_attention_which_sees_a_set_of_tokens():
    """A sum over tokens is as blind to their order as cross-attention is."""
    one, other = (encode_prompt(text).sum(dim=1) for text in ("dog bites man", "man bites dog"))
    assert (one - other).abs().max() > 0.1


def test_a_word_is_nearer_to_itself_elsewhere_than_to_another_word_in_its_place():
    red, blue = encode_prompt("a red car")[0, 1], encode_prompt("a blue car")[0, 1]
    elsewhere = encode_prompt("there goes a red car")[0, 3]
    same, other = (torch.cosine_similarity(red, token, dim=0) for token in (elsewhere, blue))
    assert same > other + 0.15


def test_a_noun_tells_which_adjective_stands_before_it():
    """Else the colours of "red shirt, blue wall" could not be told from "blue shirt, red wall"."""
    shirt, other = encode_prompt("red shirt")[0, 1], encode_prompt("blue shirt")[0, 1]
    assert torch.cosine_similarity(shirt, other, dim=0) < 0.85


def test_a_prompt_is_the_same_in_another_process(tmp_path: Path):
    path = tmp_path / "prompt.pt"
    code = (
        "import sys, torch; from stdrc_core.mini.prompt import encode_prompt;"
        "torch.save(encode_prompt('a red car'), sys.argv[1])"
    )
    commands.run("-c", code, path, environment={"PYTHONHASHSEED": "1"})
    assert torch.equal(torch.load(path), encode_prompt("a red car"))


def test_the_global_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    encode_prompt("a red car")
    assert torch.equal(torch.get_rng_state(), before)
