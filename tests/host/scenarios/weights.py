"""What the files of weights say they were trained for, on its way to the transformer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from unittest import mock

import folder_paths
import nodes
import torch
from comfy.model_patcher import ModelPatcher
from scenarios import world
from torch import Tensor

T, H, W = 3, 3, 4


def _unet(path: str) -> ModelPatcher:
    folder, _, name = path.rpartition("/")
    folder_paths.add_model_folder_path("diffusion_models", folder)
    return nodes.UNETLoader().load_unet(name, "default")[0]


def _checkpoint(path: str) -> ModelPatcher:
    folder, _, name = path.rpartition("/")
    folder_paths.add_model_folder_path("checkpoints", folder)
    return nodes.CheckpointLoaderSimple().load_checkpoint(name)[0]


# Core's loaders, by the word that stands before a file's path in a chain.
_LOADERS: dict[str, Callable[[str], ModelPatcher]] = {"unet": _unet, "checkpoint": _checkpoint}


def _chained(chain: list[list[Any]], version: str = "2.3") -> ModelPatcher:
    """A model from nodes in a row: loaders, LoRAs, and the patch with its widgets."""
    model = world.model_of(version)
    for kind, value in chain:
        if kind in _LOADERS:
            model = _LOADERS[kind](value)
        elif kind == "lora":
            model = world.with_lora(model, value)
        elif kind == "clone":
            model = model.clone()
        else:
            placement, reference_timestep, *options = value
            model = world.patched(
                model,
                placement=placement,
                reference_timestep=reference_timestep,
                **(options[0] if options else {}),
            )
    return model


class _Log(logging.Handler):
    """What the pack says while a run lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[list[str]] = []
        self._logger = logging.getLogger(world.pack("nodes.host.wrapper").__name__)

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append([record.levelname, record.getMessage()])

    def __enter__(self) -> _Log:
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: Any) -> None:
        self._logger.removeHandler(self)


def run(chain: list[list[Any]], version: str = "2.3") -> dict[str, Any]:
    """One step of the text + reference stream: the transformer's velocity, and what was logged."""
    recorder = world.Recorder()
    guider = world.three_streams(
        recorder.record(_chained(chain, version)),
        world.latent([1, 128, 1, H, W]),
        text_scale=1.0,
        reference_scale=1.0,
    )
    with _Log() as log:
        world.run_guider(guider, world.empty_video(T, H, W), steps=1)
    (call,) = recorder.calls
    velocity: Tensor = call["output"]
    return {"velocity": velocity.to(torch.float32), "said": log.said}


def beyond(
    path: str, num_photos: int, num_frames: int = T, has_first_frame: bool = False
) -> dict[str, Any]:
    """What is said of so many photos, at once, on the weights of a LoRA: in the log of a run, on
    the guider, and in the report of Inspect References."""
    model = world.patched(world.with_lora(world.mini_model(), path))
    video = world.empty_video(num_frames, H, W)
    if has_first_frame:
        (video,) = world.node(
            "LTXVImgToVideoInplace",
            vae=world.mini_vae(),
            image=torch.rand(1, H * 32, W * 32, 3),
            latent=video,
            bypass=False,
        )
    reference = {"samples": world.latent([num_photos, 128, 1, H, W])}
    shown: list[str] = []
    node = world.pack("nodes.guidance_inputs")
    with mock.patch.object(node, "show_on_node", lambda _, sentence: shown.append(sentence)):
        guider = world.three_streams(model, reference)
    with _Log() as log:
        world.run_guider(guider, video, steps=1)
    (report,) = world.node(
        "STDRCInspect",
        model=model,
        positive=world.conditioning("a man runs"),
        negative=world.conditioning(""),
        reference=reference,
        latent_image=video,
    )
    said = [message for level, message in log.said if level == "WARNING"]
    return {"said": said, "shown": shown, "report": report.splitlines()}


def widgets() -> list[list[Any]]:
    """The patch node's widgets in their order: name, default, choices."""
    (_, *inputs) = nodes.NODE_CLASS_MAPPINGS["STDRCApplyTASSRoPE"].define_schema().inputs
    return [[each.id, each.default, list(getattr(each, "options", []))] for each in inputs]


def lora_files(graph: dict[str, Any], node_id: str) -> list[str]:
    return list(world.pack("nodes.host.workflow").lora_files_before(graph, node_id))


def decide(chain: list[list[Any]], lora_files: list[str], version: str = "2.3") -> str:
    """What `auto` says of a model, and of these names of LoRA files in the workflow."""
    choice = world.pack("stdrc_core.ltx.reference_layout").LayoutChoice(
        lora_files=tuple(lora_files)
    )
    model = _chained(chain, version)
    return world.pack("nodes.host.weights").decide_layout(choice, model).sentence


def version(is_compiled: bool) -> str | None:
    """The miniature's, with its blocks as they are or as torch.compile wraps them."""
    transformer = world.mini_model().model.diffusion_model
    blocks = list(transformer.transformer_blocks)
    others = [torch.compile(block) for block in blocks] if is_compiled else blocks
    with mock.patch.object(transformer, "transformer_blocks", torch.nn.ModuleList(others)):
        return world.pack("nodes.host.version").model_version(transformer)


def shown_on_node(chain: list[list[Any]], version: str) -> str:
    """What Apply TASS-RoPE Patch, put last, shows on itself."""
    shown: list[str] = []
    node = world.pack("nodes.apply_tass_rope")
    with mock.patch.object(node, "show_on_node", lambda _, sentence: shown.append(sentence)):
        world.patched(_chained(chain, version))
    (sentence,) = shown
    return sentence
