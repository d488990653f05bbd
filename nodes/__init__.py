"""What ComfyUI loads of this pack: the extension and its list of nodes."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import ComfyExtension, io

from ..stdrc_core.mini.shipped import CHECKPOINT, ONE_PASS_LORA
from .apply_tass_rope import STDRCApplyTASSRoPE
from .arcface_similarity import STDRCArcFaceSimilarity
from .decouple_prompt import STDRCDecouplePrompt
from .encode_reference import STDRCEncodeReference
from .face_packs import offer_pack_folder
from .guidance_curve import STDRCGuidanceCurve
from .inspect_references import STDRCInspect
from .keep_best_identity import STDRCKeepBestIdentity
from .mini_character import STDRCMiniCharacter
from .mini_prompt import STDRCMiniPrompt
from .parse_prompts import STDRCParsePrompts
from .prepare_reference_photo import STDRCPrepareReferencePhoto
from .reference_list import STDRCReferenceList
from .three_stream_guider import STDRCThreeStreamCFGGuider
from .three_stream_sampler import STDRCThreeStreamSampler

NODES: list[type[io.ComfyNode]] = [
    STDRCEncodeReference,
    STDRCReferenceList,
    STDRCApplyTASSRoPE,
    STDRCThreeStreamCFGGuider,
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
    """This pack, as ComfyUI asks for it."""

    async def on_load(self) -> None:
        """Adds the folders of the shipped miniature, its LoRA and face packs to ComfyUI's own."""
        folder_paths.add_model_folder_path("checkpoints", str(CHECKPOINT.parent))
        folder_paths.add_model_folder_path("loras", str(ONE_PASS_LORA.parent))
        offer_pack_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Returns the pack's nodes."""
        return NODES


async def comfy_entrypoint() -> STDRCExtension:
    """Returns the extension; ComfyUI looks for this name."""
    return STDRCExtension()
