"""The face towards ComfyUI: the extension and its list of nodes."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import ComfyExtension, io

from ..stdrc_core.mini.shipped import CHECKPOINT
from .best import STDRCKeepBestIdentity
from .faces import offer_pack_folder
from .guider import STDRCGuidanceCurve, STDRCThreeStreamGuider, STDRCThreeStreamSampler
from .identity import STDRCArcFaceSimilarity
from .inspection import STDRCInspect
from .mini import STDRCMiniCharacter, STDRCMiniPrompt
from .patch import STDRCApplyTASSRoPE
from .photo import STDRCPrepareReferencePhoto
from .prompts import STDRCDecouplePrompt, STDRCParsePrompts
from .reference import STDRCEncodeReference
from .references import STDRCReferenceList

NODES: list[type[io.ComfyNode]] = [
    STDRCEncodeReference,
    STDRCReferenceList,
    STDRCApplyTASSRoPE,
    STDRCThreeStreamGuider,
    STDRCThreeStreamSampler,
    STDRCGuidanceCurve,
    STDRCInspect,
    STDRCArcFaceSimilarity,
    STDRCPrepareReferencePhoto,
    STDRCKeepBestIdentity,
    STDRCDecouplePrompt,
    STDRCParsePrompts,
    STDRCMiniPrompt,
    STDRCMiniCharacter,
]


class STDRCExtension(ComfyExtension):
    async def on_load(self) -> None:
        """Offers the miniature beside the user's own checkpoints: it ships with this pack."""
        folder_paths.add_model_folder_path("checkpoints", str(CHECKPOINT.parent))
        offer_pack_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES


async def comfy_entrypoint() -> STDRCExtension:
    return STDRCExtension()
