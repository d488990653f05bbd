"""The sizes of the miniature LTX-2.3: its architecture is the real one, with small numbers.

The VAE keeps the real geometry, 128 channels for 8 x 32 x 32 pixels, since ComfyUI fixes it.
"""

from __future__ import annotations

NUM_HEADS = 8
HEAD_DIM = 20
AUDIO_HEAD_DIM = 4
VIDEO_DIM = NUM_HEADS * HEAD_DIM
AUDIO_DIM = NUM_HEADS * AUDIO_HEAD_DIM
# ComfyUI takes one context: the video's embedding and the audio's, side by side.
CONTEXT_DIM = VIDEO_DIM + AUDIO_DIM
NUM_LAYERS = 4
NUM_CONNECTOR_LAYERS = 1

# diffusers fixes the encoder's first width at the latent's, and ComfyUI cannot narrow it later.
ENCODER_CHANNELS = 128
ENCODER_LAYERS = (0, 0, 0, 0, 0)
# The large blocks come last: what is kept of them decides how sharp so small a VAE is.
DOWNSAMPLERS = {
    "compress_all_res": "spatiotemporal",
    "compress_space_res": "spatial",
    "compress_time_res": "temporal",
}
ENCODER_ORDER = (
    "compress_all_res",
    "compress_all_res",
    "compress_space_res",
    "compress_time_res",
)
# They go from the last block to the first, as files list them; the last upsampler keeps its width.
DECODER_LAYERS = (0, 1, 1, 1)
DECODER_CHANNELS = (24, 48, 96)
UPSAMPLE_FACTORS = (1, 2, 2)

# The keys are those of the metadata of an LTX-2.3 file.
TRANSFORMER_CONFIG = {
    "_class_name": "AVTransformer3DModel",
    "num_layers": NUM_LAYERS,
    "num_attention_heads": NUM_HEADS,
    "attention_head_dim": HEAD_DIM,
    "in_channels": 128,
    "cross_attention_dim": VIDEO_DIM,
    "caption_channels": VIDEO_DIM,
    "audio_num_attention_heads": NUM_HEADS,
    "audio_attention_head_dim": AUDIO_HEAD_DIM,
    "audio_in_channels": 128,
    "audio_cross_attention_dim": AUDIO_DIM,
    "connector_num_attention_heads": NUM_HEADS,
    "connector_attention_head_dim": HEAD_DIM,
    "audio_connector_num_attention_heads": NUM_HEADS,
    "audio_connector_attention_head_dim": AUDIO_HEAD_DIM,
    "connector_num_layers": NUM_CONNECTOR_LAYERS,
    "connector_apply_gated_attention": True,
    "apply_gated_attention": True,
    "cross_attention_adaln": True,
    "caption_proj_before_connector": True,
    "caption_projection_first_linear": False,
    "rope_type": "split",
    "frequencies_precision": "float64",
    "use_middle_indices_grid": True,
    "causal_temporal_positioning": True,
    "positional_embedding_theta": 10000.0,
    "positional_embedding_max_pos": [20, 2048, 2048],
    "audio_positional_embedding_max_pos": [20],
    "timestep_scale_multiplier": 1000,
    "av_ca_timestep_scale_multiplier": 1,
}

VAE_CONFIG = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "encoder_blocks": [
        *(
            block
            for layers, name in zip(ENCODER_LAYERS[:-1], ENCODER_ORDER, strict=True)
            for block in (["res_x", {"num_layers": layers}], [name, {"multiplier": 1}])
        ),
        ["res_x", {"num_layers": ENCODER_LAYERS[-1]}],
    ],
    "decoder_blocks": [
        *(
            block
            for layers, factor in zip(DECODER_LAYERS[:-1], UPSAMPLE_FACTORS, strict=True)
            for block in (
                ["res_x", {"num_layers": layers, "inject_noise": False}],
                ["compress_all", {"residual": True, "multiplier": factor}],
            )
        ),
        ["res_x", {"num_layers": DECODER_LAYERS[-1], "inject_noise": False}],
    ],
    "encoder_base_channels": ENCODER_CHANNELS,
    "decoder_base_channels": DECODER_CHANNELS[0] // UPSAMPLE_FACTORS[0],
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
    "timestep_conditioning": False,
    "spatial_padding_mode": "zeros",
}
