"""The face towards ComfyUI: the extension and its list of nodes."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import ComfyExtension, io

from ..stdrc_core.mini.shipped import CHECKPOINT
from .guider import STDRCThreeStreamGuider, STDRCThreeStreamSampler
from .mini import STDRCMiniCharacter, STDRCMiniPrompt
from .patch import STDRCApplyTASSRoPE
from .reference import STDRCEncodeReference

NODES: list[type[io.ComfyNode]] = [
    STDRCEncodeReference,
    STDRCApplyTASSRoPE,
    STDRCThreeStreamGuider,
    STDRCThreeStreamSampler,
    STDRCMiniPrompt,
    STDRCMiniCharacter,
]


class STDRCExtension(ComfyExtension):
    async def on_load(self) -> None:
        """Offers the miniature beside the user's own checkpoints: it ships with this pack."""
        folder_paths.add_model_folder_path("checkpoints", str(CHECKPOINT.parent))

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> STDRCExtension:
    return STDRCExtension()
