"""The attention of LTX-2.5's diffusion decoder: each pixel patch sees its neighbours alone.

diffusers computes it by a kernel that it fetches from a hub, or by FlexAttention with a mask of all
pairs of tokens, which at a clip's size is larger than any memory. Here the grid is cut into tiles
of queries; the neighbours of a tile are a box of the grid, and which of them a query sees is a mask
of tile by box. That is exact, runs on every device, and needs nothing but torch.

A query at i of n positions sees k' = min(k, n) of them along an axis, from
clamp(i - floor(k' / 2), 0, n - k') on: the window is moved inward at the borders and never cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from diffusers.models.autoencoders.ltx2_diffusion_decoder import LTX2VideoVaeNeighborhoodAttention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

# A tile's sides in tokens (time, height, width). Larger ones share more of their neighbours, and
# their masks take more memory.
_TILE = (4, 8, 8)


class NeighborhoodAttention(LTX2VideoVaeNeighborhoodAttention):
    """diffusers' layer with the same weights and the attention of this file.

    It takes grids that are smaller than the window too, as ComfyUI does.
    """

    @classmethod
    def like(cls, layer: LTX2VideoVaeNeighborhoodAttention) -> NeighborhoodAttention:
        """Returns a layer of the sizes of `layer`, with fresh weights."""
        dim = layer.heads * layer.head_dim
        return cls(dim, layer.kernel_size, layer.head_dim, layer.rope.base)

    def build_block_mask(self, hidden_states: Tensor) -> None:
        """Returns None: no mask of the whole grid is needed."""

    def forward(self, hidden_states: Tensor, block_mask: None = None) -> Tensor:
        """Maps tokens `[B, T, H, W, C]` to tokens of that shape."""
        query, key, value = self.project_qkv(hidden_states)
        attended = neighborhood_attention(query, key, value, self.kernel_size)
        return self.to_out[0](attended.flatten(4))


def neighborhood_attention(
    query: Tensor, key: Tensor, value: Tensor, kernel_size: tuple[int, int, int]
) -> Tensor:
    """Returns softmax(q k) v over each query's window, `[B, T, H, W, heads, D]` as its inputs.

    The queries are scaled already. `kernel_size` is the window's length in time, height and width.
    """
    sizes = query.shape[1:4]
    starts = [_starts(*each) for each in zip(sizes, kernel_size, strict=True)]
    lengths = [min(*each) for each in zip(sizes, kernel_size, strict=True)]
    output = torch.empty_like(value)
    # Tiles away from the borders have one mask.
    masks: dict[tuple[tuple[int, ...], ...], Tensor] = {}
    for tile in _tiles(sizes):
        firsts = [starts[axis][part] for axis, part in enumerate(tile)]
        boxes = [
            slice(first[0], first[-1] + length)
            for first, length in zip(firsts, lengths, strict=True)
        ]
        offsets = tuple(tuple(start - first[0] for start in first) for first in firsts)
        if offsets not in masks:
            masks[offsets] = _mask(offsets, lengths, query.device)
        parts = (query[:, *tile], key[:, *boxes], value[:, *boxes])
        # [B, t, h, w, heads, D] -> [B, heads, t h w, D]
        q, k, v = (part.flatten(1, 3).transpose(1, 2) for part in parts)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=masks[offsets], scale=1.0)
        output[:, *tile] = attended.transpose(1, 2).unflatten(1, parts[0].shape[1:4])
    return output


def _mask(offsets: Sequence[Sequence[int]], lengths: Sequence[int], device: torch.device) -> Tensor:
    """Returns which positions of its box each query of a tile sees, `[t h w, t' h' w']`.

    `offsets` are where the windows of the tile's queries begin in the box, along each axis, and
    `lengths` how long they are.
    """
    seen = []
    for starts, length in zip(offsets, lengths, strict=True):
        own = torch.tensor(starts, device=device)[:, None]
        offset = torch.arange(starts[-1] + length, device=device) - own
        seen.append((offset >= 0) & (offset < length))
    time, height, width = seen
    mask = (
        time[:, None, None, :, None, None]
        & height[None, :, None, None, :, None]
        & width[None, None, :, None, None, :]
    )
    return mask.flatten(3).flatten(0, 2)


def _starts(size: int, kernel: int) -> list[int]:
    """Returns where the window of each of `size` positions begins."""
    length = min(size, kernel)
    return [min(max(i - length // 2, 0), size - length) for i in range(size)]


def _tiles(sizes: torch.Size) -> Iterator[tuple[slice, slice, slice]]:
    """Yields tiles that cover a grid, each position once."""
    cuts = [range(0, size, step) for size, step in zip(sizes, _TILE, strict=True)]
    for corner in ((t, h, w) for t in cuts[0] for h in cuts[1] for w in cuts[2]):
        yield tuple(
            slice(start, min(start + step, size))
            for start, step, size in zip(corner, _TILE, sizes, strict=True)
        )
