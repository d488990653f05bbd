"""The video branch of LTX-2 as a velocity model: diffusers' transformer without its audio tower.

It computes what ComfyUI's video-only LTX-2 computes, with or without reference frames in context.
It calls the transformer differently from diffusers' pipelines: every token has an explicit box in
seconds and pixels, the modalities are isolated, and the reference's tokens may have a timestep of
their own (frame_modulation).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from diffusers import LTX2VideoTransformer3DModel
from torch import Tensor, nn

from ..device import move
from ..method.grid import LatentGrid, ScaleFactors, latent_bounds, to_pixel_bounds, to_seconds
from ..method.layout import Placement, reference_pixel_bounds
from ..method.reference import ReferenceTimestep, append_reference, strip_reference
from ..method.source_phase import DEFAULT_PHASE, SourcePhase, turn
from .checkpoint import TRANSFORMER_PREFIX, transformer_key
from .checkpoint_files import Checkpoint, Convert, first_few, load_into, open_checkpoint
from .frame_modulation import modulated_by_frame
from .guidance_embedding import GuidanceEmbedding, guided_by
from .silent_audio import AUDIO_WIDTH, silence_audio
from .transformer_config import transformer_arguments

# Parts of the text encoder that are in the transformer's file: the connectors, and the caption
# projections before them. (LTX-2.0's caption projections belong to the transformer, which then
# lists them among its own tensors.)
_TEXT_PARTS = (
    "video_embeddings_connector",
    "audio_embeddings_connector",
    "caption_projection",
    "audio_caption_projection",
)


class VideoBackbone(nn.Module):
    """Predicts the velocity eps - z_0 from z_t, t and a prompt.

    `transformer` is diffusers' own module and keeps diffusers' names: LoRAs and exports are made
    from its state dict, and its `enable_gradient_checkpointing()` and `add_adapter()` work as in
    diffusers. It has no audio tower (silent_audio says why and how).
    """

    def __init__(self, transformer: LTX2VideoTransformer3DModel) -> None:
        """Takes over `transformer` and drops its audio tower, if that has not been done."""
        super().__init__()
        silence_audio(transformer)
        self.transformer = transformer
        # What a distilled model is told its scales by; most have none.
        self.guidance_embedding: GuidanceEmbedding | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the transformer computes in.

        It is read from a table that neither a LoRA nor a quantiser wraps.
        """
        return self.transformer.scale_shift_table.dtype

    @property
    def context_dim(self) -> int:
        """The number of channels of the prompt's embedding for the video."""
        config = self.transformer.config
        return config.caption_channels if _projects_captions(config) else config.cross_attention_dim

    def split_context(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Splits a conditioning `[B, L, D]` as ComfyUI holds it into the video's and the audio's.

        Both keep the shape `[B, L, ...]`. Raises ValueError where D is not the width of both side
        by side.
        """
        config = self.transformer.config
        audio_dim = config.audio_cross_attention_dim
        if _projects_captions(config):
            audio_dim = config.caption_channels
        if context.shape[-1] != self.context_dim + audio_dim:
            raise ValueError(
                f"context has {context.shape[-1]} channels; this model needs {self.context_dim} "
                f"for the video and {audio_dim} for the audio, side by side."
            )
        return context[..., : self.context_dim], context[..., self.context_dim :]

    def forward(
        self,
        video: Tensor,
        t: Tensor,
        context: Tensor,
        *,
        frame_rate: float,
        reference: Tensor | None = None,
        placement: Placement = Placement.TASS,
        reference_timestep: ReferenceTimestep = ReferenceTimestep.CLEAN,
        num_clean_frames: int = 0,
        slots: Sequence[int] | None = None,
        source_phase: SourcePhase = DEFAULT_PHASE,
        guidance_scales: Tensor | None = None,
    ) -> Tensor:
        """Returns the velocity of the video alone, `[B, C, T, H, W]` in the video's dtype.

        `video` `[B, C, T, H, W]` is the noised latent z_t. `t` `[B]` in [0, 1] is its noise level;
        it should be float32 even in a bfloat16 model, which would round it. `context` is
        `[B, L, context_dim]`, and `frame_rate` is in frames/s.

        `reference` `[B or 1, C, K, H, W]` are the clean latents of K photos; None adds no tokens at
        all. `slots` are the slots of the K photos, by default 0, 1, ... `source_phase` is for the
        placements that turn angles. All references have strength 1 here; other strengths exist in
        ComfyUI alone.

        `guidance_scales` `[B, 2]` are the s_y and s_r that a model with a `guidance_embedding` is
        to follow in this one pass; None leaves the embedding out.

        The video's first `num_clean_frames` latent frames are clean and get timestep 0, which is
        LTX's in-place conditioning; the velocity that is returned for them means nothing.

        Raises ValueError for a frame rate that is not positive and finite, and for a placement that
        turns angles in a model of interleaved RoPE, for which no adapter defines it.
        """
        batch, _, num_frames, height, width = video.shape
        assert t.shape == (batch,), f"t has shape {list(t.shape)}, the batch is {batch}"
        assert context.shape[-1] == self.context_dim, f"context is {list(context.shape)}"
        grid = LatentGrid(num_frames=num_frames, height=height, width=width)
        config = self.transformer.config
        time_scale, height_scale, width_scale = config.vae_scale_factors
        scale = ScaleFactors(time=time_scale, height=height_scale, width=width_scale)

        latent, bounds = video, to_pixel_bounds(latent_bounds(grid), scale=scale)
        num_references = 0 if reference is None else reference.shape[2]
        slots = range(num_references) if slots is None else slots
        assert len(slots) == num_references, f"{num_references} references have slots {slots}"
        if reference is not None:
            latent = append_reference(video, reference)
            own = [
                reference_pixel_bounds(
                    grid,
                    placement,
                    slot=slot,
                    num_slots=max(slots) + 1,
                    frame_rate=frame_rate,
                    scale=scale,
                )
                for slot in slots
            ]
            bounds = torch.cat((bounds, *own), dim=1)
        boxes = to_seconds(bounds, frame_rate).to(video.device, non_blocking=True)  # [3, N, 2]

        sigma = t.float() * config.timestep_scale_multiplier
        timestep = sigma[:, None]  # [B, 1]: the same for all tokens
        modulation = nullcontext()
        is_clean = num_references > 0 and reference_timestep == ReferenceTimestep.CLEAN
        if is_clean or num_clean_frames:
            timestep = timestep.repeat(1, num_frames + num_references)  # [B, T + K]
            timestep[:, :num_clean_frames] = 0
            timestep[:, num_frames:] *= not is_clean
            modulation = modulated_by_frame(self.transformer, grid.tokens_per_frame)

        embedded = nullcontext()
        if guidance_scales is not None:
            embedded = guided_by(self.transformer, self.guidance_embedding(guidance_scales))

        silence = video.new_zeros(batch, 1, AUDIO_WIDTH, dtype=self.dtype)
        phases = [source_phase.at(slot) for slot in slots] if placement.turns_angles else []
        with embedded, modulation, self._turned(phases, grid.tokens_per_frame):
            output, _ = self.transformer(
                hidden_states=latent.flatten(2).mT.to(self.dtype),  # [B, N, C]
                audio_hidden_states=silence,
                encoder_hidden_states=context.to(self.dtype),
                audio_encoder_hidden_states=silence,
                timestep=timestep,
                audio_timestep=sigma,
                sigma=sigma,
                video_coords=boxes.expand(batch, -1, -1, -1),
                audio_coords=boxes.new_zeros(batch, 1, 1, 2),
                isolate_modalities=True,
                use_cross_timestep=True,
                video_keyframes_mask=self._keyframes(grid, boxes),
                return_dict=False,
            )
        velocity = output.mT.unflatten(2, latent.shape[2:]).to(video.dtype)
        return strip_reference(velocity, num_references)

    @contextmanager
    def _turned(self, phases: Sequence[float], tokens_per_phase: int) -> Iterator[None]:
        """While it is open, a hook on the RoPE turns the angles of the references' tokens.

        `phases` has one phi_0 for each reference, or none where the placement turns no angles.
        """
        if not any(phases):
            yield
            return
        if self.transformer.config.rope_type != "split":
            raise ValueError(
                f"the model's RoPE is {self.transformer.config.rope_type}; a placement that turns "
                "the reference's angles needs split RoPE: use an LTX-2 model, or placement tass or "
                "overlap."
            )
        hook = self.transformer.rope.register_forward_hook(
            lambda _module, _inputs, table: turn(table, phases, tokens_per_phase)
        )
        try:
            yield
        finally:
            hook.remove()

    def _keyframes(self, grid: LatentGrid, boxes: Tensor) -> Tensor | None:
        """Returns a mask `[1, N, 1]` of the video's first latent frame; None before LTX-2.5.

        LTX-2.5 marks the tokens of a latent frame that holds one pixel frame, which is the video's
        first. The references' frames are not marked: the host marks no appended guides, and
        diffusers marks no references of IC-LoRAs.
        """
        if not self.transformer.config.use_keyframes_abs_pos_embedding:
            return None
        mask = boxes.new_zeros(1, boxes.shape[1], 1)
        mask[:, : grid.tokens_per_frame] = 1
        return mask


def load_backbone(
    path: str | Path,
    *,
    dtype: torch.dtype | None,
    device: torch.device | str = "cpu",
    convert: Convert | None = None,
) -> VideoBackbone:
    """Loads the video branch of an LTX-2 single file, split file or diffusers folder.

    A dtype of None keeps the file's. Only the video's tensors are read, each of them once and
    straight to `device`. `convert(key, tensor)` gets each tensor, with its key in diffusers'
    transformer, before the next one is read, and returns the one to use.

    Raises ValueError for a path that does not exist, that is not safetensors or not a whole LTX-2
    model, or that has parts which the installed diffusers has no place for.
    """
    checkpoint = open_checkpoint(path)
    transformer = _empty_transformer(checkpoint)
    rename = str if checkpoint.is_diffusers else transformer_key
    _check_all_known(checkpoint, {rename(key) for key in transformer.state_dict()})
    backbone = VideoBackbone(transformer)
    load_into(transformer, checkpoint, rename, dtype=dtype, device=device, convert=convert)
    # The tensors are on the device already; this moves the silent tables.
    move(backbone, torch.device(device))
    return backbone


def empty_backbone(path: str | Path) -> VideoBackbone:
    """Returns the backbone of a checkpoint on the meta device, which has sizes but no weights."""
    with torch.device("meta"):
        return VideoBackbone(_empty_transformer(open_checkpoint(path)))


def _empty_transformer(checkpoint: Checkpoint) -> LTX2VideoTransformer3DModel:
    """Returns diffusers' transformer of the checkpoint's size, on the meta device."""
    arguments = transformer_arguments(checkpoint)
    known = inspect.signature(LTX2VideoTransformer3DModel.__init__).parameters
    unknown = [name for name in arguments if name not in known]
    if unknown:
        raise ValueError(
            f"checkpoint {checkpoint.path} has settings that this diffusers does not know "
            f"({first_few(unknown)}); needs a newer diffusers."
        )
    with torch.device("meta"):
        return LTX2VideoTransformer3DModel(**arguments)


def _projects_captions(config: Any) -> bool:
    """Returns whether the transformer projects Gemma's captions itself.

    LTX-2.0 does; later models project them before the transformer.
    """
    return config.use_prompt_embeddings


def _check_all_known(checkpoint: Checkpoint, known: set[str]) -> None:
    """Raises ValueError for a tensor of the transformer that the model has no place for."""
    prefix = "" if checkpoint.is_diffusers else TRANSFORMER_PREFIX
    unknown = []
    for name in checkpoint.tensors:
        part = name.removeprefix(prefix).split(".")[0]
        if name.startswith(prefix) and name not in known and part not in _TEXT_PARTS:
            unknown.append(name)
    if unknown:
        raise ValueError(
            f"checkpoint {checkpoint.path} has {len(unknown)} tensors that its config does not "
            f"lead to ({first_few(unknown)}); needs a newer diffusers, or the original file."
        )
