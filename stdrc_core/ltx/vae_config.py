"""The sizes of LTX-2's video VAE, from a file's metadata to the arguments of diffusers' class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..method.grid import LTX_SCALE_FACTORS

# The file's name of a downsampler or upsampler -> diffusers' name.
_DOWNSAMPLERS = {
    "compress_space_res": "spatial",
    "compress_time_res": "temporal",
    "compress_all_res": "spatiotemporal",
}
_UPSAMPLERS = {
    "compress_space": "spatial",
    "compress_time": "temporal",
    "compress_all": "spatiotemporal",
}


def diffusers_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `AutoencoderKLLTX2Video` for the `vae` part of a file's `config`.

    The file lists blocks and samplers by turns, and those of the decoder from the last to the
    first. Raises ValueError for a VAE of another make.
    """
    kind = config.get("_class_name", "CausalVideoAutoencoder")
    if kind != "CausalVideoAutoencoder" or config.get("timestep_conditioning"):
        raise ValueError(
            f"the checkpoint's VAE was a {kind} with timestep_conditioning "
            f"{bool(config.get('timestep_conditioning'))}; needs a CausalVideoAutoencoder without: "
            "use the file as Lightricks published it."
        )
    decoder_layers, up = _blocks(config, "decoder_blocks", _UPSAMPLERS)
    channels, decoder_channels = config.get("decoder_base_channels", 128), []
    for _, options in up:
        channels *= options.get("multiplier", 1)
        decoder_channels.append(channels)
    return encoder_arguments(config) | {
        "out_channels": config.get("out_channels", 3),
        "decoder_block_out_channels": tuple(decoder_channels),
        "decoder_layers_per_block": decoder_layers,
        "decoder_spatio_temporal_scaling": (True,) * len(up),
        "decoder_inject_noise": (False,) * len(decoder_layers),
        # diffusers turns the other decoder lists round itself, but not this one.
        "upsample_type": tuple(name for name, _ in reversed(up)),
        "upsample_residual": tuple(
            bool(options.get("residual")) and name == "spatiotemporal" for name, options in up
        ),
        "upsample_factor": tuple(options.get("multiplier", 1) for _, options in up),
        "decoder_causal": config.get("causal_decoder", False),
        "decoder_spatial_padding_mode": config.get("spatial_padding_mode") or "reflect",
    }


def encoder_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the part of `diffusers_config` that builds the encoder; it raises what that does."""
    layers, down = _blocks(config, "encoder_blocks", _DOWNSAMPLERS)
    channels, encoder_channels = config.get("encoder_base_channels", 128), []
    for _, options in down:
        channels *= options.get("multiplier", 2)
        encoder_channels.append(channels)
    return {
        "in_channels": config.get("in_channels", 3),
        "latent_channels": config["latent_channels"],
        "block_out_channels": tuple(encoder_channels),
        "down_block_types": ("LTX2VideoDownBlock3D",) * len(down),
        "layers_per_block": layers,
        "spatio_temporal_scaling": (True,) * len(down),
        "downsample_type": tuple(name for name, _ in down),
        "patch_size": config.get("patch_size", 1),
        "encoder_causal": True,
        "encoder_spatial_padding_mode": config.get("spatial_padding_mode") or "zeros",
        "spatial_compression_ratio": LTX_SCALE_FACTORS.height,
        "temporal_compression_ratio": LTX_SCALE_FACTORS.time,
    }


def _blocks(
    config: Mapping[str, Any], name: str, samplers: Mapping[str, str]
) -> tuple[tuple[int, ...], list[tuple[str, Mapping[str, Any]]]]:
    """Returns the number of layers of each block, and the samplers between the blocks.

    A sampler is its name in diffusers and its options in the file.
    """
    blocks = [(kind, options if isinstance(options, dict) else {"num_layers": options})
              for kind, options in config.get(name, ())]  # fmt: skip
    kinds = [kind for kind, _ in blocks]
    inject_noise = any(options.get("inject_noise") for _, options in blocks)
    by_turns = len(kinds) % 2 == 1 and all(
        kind in samplers if i % 2 else kind == "res_x" for i, kind in enumerate(kinds)
    )
    if not by_turns or inject_noise:
        raise ValueError(
            f"{name} of the checkpoint's VAE were {kinds}{' with noise' * inject_noise}; needs "
            f"res_x and {', '.join(samplers)} by turns: use the file as Lightricks published it."
        )
    layers = tuple(options["num_layers"] for _, options in blocks[::2])
    return layers, [(samplers[kind], options) for kind, options in blocks[1::2]]
