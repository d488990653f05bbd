"""Encode Reference Latent: exactly the previewed pixels, by the same VAE as diffusers'."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.comfyui import HostError, Worker
from helpers.found_faces import embedded_face
from helpers.real_photo import astronaut
from PIL import Image, ImageCms
from safetensors.torch import load_file

from stdrc_core.ltx.vae import load_vae
from stdrc_core.method.reference import Fit, fit_reference
from stdrc_core.photo_file import load_opaque_photo, load_photo, read_color
from stdrc_core.train.references import given_reference

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """`[1, 512, 512, 3]` in [0, 1]."""
    return torch.from_numpy(astronaut()).float()[None] / 255


def test_preview_is_what_was_encoded_and_the_latent_what_diffusers_makes_of_it(
    host: Worker, mini_checkpoint: Path, photo: torch.Tensor
) -> None:
    got = host("encode.photo", image=photo, height=4, width=6)
    assert got["reference"].shape == (1, 128, 1, 4, 6)
    assert got["preview"].shape == (1, 128, 192, 3)
    assert torch.equal(got["reference"], got["preview_encoded"])
    expected = diffusers_encode(mini_checkpoint, got["preview"])
    assert torch.allclose(got["reference"], expected, atol=1e-4)


def diffusers_encode(checkpoint: Path, pixels: torch.Tensor) -> torch.Tensor:
    from diffusers.loaders.single_file_utils import convert_ltx2_vae_to_diffusers

    from stdrc_core.mini_build.random_weights import build_vae

    weights = {k: v.float() for k, v in load_file(checkpoint).items() if k.startswith("vae.")}
    vae = build_vae().eval()
    vae.load_state_dict(convert_ltx2_vae_to_diffusers(weights), strict=True)
    video = pixels.movedim(-1, 1)[:, :, None] * 2 - 1
    with torch.no_grad():
        latent = vae.encode(video).latent_dist.mode()
    return (latent - vae.latents_mean[:, None, None, None]) / vae.latents_std[:, None, None, None]


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_square_photo_in_a_wide_frame(host: Worker, photo: torch.Tensor, fit: str) -> None:
    got = host("encode.photo", image=photo, height=4, width=6, fit=fit, pad_color="#ff0000")
    red = torch.tensor([1.0, 0.0, 0.0])
    left, right = got["preview"][0, :, :32], got["preview"][0, :, -32:]
    padded = bool(torch.all(left == red)) and bool(torch.all(right == red))
    assert padded is (fit == "pad")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_rgb_and_transparent_images(host: Worker, channels: int) -> None:
    got = host("encode.photo", image=torch.rand(1, 70, 50, channels), height=3, width=3)
    assert got["preview"].shape == (1, 96, 96, 3)
    assert torch.isfinite(got["reference"]).all()


@pytest.fixture
def cut_out(photo: torch.Tensor, tmp_path: Path) -> Path:
    """A PNG with a soft edge: all levels of alpha."""
    pixels = (photo[0, 100:228, 100:228].numpy() * 255).round().astype(np.uint8)
    alpha = np.tile(np.linspace(0, 255, 128).round().astype(np.uint8), (128, 1))
    path = tmp_path / "cut_out.png"
    Image.fromarray(np.dstack((pixels, alpha))).save(path)
    return path


@pytest.mark.parametrize("pad_color", ["#000000", "#3399ff"])
@pytest.mark.parametrize("fit", ["pad", "crop", "native"])
def test_load_images_mask_gives_the_pixels_that_the_command_line_reads(
    host: Worker, cut_out: Path, fit: str, pad_color: str
) -> None:
    """Core's Load Image against `load_photo`, which reads the file's alpha itself."""
    got = host("encode.loaded", path=str(cut_out), height=3, width=5, fit=fit, pad_color=pad_color)
    height, width = (128, 128) if fit == "native" else (96, 160)
    expected = fit_reference(
        load_photo(cut_out),
        height,
        width,
        fit=Fit.PAD if fit == "pad" else Fit.CROP,
        pad_color=read_color(pad_color),
    )
    assert got["preview"].shape == expected.shape
    assert (got["preview"] - expected).abs().max() < 1e-5
    without = host("encode.loaded", path=str(cut_out), height=3, width=5, fit=fit, use_mask=False)
    assert (without["preview"] - expected).abs().max() > 0.1


def write_cut_out(path: Path, kind: str) -> Path:
    """A photo with a hole and a soft edge, as programs save it; returns its path."""
    pixels = astronaut()[100:196, 100:228]
    alpha = np.tile(np.linspace(0, 255, 128).round().astype(np.uint8), (96, 1))
    alpha[20:40, 60:90] = 0
    rgba = Image.fromarray(np.dstack((pixels, alpha)))
    if kind == "RGBA":
        rgba.save(path)
    elif kind == "RGBA, 16 bit":
        write_png(path, 6, np.dstack((pixels, alpha)).astype(np.uint16) * 257)
    elif kind == "LA":
        rgba.convert("LA").save(path)
    elif kind == "LA, 16 bit":
        grey = np.asarray(rgba.convert("LA"))
        write_png(path, 4, grey.astype(np.uint16) * 257)
    elif kind == "palette with one transparent colour":
        image = Image.fromarray(pixels).quantize(32)
        image.save(path, transparency=3)
    elif kind == "palette with levels of transparency":
        image = Image.fromarray(pixels).quantize(32)
        image.save(path, transparency=bytes(range(0, 256, 8)))
    elif kind == "RGBA, turned by EXIF":
        exif = Image.Exif()
        exif[0x0112] = 6
        rgba.save(path, exif=exif)
    elif kind == "RGBA, interlaced WebP":
        path = path.with_suffix(".webp")
        rgba.save(path, lossless=True, exact=True)
    elif kind == "TIFF":
        path = path.with_suffix(".tiff")
        rgba.save(path)
    elif kind == "RGBA with sRGB's profile":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        rgba.save(path, icc_profile=profile)
    elif kind == "RGBA, opaque":
        Image.fromarray(np.dstack((pixels, np.full_like(alpha, 255)))).save(path)
    elif kind == "RGBA, all transparent":
        Image.fromarray(np.dstack((pixels, np.zeros_like(alpha)))).save(path)
    return path


def write_png(path: Path, color_type: int, values: np.ndarray) -> None:
    """A PNG of 16 bits a channel, which Pillow cannot write (PNG, sections 5 and 11.2.2)."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    chunks = {b"IHDR": head, b"IDAT": zlib.compress(data), b"IEND": b""}
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in chunks.items():
            check = zlib.crc32(name + body)
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", check))


CUT_OUTS = (
    "RGBA",
    "RGBA, 16 bit",
    "LA",
    "LA, 16 bit",
    "palette with one transparent colour",
    "palette with levels of transparency",
    "RGBA, turned by EXIF",
    "RGBA, interlaced WebP",
    "TIFF",
    "RGBA with sRGB's profile",
    "RGBA, opaque",
    "RGBA, all transparent",
)


@pytest.mark.parametrize("pad_color", ["#000000", "#ffffff", "#3399ff"])
@pytest.mark.parametrize("kind", CUT_OUTS)
def test_generate_and_prepare_see_a_cut_out_as_the_node_does(
    host: Worker, tmp_path: Path, kind: str, pad_color: str
) -> None:
    """All kinds of transparency; `prepare` has black alone, as training has."""
    path = write_cut_out(tmp_path / "cut_out.png", kind)
    node = host("encode.loaded", path=str(path), height=3, width=4, pad_color=pad_color)["preview"]
    color = read_color(pad_color)
    by_generate = fit_reference(load_opaque_photo(path, color), 96, 128, pad_color=color)
    # Pillow keeps 8 of 16 bits, ComfyUI may keep all; its own grey is off by up to two levels.
    within = (2.01 if kind == "LA" else 1.01) / 255
    assert (node - by_generate).abs().max() <= within
    if pad_color == "#000000":
        (found,) = given_reference(path, Anywhere(), (96, 128))
        by_prepare = fit_reference(found.pixels[None].float() / 255, 96, 128)
        assert (node - by_prepare).abs().max() <= 2 * within


class Anywhere:
    """Finds a face in every picture."""

    name = "anywhere"

    def find(self, frames: torch.Tensor) -> list:
        return [(embedded_face([1.0, 0.0]),)] * len(frames)


def test_a_photo_without_alpha_has_load_images_empty_mask(
    host: Worker, photo: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "opaque.jpg"
    Image.fromarray((photo[0, :200, :160].numpy() * 255).round().astype(np.uint8)).save(path)
    got = host("encode.loaded", path=str(path), height=3, width=5)
    without = host("encode.loaded", path=str(path), height=3, width=5, use_mask=False)
    assert got["mask"].shape == (1, 64, 64)
    assert torch.equal(got["preview"], without["preview"])


def test_an_rgba_image_beside_its_own_mask_is_the_rgba_image_alone(
    host: Worker, cut_out: Path
) -> None:
    rgba = load_photo(cut_out)
    options = {"image": rgba, "height": 3, "width": 5, "pad_color": "white"}
    alone = host("encode.photo", **options)
    both = host("encode.photo", **options, mask=1 - rgba[..., 3])
    assert (alone["preview"] - both["preview"]).abs().max() < 1e-6


@pytest.mark.parametrize(("held_frames", "num_latent"), [(1, 1), (9, 2), (33, 5), (0, 2)])
def test_a_held_photo_is_the_clip_of_it(
    host: Worker, mini_checkpoint: Path, photo: torch.Tensor, held_frames: int, num_latent: int
) -> None:
    """Against the clip that this project's own reader of the VAE encodes; T is 2."""
    got = host("encode.photo", image=photo, height=3, width=5, held_frames=held_frames)
    assert got["reference"].shape == (1, 128, num_latent, 3, 5)
    assert got["preview"].shape == (1, 96, 160, 3)
    vae = load_vae(mini_checkpoint)
    clip = got["preview"].expand(8 * num_latent - 7, -1, -1, -1).movedim(-1, 0)[None] * 2 - 1
    with torch.no_grad():
        expected = vae.encode(clip)
    assert torch.allclose(got["reference"], expected, atol=1e-4)


@pytest.mark.parametrize("vae", ["convolutional", "diffusion"])
@pytest.mark.parametrize("size", [(65, 129), (64, 96), (95, 40), (31, 7), (160, 161)])
@pytest.mark.parametrize("fit", ["native", "pad", "crop"])
def test_what_is_encoded_is_a_whole_number_of_steps_of_either_vae(
    host: Worker, fit: str, size: tuple[int, int], vae: str
) -> None:
    """The host leaves the sides of a photo as they are for one of them."""
    if vae == "diffusion" and not host("encode.knows_diffusion_vae"):
        pytest.skip("this ComfyUI does not know LTX-2.5's VAE with a diffusion decoder")
    assert host("encode.crops_photos", vae=vae) is (vae == "convolutional")
    image = torch.rand(1, *size, 3, generator=torch.Generator().manual_seed(1))
    got = host("encode.photo", image=image, height=2, width=3, fit=fit, vae=vae)
    steps = [max(1, side // 32) for side in size] if fit == "native" else [2, 3]
    assert list(got["reference"].shape) == [1, 128, 1, *steps]
    assert list(got["preview"].shape) == [1, *(32 * side for side in steps), 3]
    assert torch.equal(got["reference"], got["preview_encoded"])
    assert torch.isfinite(got["reference"]).all()


@pytest.mark.parametrize("fit", ["native", "pad"])
def test_a_vae_of_other_steps_than_it_says_is_refused(host: Worker, fit: str) -> None:
    """The host takes the tiny autoencoder's step for 16 pixels; it is 32."""
    image = torch.rand(1, 64, 96, 3)
    with pytest.raises(HostError) as raised:
        host("encode.photo", image=image, height=4, width=6, fit=fit, vae="preview")
    assert raised.value.kind == "ValueError"
    for part in ("vae", "64 x 96 pixels", "[1, 128, 1, 4, 6]", "VAE of the LTX checkpoint"):
        assert part in raised.value.message
    assert raised.value.message.endswith(".")
