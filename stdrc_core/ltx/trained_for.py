"""What ST-DRC weights were trained for, as it is written into their files and read from them.

Every file has it in its safetensors metadata, as JSON under `stdrc`. ComfyUI keeps the metadata of
a LoRA beside the model. Of the metadata of full weights it keeps only the transformer's settings,
which are a part of `config`; so full weights have it a second time there, as a setting that nothing
else reads.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import PureWindowsPath
from typing import Any

from ..method.layout import Placement
from ..method.reference import ReferenceTimestep
from .distilled import Distilled, DistilledScale

KEY = "stdrc"
# The version of the fields below; files of a newer version are refused. A distilled model whose
# scales are an input has the newer one, since who knows nothing of that samples something else.
_FORMAT_VERSION, _FORMAT_VERSION_OF_RANGES = 1, 2


@dataclass(frozen=True, kw_only=True)
class TrainedFor:
    """What weights are to be sampled with, and where they come from."""

    placement: Placement
    """Where the reference's tokens stood in training."""
    reference_timestep: ReferenceTimestep
    """The timestep that these tokens had in training."""
    text_scale: float
    """The s_y to begin with."""
    reference_scale: float
    """The s_r to begin with."""
    base_model: str
    """The file name of the model that was fine-tuned."""
    config_sha256: str
    """The SHA-256 of the run's resolved configuration, written as YAML."""
    base_version: str | None = None
    """The version of LTX that was fine-tuned, "2.3" for example; None where nobody recorded it."""
    max_photos: int | None = None
    """The most references that a sample showed at once; None where nobody recorded it."""
    first_frames: bool | None = None
    """Whether samples began with a clean first frame; None where nobody recorded it."""
    single_frames: bool | None = None
    """Whether there were samples of one frame, images; None where nobody recorded it."""
    num_frames: int | None = None
    """How many frames the clips had; None where nobody recorded it."""
    distilled: Distilled | None = None
    """The guidance that the weights have inside; None where they have none."""
    base_loras: tuple[str, ...] | None = None
    """The file names of the LoRAs that were merged into that model; None where there were none."""

    def missing_loras(self, lora_files: Collection[str]) -> list[str]:
        """Returns those of `base_loras` that are not among the files on a model, by name.

        The weights' own file is one of these files, and may have the name of one of the others;
        where no file is left for it, all of `base_loras` are returned, as one of them is missing.
        Loaders name a file with its folder, and some without its ending.
        """
        needed = [*(self.base_loras or ())]
        lacking = Counter(map(_file_stem, needed)) - Counter(map(_file_stem, lora_files))
        if not lacking and len(lora_files) <= len(needed):
            return needed
        return [name for name in needed if _file_stem(name) in lacking]

    @property
    def told(self) -> str:
        """What samples were like in training, in a sentence; empty where nobody recorded it."""
        parts = []
        if self.max_photos is not None:
            parts.append("one photo" if self.max_photos == 1 else f"up to {self.max_photos} photos")
        for what, had in (("first", self.first_frames), ("single", self.single_frames)):
            if had is not None:
                parts.append(f"{what} frames" if had else f"no {what} frames")
        if self.num_frames is not None:
            parts.append(f"clips of {self.num_frames} frames")
        return f"Trained with {', '.join(parts)}." if parts else ""

    def beyond(
        self,
        slots: Collection[int],
        *,
        has_first_frame: bool,
        is_single_frame: bool,
        num_frames: int | None = None,
    ) -> list[str]:
        """What a run asks of the weights that they were not trained for, a sentence each.

        `slots` are those of the run's references, and `num_frames` how many frames are sampled at
        once, where that is known. What nobody recorded is taken for trained.
        """
        said = []
        if self.max_photos is not None and len(slots) > self.max_photos:
            said.append(
                f"reference has {len(slots)} photos and the weights were trained with "
                f"{self.max_photos} at most: what more photos do to the clip is not known; leave "
                "some out."
            )
        elif self.max_photos is not None and slots and max(slots) >= self.max_photos:
            said.append(
                f"reference has a photo in slot {max(slots)} and the weights were trained with "
                f"{self.max_photos}, in slots from 0 to {self.max_photos - 1}: use these."
            )
        if has_first_frame and self.first_frames is False:
            said.append(
                "The clip begins with a first frame and the weights were trained without: it may "
                "turn into another picture; train with objective.first_frame_share."
            )
        if is_single_frame and self.single_frames is False:
            said.append(
                "A single frame is made and the weights were trained on clips alone: it may be "
                "rougher than a clip; train with objective.single_frame_share."
            )
        if self.num_frames is not None and (num_frames or 0) > self.num_frames:
            said.append(
                f"The clip has {num_frames} frames at once and the weights were trained on clips "
                f"of {self.num_frames}: sample it in windows of so many over time."
            )
        return said

    def facts(self) -> dict[str, Any]:
        """Returns the fields and the format's version as plain words and numbers, for JSON.

        A field that is None is left out.
        """
        told = {name: value for name, value in asdict(self).items() if value is not None}
        has_range = self.distilled is not None and self.distilled.has_range
        version = _FORMAT_VERSION_OF_RANGES if has_range else _FORMAT_VERSION
        return {"format_version": version, **told}

    def lora_metadata(self) -> dict[str, str]:
        """Returns the safetensors metadata of a LoRA."""
        return {KEY: json.dumps(self.facts())}

    def full_metadata(self, base_config: Mapping[str, Any]) -> dict[str, str]:
        """Returns the safetensors metadata of full weights.

        `base_config` is the `config` of the base model's file. If the base itself says what it was
        trained for, that is replaced.
        """
        settings = {**base_config.get("transformer", {}), KEY: self.facts()}
        config = {**base_config, "transformer": settings}
        return self.lora_metadata() | {"config": json.dumps(config)}


def from_metadata(metadata: Mapping[str, str]) -> TrainedFor | None:
    """Reads a file's safetensors metadata, and returns None where the weights are not ST-DRC's.

    Raises ValueError for metadata that are damaged or of a newer format.
    """
    if KEY not in metadata:
        return None
    try:
        return _parse(json.loads(metadata[KEY]))
    except json.JSONDecodeError as error:
        raise _damaged(f"not JSON: {error}") from error


def from_settings(settings: Mapping[str, Any]) -> TrainedFor | None:
    """Reads a transformer's settings, which are `config.transformer` of full weights.

    Returns None and raises ValueError as `from_metadata` does.
    """
    return _parse(settings[KEY]) if KEY in settings else None


def without_facts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a transformer's settings without what it was trained for: its architecture alone."""
    return {name: value for name, value in settings.items() if name != KEY}


def _parse(facts: Any) -> TrainedFor:
    version = facts.get("format_version") if isinstance(facts, dict) else None
    if isinstance(version, int) and version > _FORMAT_VERSION_OF_RANGES:
        raise ValueError(
            f"metadata {KEY} of the weights has format_version {version}; this version of ST-DRC "
            f"reads {_FORMAT_VERSION_OF_RANGES}: update ST-DRC."
        )
    if not isinstance(facts, dict):
        raise _damaged(f"the whole was {facts!r}")
    problems = [
        f"{name} is missing" for name in _READERS if name not in facts and name not in _OPTIONAL
    ]
    values = {}
    for name, read in _READERS.items():
        if name in facts:
            try:
                values[name] = read(facts[name])
            except (TypeError, ValueError) as error:
                problems.append(f"{name} was {facts[name]!r}: {error}")
    if problems:
        raise _damaged("; ".join(problems))
    return TrainedFor(**values)


def _scale(value: Any) -> float:
    if isinstance(value, int | float) and 0 <= value < math.inf:
        return float(value)
    raise ValueError("needs a number of 0 or more")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("needs text")


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("needs a whole number of 1 or more")


def _file_stem(name: str) -> str:
    return PureWindowsPath(name).name.removesuffix(".safetensors")


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise ValueError("needs names of files")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("needs true or false")


def _distilled(value: Any) -> Distilled:
    if not isinstance(value, dict):
        raise ValueError("needs text_scale and reference_scale")
    return Distilled(**{name: _distilled_scale(scale) for name, scale in value.items()})


def _distilled_scale(value: Any) -> DistilledScale:
    if not isinstance(value, list):
        return _scale(value)
    low, high = map(_scale, value)
    if low > high:
        raise ValueError("needs the lower scale first")
    return low, high


def _one_of(choices: type[Placement] | type[ReferenceTimestep]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value in list(choices):
            return choices(value)
        raise ValueError(f"needs one of {', '.join(map(repr, map(str, choices)))}")

    return read


_READERS: dict[str, Callable[[Any], Any]] = {
    "placement": _one_of(Placement),
    "reference_timestep": _one_of(ReferenceTimestep),
    "text_scale": _scale,
    "reference_scale": _scale,
    "base_model": _text,
    "config_sha256": _text,
    "base_version": _text,
    "max_photos": _count,
    "first_frames": _flag,
    "single_frames": _flag,
    "num_frames": _count,
    "distilled": _distilled,
    "base_loras": _names,
}
# Files of earlier versions of ST-DRC lack them.
_OPTIONAL = {
    *("base_version", "max_photos", "first_frames", "single_frames", "num_frames"),
    *("distilled", "base_loras"),
}


def _damaged(reason: str) -> ValueError:
    return ValueError(
        f"metadata {KEY} of the weights is damaged ({reason}); needs what the trainer wrote: "
        "export the weights again."
    )
