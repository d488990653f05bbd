"""The host's velocity for a transformer file of the test's, in its video-only form."""

from __future__ import annotations

import comfy.sd
import torch
from scenarios import world
from torch import Tensor


def velocity(
    path: str,
    video: Tensor,
    t: Tensor,
    context: Tensor,
    reference: Tensor | None,
    frame_rate: float,
    **patch: str,
) -> Tensor:
    """Loads the file as UNETLoader does, patches it and runs it once.

    context is the video's embedding and the audio's side by side.
    """
    model = world.patched(model=comfy.sd.load_diffusion_model(path), **patch)
    transformer = model.model.diffusion_model
    assert {parameter.dtype for parameter in transformer.parameters()} == {torch.float32}
    output = transformer(
        [video],
        t,
        context=context,
        frame_rate=frame_rate,
        transformer_options={"wrappers": model.wrappers},
        **({} if reference is None else world.reference_arguments(model, reference)),
    )
    return output[0] if isinstance(output, list) else output
