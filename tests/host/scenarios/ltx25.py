"""A tiny LTX-2.5: its marker of single frames, and core's guidance nodes for it."""

from __future__ import annotations

from typing import Any

import node_helpers
import torch
from comfy.model_patcher import ModelPatcher
from scenarios import audio, world
from torch import Tensor

T, H, W = 3, 4, 4


class _Marked:
    """Which of the video's tokens get the marker: what enters the first block, without what the
    projection of the latent gave."""

    def __init__(self, model: ModelPatcher) -> None:
        self._transformer = model.model.diffusion_model
        self._projected: list[Tensor] = []
        self.calls: list[Tensor] = []

    def __enter__(self) -> _Marked:
        blocks = self._transformer.transformer_blocks
        self._handles = [
            self._transformer.patchify_proj.register_forward_hook(
                lambda _, args, output: self._projected.append(output.clone())
            ),
            blocks[0].register_forward_pre_hook(lambda _, args: self._enter(args[0][0])),
        ]
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def _enter(self, tokens: Tensor) -> None:
        added = tokens - self._projected[-1]
        marker = self._transformer.keyframes_abs_pos_embedding
        is_marked = added.abs().amax(dim=-1) > 0
        expected = is_marked[..., None] * marker
        assert torch.allclose(added, expected, atol=1e-5), "something else than the marker is added"
        self.calls += list(is_marked)


def _with_generated_keyframes(
    conditioning: list, video: dict[str, Any], frames: list[int]
) -> tuple[list, dict[str, Any]]:
    """What core's LTXVAddGeneratedKeyframes of ComfyUI 0.38 does: a noised latent frame for each of
    these pixel frames stands behind the video, within the time of that pixel frame."""
    samples = video["samples"]
    height, width = samples.shape[-2:]
    starts = torch.stack(
        torch.meshgrid(
            torch.tensor(frames), 32 * torch.arange(height), 32 * torch.arange(width), indexing="ij"
        )
    ).flatten(1)
    bounds = torch.stack((starts, starts + torch.tensor([[1], [32], [32]])), dim=-1)[None]
    options = conditioning[0][1]
    guides = options.get("keyframe_idxs")
    entries = options.get("guide_attention_entries") or []
    values = {
        "keyframe_idxs": bounds if guides is None else torch.cat((guides, bounds), dim=2),
        "generated_keyframes": {
            "first_latent_frame": samples.shape[2],
            "num_keyframes": len(frames),
            "frame_indices": frames,
            "num_pixel_frames": 8 * (T - 1) + 1,
            "guide_entry_index": len(entries),
            "tokens_per_frame": height * width,
        },
        "guide_attention_entries": [
            *entries,
            {
                "pre_filter_count": len(frames) * height * width,
                "strength": 1.0,
                "pixel_mask": None,
                "latent_shape": [len(frames), height, width],
            },
        ],
    }
    num_frames = samples.shape[2]
    mask = video.get("noise_mask", torch.ones(1, 1, num_frames, 1, 1))
    mask = mask.expand(1, 1, num_frames, height, width)
    more = samples.new_zeros(1, samples.shape[1], len(frames), height, width)
    return node_helpers.conditioning_set_values(conditioning, values), {
        "samples": torch.cat((samples, more), dim=2),
        "noise_mask": torch.cat((mask, torch.ones(1, 1, len(frames), height, width)), dim=2),
    }


def marked(
    placement: str,
    num_references: int = 1,
    native: list[int] | None = None,
    guides: tuple[int, ...] = (),
    keyframes: tuple[int, ...] = (),
    has_audio: bool = False,
    strength: float = 1.0,
    **patch: Any,
) -> dict[str, Any]:
    """The tokens of each stream of a step, True where they got the marker; the last stream is vyr.

    A reference is `native` latent steps large, or as the video.
    """
    model = world.patched(world.tiny_ltx_2_5(), placement=placement, **patch)
    positive, negative = world.conditioning("a man runs"), world.conditioning("")
    positive, negative, video = world.guides(
        world.empty_video(T, H, W), positive, negative, list(guides)
    )
    if keyframes:
        negative, _ = _with_generated_keyframes(negative, video, list(keyframes))
        positive, video = _with_generated_keyframes(positive, video, list(keyframes))
    if has_audio:
        video = world.node(
            "LTXVConcatAVLatent",
            video_latent=video,
            audio_latent={"samples": torch.zeros(1, 8, 12, 16)},
        )[0]
    reference = {"samples": world.latent([1, 128, 1, *(native or [H, W])])}
    if native:
        reference["stdrc_own_size"] = True
    listed: Any = None
    for _ in range(num_references):
        more = {} if listed is None else {"references": listed}
        (listed,) = world.node("STDRCReferenceList", reference=reference, strength=strength, **more)
    recorder = world.Recorder()
    with _Marked(model) as found:
        guider = world.three_streams(
            recorder.record(model), listed, positive=positive, negative=negative
        )
        world.run_guider(guider, video, steps=1)
    return {
        "marked": sorted(found.calls, key=len),
        "bounds": max(
            (call["keyframe_idxs"] for call in recorder.calls if call["keyframe_idxs"] is not None),
            key=lambda bounds: bounds.shape[2],
        ),
    }


def knows_generated_keyframes() -> bool:
    return hasattr(world.tiny_ltx_2_5().model.diffusion_model, "keyframes_abs_pos_mask")


def _guided(guider: Any) -> dict[str, Tensor]:
    video, parts = world.run_guider(guider, audio.latent(), steps=1).unbind()
    return {"video": video.clone(), "audio": parts.clone()}


def beside(node_id: str, patch_first: bool, **inputs: Any) -> dict[str, dict[str, Tensor]]:
    """One step to the clean estimate with and without one of core's guidance nodes: by our guider,
    with two photos, and by core's CFGGuider at cfg 1 on the bare model."""
    bare = world.tiny_ltx_2_5()

    def with_node(model: ModelPatcher) -> ModelPatcher:
        return world.node(node_id, model=model, **inputs)[0]

    patched = with_node(world.patched(bare)) if patch_first else world.patched(with_node(bare))

    def ours(model: ModelPatcher, photo: int) -> dict[str, Tensor]:
        return _guided(world.three_streams(model, audio.photo(photo)))

    def core(model: ModelPatcher) -> dict[str, Tensor]:
        text = world.conditioning("a man runs")
        guider = world.node("CFGGuider", model=model, positive=text, negative=text, cfg=1.0)[0]
        return _guided(guider)

    return {
        "with": ours(patched, 1),
        "other photo": ours(patched, 9),
        "without": ours(world.patched(bare), 1),
        "core with": core(with_node(bare)),
        "core without": core(bare),
    }


def audio_without_a_reference() -> list[dict[str, Tensor]]:
    """Core's CFGGuider on audio and video, on the bare model and on the patched one."""
    outputs = []
    for model in (world.tiny_ltx_2_5(), world.patched(world.tiny_ltx_2_5())):
        (guider,) = world.node(
            "CFGGuider",
            model=model,
            positive=world.conditioning("a man runs"),
            negative=world.conditioning(""),
            cfg=3.0,
        )
        outputs.append(_guided(guider))
    return outputs
