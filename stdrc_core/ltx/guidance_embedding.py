"""Guidance scales as an input of a distilled model: an embedding of (s_y, s_r) (ours).

It is added to the embedding of the video's timestep, before that becomes the blocks' shifts, scales
and gates. It begins at 0, so that a student begins as its teacher. For the scales of one run it is
a constant, which is as much as a change of the last bias of the timestep's embedding: that is how a
host that runs the model needs no hook for it (`bias_change`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from .lora_file import open_lora

# The bias that the embedding is added to, as diffusers and as LTX's own files name it.
BIAS = "time_embed.emb.timestep_embedder.linear_2.bias"
LTX_BIAS = "adaln_single.emb.timestep_embedder.linear_2.bias"
# What the names of its tensors begin with in a LoRA's file.
FILE_PREFIX = "stdrc_guidance_embedding."
_HIDDEN_DIM = 256
# It brings usual scales, 1 to 10, near 1.
_UNIT = 5.0


class GuidanceEmbedding(nn.Module):
    """Maps scales `[B, 2]`, s_y and s_r, to vectors `[B, dim]`, which are 0 at first."""

    def __init__(self, dim: int) -> None:
        """`dim` is the width of the timestep's embedding."""
        super().__init__()
        self.linear_1 = nn.Linear(2, _HIDDEN_DIM)
        self.linear_2 = nn.Linear(_HIDDEN_DIM, dim)
        nn.init.zeros_(self.linear_2.weight)
        nn.init.zeros_(self.linear_2.bias)

    def forward(self, scales: Tensor) -> Tensor:
        hidden = self.linear_1(scales.to(self.linear_1.weight) / _UNIT)
        return self.linear_2(nn.functional.silu(hidden))

    @torch.no_grad()
    def bias_change(self, text_scale: float, reference_scale: float) -> Tensor:
        """Returns what the bias `BIAS` has to be raised by for these scales, `[dim]` float32."""
        return self(torch.tensor([[text_scale, reference_scale]]))[0].float()


@contextmanager
def guided_by(transformer: nn.Module, embedded: Tensor) -> Iterator[None]:
    """While it is open, `embedded` `[B, dim]` is added to the video's timestep embedding.

    `transformer` is an `LTX2VideoTransformer3DModel` with a batch of B, whose timesteps may be one
    a sample or several.
    """

    def add(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        rows = output.unflatten(0, (len(embedded), -1))
        return (rows + embedded[:, None].to(rows)).flatten(0, 1)

    hook = transformer.time_embed.emb.register_forward_hook(add)
    try:
        yield
    finally:
        hook.remove()


def read_guidance_embedding(path: str | Path) -> GuidanceEmbedding | None:
    """Reads the embedding of a LoRA's file, or returns None where the file has none.

    Raises ValueError for a file that cannot be read, and for an embedding that is not whole.
    """
    with open_lora(path) as file:
        tensors = {
            key.removeprefix(FILE_PREFIX): file.get_tensor(key).float()
            for key in file.keys()  # noqa: SIM118
            if key.startswith(FILE_PREFIX)
        }
    if not tensors:
        return None
    last = tensors.get("linear_2.bias")
    try:
        embedding = GuidanceEmbedding(0 if last is None else len(last))
        embedding.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(
            f"LoRA {path} has an embedding of guidance scales that is not whole; needs all of it: "
            "export the weights again."
        ) from error
    return embedding.requires_grad_(False)
