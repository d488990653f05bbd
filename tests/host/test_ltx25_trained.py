"""LTX-2.5 from split files: text, VAE and weights in 8 bits are the host's, and a LoRA that was
prepared, trained and exported by the commands is sampled by the host as by the trainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import tiny_diffusion_vae, tiny_gemma4, tiny_ltx, tiny_ltx25
from helpers.comfyui import Worker
from helpers.packed import FORMATS, packed_file
from helpers.tiny_ltx25 import Files

from stdrc_core.ltx.backbone import load_backbone
from stdrc_core.ltx.checkpoint_files import open_checkpoint
from stdrc_core.ltx.lora import merge_lora
from stdrc_core.ltx.text import NUM_TOKENS, GemmaText, load_gemma
from stdrc_core.ltx.trained_for import from_metadata
from stdrc_core.ltx.vae import load_vae
from stdrc_core.method.guidance_options import GuidanceOptions
from stdrc_core.method.sampling import sample, sigma_schedule

pytestmark = pytest.mark.host

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def knows_ltx_2_5(host: Worker) -> None:
    if not host("backbone.knows_ltx_2_5"):
        pytest.skip("this ComfyUI does not know LTX-2.5")


@pytest.fixture(scope="module")
def files(mini_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    return tiny_ltx25.write_files(tmp_path_factory.mktemp("ltx25"), mini_checkpoint)


@pytest.fixture(scope="module")
def text(files: Files) -> GemmaText:
    return load_gemma(files.text_encoder, files.transformer, CPU, torch.float32)


@pytest.mark.parametrize("caption", ["a red car turns left", "", "rain " * 300])
def test_a_caption_becomes_the_hosts_context(
    host: Worker, files: Files, text: GemmaText, caption: str
) -> None:
    ours = text.encode(caption)
    theirs = host(
        "ltx25_text.context",
        transformer=str(files.transformer),
        text_encoder=str(files.text_encoder),
        text=caption.strip(),
    )
    assert theirs.shape[1] == NUM_TOKENS
    torch.testing.assert_close(ours, theirs[0, :, : ours.shape[-1]], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_latents", [[1, 3, 4], [2, 3, 3]])
def test_the_diffusion_vae_is_the_hosts(
    host: Worker, tmp_path: Path, num_latents: list[int]
) -> None:
    """Smaller than its windows in time and space; encoder and decoder."""
    path = tmp_path / "vae.safetensors"
    tensors = tiny_diffusion_vae.file_tensors(*tiny_diffusion_vae.build())
    tiny_diffusion_vae.write(path, tensors)
    vae = load_vae(path)
    generator = torch.Generator().manual_seed(5)
    time, height, width = num_latents
    pixels = torch.rand(1, 8 * time - 7, 32 * height, 32 * width, 3, generator=generator)
    latents = torch.randn(1, 128, *num_latents, generator=generator)
    got = host("ltx25_vae.encode_and_decode", path=str(path), pixels=pixels, latents=latents)
    with torch.no_grad():
        encoded = vae.encode(pixels.movedim(-1, 1) * 2 - 1)
        decoded = ((vae.decode(latents).movedim(1, -1) + 1) / 2).clamp(0, 1)
    torch.testing.assert_close(encoded, got["latents"], atol=1e-4, rtol=1e-4)
    assert decoded.std() > 0.05
    torch.testing.assert_close(decoded, got["pixels"].reshape(decoded.shape), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", FORMATS)
def test_weights_in_8_bits_are_read_back_as_the_host_does(
    host: Worker, tmp_path: Path, kind: str
) -> None:
    if not host("packed.can_unpack"):
        pytest.skip("this ComfyUI does not know int8 weights")
    whole = tiny_ltx.file_tensors(tiny_ltx.build_tiny(tiny_ltx.LTX_2_5))
    path = packed_file(tmp_path / "packed.safetensors", whole, kind, tiny_ltx.LTX_2_5)
    theirs = host("packed.unpacked", path=str(path))
    ours = dict(open_checkpoint(path).read(theirs, dtype=torch.float32, device="cpu"))
    assert len(theirs) == 20
    for name, expected in theirs.items():
        torch.testing.assert_close(ours[name], expected, atol=1e-6, rtol=1e-5)


def test_prepared_trained_exported_and_sampled(
    host: Worker, files: Files, text: GemmaText, tmp_path: Path
) -> None:
    lora = tiny_ltx25.trained(tmp_path, files)
    assert from_metadata(open_checkpoint(lora).metadata).base_version == "2.5"
    backbone = load_backbone(files.transformer, dtype=torch.float32).eval()
    merge_lora(backbone, lora)
    vae = load_vae(files.vae)
    photo = torch.rand(1, 96, 96, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        reference = vae.encode_photos([photo], 96, 96, CPU)
    shape, frame_rate, steps, seed = (1, 128, 3, 3, 3), 24.0, 4, 9
    got = host(
        "ltx25_trained.sample",
        transformer=str(files.transformer),
        text_encoder=str(files.text_encoder),
        lora=str(lora),
        text=tiny_ltx25.CAPTION,
        reference=reference,
        num_frames=shape[2],
        steps=steps,
        seed=seed,
        frame_rate=frame_rate,
    )
    with torch.no_grad():
        ours = sample(
            lambda video, t, context, own: backbone(
                video, t, context, frame_rate=frame_rate, reference=own
            ),
            torch.randn(shape, generator=torch.Generator().manual_seed(seed)),
            sigma_schedule(steps),
            text=text.encode(tiny_ltx25.CAPTION)[None],
            empty=text.encode("")[None],
            reference=reference,
            guidance=GuidanceOptions(),
        )
    assert relative_difference(ours, got["1"]) < 1e-4
    # What was learned is in it.
    assert relative_difference(got["0"], got["1"]) > 1e-3


def relative_difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_the_tokenizer_puts_bos_before_a_text(text: GemmaText) -> None:
    """Gemma 4's own does not, the host does."""
    ids = text.tokenizer(tiny_ltx25.CAPTION)["input_ids"]
    assert ids[0] == tiny_gemma4.SPECIAL.index("<bos>")
    assert len(ids) == 1 + len(tiny_ltx25.CAPTION.split())
