"""Decouple Prompt: instructions for a language model to split a prompt (docs/method.md section 8).

One asks for what stands still, for a first frame, and one for what moves, for its clip.
"""

from __future__ import annotations

from comfy_api.latest import io
from torch import Tensor

from ..stdrc_core.faces.frames import check_photo, photo_levels
from ..stdrc_core.faces.photo import only_person
from ..stdrc_core.faces.provider import Provider
from ..stdrc_core.prompts.decouple import (
    MAX_PROMPT_WORDS,
    check_prompt,
    find_subject,
    make_request,
)
from ..stdrc_core.prompts.gender import Gender
from .face_packs import no_face, open_pack, pack_inputs
from .node_message import show_on_node

_AUTO = "auto"
# The type of the link to Parse Prompts; its value is a `decouple.Request`.
PromptRequest = io.Custom("STDRC_PROMPT_REQUEST")


class STDRCDecouplePrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        face_pack, download = pack_inputs()
        return io.Schema(
            node_id="STDRCDecouplePrompt",
            display_name="Decouple Prompt",
            category="ST-DRC",
            description=(
                "Makes of one prompt two instructions for a language model: what stands still, for "
                "a first frame, and what moves, for its clip. Parse Prompts reads the answers."
            ),
            search_aliases=["st-drc", "ipvg-std", "prompt", "llm", "first frame", "staged"],
            inputs=[
                io.String.Input(
                    "prompt",
                    multiline=True,
                    default="",
                    tooltip=(
                        f"Who does what, wearing what and where; {MAX_PROMPT_WORDS} words at most."
                    ),
                ),
                io.Combo.Input(
                    "gender",
                    options=[_AUTO, *Gender],
                    default=_AUTO,
                    tooltip=(
                        "The subject's gender, the same in both prompts. auto takes it from the "
                        "photo if face_pack has a gender model, else from the prompt's words; if "
                        "these do not tell, the prompts say person. The node shows which it was."
                    ),
                ),
                face_pack,
                io.Image.Input(
                    "photo",
                    optional=True,
                    tooltip="The reference photo, for gender = auto. One person.",
                ),
                download,
            ],
            outputs=[
                io.String.Output(
                    display_name="spatial_instruction",
                    tooltip="For Generate Text; its answer goes to Parse Prompts.",
                ),
                io.String.Output(
                    display_name="temporal_instruction",
                    tooltip="For a second Generate Text.",
                ),
                PromptRequest.Output(
                    display_name="request", tooltip="The prompt and whom it is about."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        prompt: str,
        gender: str,
        face_pack: str,
        download: bool,
        photo: io.Image.Type | None = None,
    ) -> io.NodeOutput:
        check_prompt(prompt)
        asked = None if gender == _AUTO else Gender(gender)
        seen, about_photo = None, "no photo is connected"
        if asked is None and photo is not None:
            seen, about_photo = _read_gender(photo, face_pack, download=download)
        request = make_request(prompt, find_subject(prompt, asked, seen, about_photo))
        show_on_node(cls, request.subject.source)
        return io.NodeOutput(*request.instructions, request)


def _read_gender(photo: Tensor, face_pack: str, *, download: bool) -> tuple[Gender | None, str]:
    """Returns the gender that the pack's model sees in the photo, and words for where it is from.

    The gender is None if the pack has no such model. Raises ValueError unless the photo shows one
    person.
    """
    check_photo(photo, "photo")
    pixels = photo_levels(photo, "photo")
    pack = open_pack(face_pack, Provider.AUTO, download=download)
    face = only_person(pixels, pack.finder, "photo")
    if face is None:
        raise no_face(photo, "photo", pack)
    reader = pack.gender_reader()
    if reader is None:
        return None, f"face_pack {pack.name} has no gender model"
    return reader.read(pixels[0], face), f"read from the photo by {pack.name}"
