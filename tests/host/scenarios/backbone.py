"""The host's velocity for a transformer file of the test's, in its video-only form."""

from __future__ import annotations

import inspect

import comfy.sd
import torch
from comfy.ldm.lightricks.model import LTXBaseModel
from scenarios import world
from torch import Tensor


def knows_ltx_2_5() -> bool:
    parameters = inspect.signature(LTXBaseModel.__init__).parameters
    return "use_keyframes_abs_pos_embedding" in parameters


def own_failure(path: str) -> str | None:
    """What core's CFGGuider raises for the file's model, without anything of ours."""
    model = comfy.sd.load_diffusion_model(path)
    prompt = world.text_conditioning(model)
    (guider,) = world.node("CFGGuider", model=model, positive=prompt, negative=prompt, cfg=1.0)
    try:
        world.run_guider(guider, world.empty_video(3, 4, 4), steps=1)
    except AttributeError as error:
        return str(error)
    return None


def inspect_references(path: str) -> str:
    """The self-check's report of a file's model, before the patch."""
    video = world.empty_video(3, 4, 4)
    text = world.conditioning("a man runs")
    (report,) = world.node(
        "STDRCInspect",
        model=comfy.sd.load_diffusion_model(path),
        positive=text,
        negative=text,
        reference={"samples": world.latent([1, 128, 1, 4, 4])},
        latent_image=video,
    )
    return report


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
