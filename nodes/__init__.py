"""The face towards ComfyUI: the extension and its list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .guider import STDRCThreeStreamGuider, STDRCThreeStreamSampler
from .mini import STDRCMiniPrompt
from .patch import STDRCApplyTASSRoPE
from .reference import STDRCEncodeReference

NODES: list[type[io.ComfyNode]] = [
    STDRCEncodeReference,
    STDRCApplyTASSRoPE,
    STDRCThreeStreamGuider,
    STDRCThreeStreamSampler,
    STDRCMiniPrompt,
]


class STDRCExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> STDRCExtension:
    return STDRCExtension()
