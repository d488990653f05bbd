"""ComfyUI's way from Gemma's hidden states to the transformer's context."""

from __future__ import annotations

import comfy.ops
import comfy.sd
import comfy.utils
import torch
from comfy.text_encoders.lt import DualLinearProjection
from scenarios import host_forms
from torch import Tensor

_PREFIX = "text_embedding_projection."


def context(path: str, hidden: Tensor, mask: Tensor) -> Tensor:
    """`[1, L', D]`: the video's embedding and the audio's side by side.

    `hidden` `[1, layers, L, C]` and `mask` `[1, L]` stand for Gemma, whose size is fixed in the
    host; from there on all is the host's own, with the weights of the file at `path`.
    """
    model = comfy.sd.load_diffusion_model(path, model_options={"dtype": torch.float32})
    weights = {
        key.removeprefix(_PREFIX): value
        for key, value in comfy.utils.load_torch_file(path).items()
        if key.startswith(_PREFIX)
    }
    shared = weights.get("aggregate_embed.weight")
    operations = comfy.ops.disable_weight_init
    if shared is not None:
        projection = operations.Linear(shared.shape[1], shared.shape[0], bias=False)
        projection.load_state_dict({"weight": shared})
    else:
        video, audio = (weights[f"{name}_aggregate_embed.weight"] for name in ("video", "audio"))
        projection = DualLinearProjection(
            video.shape[1], video.shape[0], audio.shape[0], operations=operations
        )
        projection.load_state_dict(weights)
    kind = "single_linear" if shared is not None else "dual_linear"
    tokens, _, extra = host_forms.encode_hidden_states(projection, kind, hidden, mask)
    comfy.model_management.load_models_gpu([model], force_full_load=True)
    return model.model.diffusion_model.preprocess_text_embeds(
        tokens, unprocessed=extra["unprocessed_ltxav_embeds"]
    )
