"""Encode Reference Latent: each photo, fitted into the frame, as one latent frame (Eq. 1)."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..stdrc_core.ltx.adapters import WHOLE_CLIP
from ..stdrc_core.method.grid import LTX_LATENT_CHANNELS, num_latent_frames
from ..stdrc_core.method.reference import Fit, fit_reference, with_transparency
from ..stdrc_core.photo_file import read_color
from .host.checks import check_finite
from .reference_list import OWN_SIZE

# A choice of `fit` beside those of `Fit`: the photo keeps its own size.
NATIVE = "native"
MAX_HELD_FRAMES = 2049


class STDRCEncodeReference(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="STDRCEncodeReference",
            display_name="Encode Reference Latent",
            category="ST-DRC",
            description=(
                "Fits a photo into the video's frame and encodes it with the video VAE: the "
                "reference for the ST-DRC guider. Every latent size needs its own. A batch of "
                "photos gives as many references."
            ),
            search_aliases=["st-drc", "reference", "identity", "face", "ltx"],
            inputs=[
                io.Image.Input(
                    "image",
                    tooltip="A photo of the person, any size and aspect, or a batch of photos.",
                ),
                io.Vae.Input("vae", tooltip="The LTX video VAE."),
                io.Latent.Input(
                    "latent",
                    tooltip="The video latent that will be sampled; it gives the size.",
                ),
                io.Combo.Input(
                    "fit",
                    options=[*(fit.value for fit in Fit), NATIVE],
                    default=Fit.PAD,
                    tooltip=(
                        "pad keeps the whole photo and fills the rest of the frame (the paper); "
                        "crop fills the frame and cuts what hangs over; native keeps the photo's "
                        "own size, for adapters of character sheets."
                    ),
                ),
                io.Color.Input(
                    "pad_color",
                    default="#000000",
                    tooltip="Colour of the padding, and where the photo is transparent.",
                ),
                io.Int.Input(
                    "held_frames",
                    optional=True,
                    default=1,
                    min=WHOLE_CLIP,
                    max=MAX_HELD_FRAMES,
                    step=8,
                    tooltip=(
                        "For how many frames the photo is held, 8n + 1, or 0 for the whole clip: "
                        "only for adapters that were trained so (Licon MSR 33, Ingredients 0). 1 "
                        "is one latent frame, as a rule."
                    ),
                    advanced=True,
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip=(
                        "From Load Image: 1 where the photo is transparent; one for all photos or "
                        "one for each. An RGBA image needs none."
                    ),
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="reference"),
                io.Image.Output(
                    display_name="preview", tooltip="Exactly the pixels that were encoded."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: io.Image.Type,
        vae: io.Vae.Type,
        latent: io.Latent.Type,
        fit: str,
        pad_color: str,
        held_frames: int = 1,
        mask: io.Mask.Type | None = None,
    ) -> io.NodeOutput:
        image = with_transparency(image, mask)
        clip_frames, height, width = _clip_size_px(latent, vae)
        num_frames = _checked_length(held_frames, clip_frames, vae)
        if fit == NATIVE:
            height, width = _own_size_px(image, vae)
        framing = Fit.CROP if fit == NATIVE else Fit(fit)
        color = read_color(pad_color)
        preview = torch.cat(
            [
                fit_reference(photo, height, width, fit=framing, pad_color=color)
                for photo in image.split(1)
            ]
        )
        # Each photo is encoded as a clip of its own: the VAE would take a batch for one clip's
        # frames.
        reference = torch.cat(
            [vae.encode(photo.expand(num_frames, -1, -1, -1)) for photo in preview.split(1)]
        )
        step, rows_px, columns_px = vae.downscale_index_formula
        needed = (
            LTX_LATENT_CHANNELS,
            num_latent_frames(num_frames, step),
            height // rows_px,
            width // columns_px,
        )
        if reference.shape[1:] != needed:
            raise ValueError(
                f"vae made latents of shape {list(reference.shape)} of {height} x {width} pixels; "
                f"needs {[len(image), *needed]}, {needed[1]} frame(s) a photo: connect the VAE of "
                "the LTX checkpoint."
            )
        check_finite(reference, "the latent that vae made of image")
        encoded = {"samples": reference} | ({OWN_SIZE: True} if fit == NATIVE else {})
        return io.NodeOutput(encoded, preview, ui=ui.PreviewImage(preview, cls=cls))


def _own_size_px(image: Tensor, vae: io.Vae.Type) -> tuple[int, int]:
    """Returns height and width of the image in pixels, cut to whole latent steps, at least one.

    The host itself cuts photos to whole steps for LTX's VAE with a convolutional decoder, and for
    the one with a diffusion decoder not.
    """
    rows_px, columns_px = _step_px(vae)
    height, width = image.shape[1:3]
    return max(1, height // rows_px) * rows_px, max(1, width // columns_px) * columns_px


def _step_px(vae: io.Vae.Type) -> tuple[int, int]:
    """Returns height and width in pixels of one step of the VAE's latents."""
    _, rows_px, columns_px = vae.downscale_index_formula
    return rows_px, columns_px


def _checked_length(held_frames: int, clip_frames: int, vae: io.Vae.Type) -> int:
    """Returns for how many frames a photo is held; `clip_frames` is the clip's own length.

    Raises ValueError for a number of frames that the VAE does not encode whole.
    """
    step = vae.downscale_index_formula[0]
    if held_frames == WHOLE_CLIP:
        return clip_frames
    if held_frames < 1 or held_frames % step != 1:
        raise ValueError(
            f"held_frames was {held_frames}; needs {step}n + 1 frames, such as 1, 25 or 33, or 0 "
            "for the whole clip."
        )
    return held_frames


def _clip_size_px(latent: io.Latent.Type, vae: io.Vae.Type) -> tuple[int, int, int]:
    """Returns the video's length in frames, and height and width of its frames in pixels.

    Raises ValueError if `vae` is not LTX's video VAE, or `latent` no video latent.
    """
    if vae.latent_channels != LTX_LATENT_CHANNELS or vae.latent_dim != 3:
        raise ValueError(
            f"vae makes latents of {vae.latent_channels} channels; needs the LTX video VAE "
            f"({LTX_LATENT_CHANNELS} channels): connect the VAE of the LTX checkpoint."
        )
    samples = latent["samples"]
    video = samples.unbind()[0] if samples.is_nested else samples
    if video.ndim != 5 or 0 in video.shape:
        raise ValueError(
            f"latent has shape {list(video.shape)}; needs the video latent [B, C, T, H, W] that "
            "will be sampled: connect EmptyLTXVLatentVideo or the latent of this stage."
        )
    rows_px, columns_px = _step_px(vae)
    num_frames = (video.shape[2] - 1) * vae.downscale_index_formula[0] + 1
    return num_frames, video.shape[-2] * rows_px, video.shape[-1] * columns_px
