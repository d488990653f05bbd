"""What a training run is, resolved and checked: a YAML recipe, changed by `--set a.b=c`.

Unknown keys are refused, every range is checked, and the resolved configuration is saved beside the
run's results. Defaults are the paper's numbers (docs/method.md section 4) where it gives one.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..method.augmentation import Augmentation
from ..method.grid import LTX_SCALE_FACTORS
from ..method.guidance import REFERENCE_SCALE, TEXT_SCALE
from ..method.layout import Placement
from ..method.reference import ReferenceTimestep

Dtype = Literal["bfloat16", "float32"]


class Section(BaseModel):
    """A part of the configuration: frozen, and without room for a key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSection(Section):
    checkpoint: Path
    """LTX-2 single file, split transformer file or diffusers folder."""
    vae: Path | None = None
    """File with the video VAE; by default the checkpoint itself."""
    dtype: Dtype = "bfloat16"
    """Of the frozen weights and of the forward pass; trained weights are kept in float32."""
    vae_dtype: Dtype | None = None
    """Of the frozen VAE; by default `dtype`."""
    gradient_checkpointing: bool = True
    """Recomputes activations in the backward pass: less memory, about a third more time."""
    compile: bool = False
    """Compiles the transformer's blocks (torch.compile): faster steps after a slow start. On a CPU
    it needs a C++ compiler."""
    quantization: Literal["none", "int8"] = "none"
    """Of the frozen weights under a LoRA: int8 halves them, activations stay as they are."""
    offload: bool = False
    """Keeps what waits for the backward pass, and the VAE while it is idle, in host memory."""

    @model_validator(mode="after")
    def _offloads_checkpoints(self) -> ModelSection:
        if self.offload and not self.gradient_checkpointing:
            raise ValueError(
                "model.offload was true with model.gradient_checkpointing false; needs it true: "
                "what is offloaded are the inputs of checkpointed blocks"
            )
        return self


class DataSection(Section):
    cache: Path
    """What `prepare` wrote."""


class ReferenceSection(Section):
    placement: Placement = Placement.TASS
    """Where the reference's tokens stand: Eq. 4, or another placement."""
    timestep: ReferenceTimestep = ReferenceTimestep.CLEAN
    """Of the reference's tokens: 0, or the video's."""
    p_drop: float = Field(0.20, ge=0, le=1)
    """Share of samples without a reference: no tokens at all, never zeros."""
    augmentation: Augmentation = Augmentation()
    """Eq. 5, in training only."""


class ObjectiveSection(Section):
    timesteps: Literal["logit_normal", "uniform"] = "logit_normal"
    """LTX's resolution-shifted logit-normal, or uniform."""
    timestep_shift: float | None = Field(None, ge=-5, le=10)
    """Of the logit-normal, towards noise: by default LTX's for the clip's number of tokens, 0.95 at
    1024 and 2.05 at 4096."""
    text_p_drop: float = Field(0.05, ge=0, le=1)
    """Share of samples with the empty prompt."""
    lambda_id: float = Field(0.1, ge=0)
    """Weight of L_id, Eq. 11."""
    lambda_tic: float = Field(0.05, ge=0)
    """Weight of L_tic, Eq. 11."""
    gamma: float = Field(1.0, ge=0)
    """Exponent of w(t), Eq. 12."""
    identity_share: float = Field(1.0, gt=0, le=1)
    """Share of samples, drawn at random, that the identity losses look at; each counts 1 / share.
    Less time for noisier losses of the same mean."""
    identity_from: int = Field(0, ge=0)
    """First step, counted from 0, that has the identity losses: those before it take less time."""
    identity_latent_frames: int = Field(2, ge=1)
    """Consecutive latent frames that are decoded for the identity losses."""
    identity_frames: int = Field(4, ge=1)
    """Of the frames decoded, how many are embedded."""
    identity_crop_margin: int | None = Field(None, ge=0)
    """Decodes only the faces of the frames and this many latent cells (32 pixels) around them: less
    time and memory, but pixels that differ the more, the smaller it is. By default whole frames."""
    face_pack: Path | None = None
    """InsightFace pack folder with the recognition model; needed where a lambda is above 0."""

    @property
    def has_identity_losses(self) -> bool:
        return self.lambda_id > 0 or self.lambda_tic > 0

    @model_validator(mode="after")
    def _needs_faces(self) -> ObjectiveSection:
        if self.has_identity_losses and self.face_pack is None:
            raise ValueError(
                "face_pack is missing; needs the folder of an InsightFace pack for the identity "
                "losses: set objective.face_pack, or lambda_id and lambda_tic to 0"
            )
        return self


class TrainableSection(Section):
    method: Literal["lora", "full"] = "lora"
    """A LoRA on video attention and feed-forward, or all weights of the video branch."""
    rank: int = Field(64, ge=1)
    """Of the LoRA."""
    alpha: float = Field(64.0, gt=0)
    """The LoRA's change is multiplied by alpha / rank."""


class OptimizerSection(Section):
    name: Literal["adamw", "adamw_8bit"] = "adamw"
    """AdamW, or bitsandbytes' with moments of 8 bits."""
    lr: float = Field(5e-5, gt=0)
    """Learning rate between warm-up and decay."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay of the mean of gradients."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """Decay of the mean of squared gradients."""
    weight_decay: float = Field(0.01, ge=0)
    """AdamW's, apart from the gradient."""
    max_grad_norm: float = Field(1.0, gt=0)
    """Gradients of a greater norm are scaled down to it."""
    num_warmup_steps: int = Field(0, ge=0)
    """Steps over which the learning rate rises from 0."""
    num_decay_steps: int = Field(0, ge=0)
    """Last steps of the run, over which the learning rate falls to 0 in a straight line."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights; 0 keeps none."""


class RunSection(Section):
    out: Path
    """Folder of the run: configuration, logs, checkpoints, exported weights."""
    num_steps: int = Field(20_000, ge=1)
    """Of the optimizer; the same command with more goes on."""
    batch_size: int = Field(32, ge=1)
    """Samples a step over all processes together."""
    micro_batch_size: int = Field(1, ge=1)
    """Samples that one process holds at once; the rest is accumulated."""
    seed: int = Field(0, ge=0)
    """Of every random choice of the run."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps from one checkpoint to the next; SIGTERM and SIGINT write one as well."""
    keep_checkpoints: int = Field(3, ge=1)
    """The newest that are kept; the best is kept besides."""
    log_every: int = Field(1, ge=1)
    """Steps from one line of log.jsonl to the next."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard", "wandb")
    """Where curves and validations are shown, of those installed. W&B writes to the run's folder
    alone, for `wandb sync`; it uploads as the run goes where WANDB_MODE=online is set."""


class ValidationItem(Section):
    """One clip that every validation samples."""

    prompt: str
    photo: Path
    further: tuple[Path, ...] = ()
    """Photos beside `photo`, of the same person or of others: slots 1, 2, ..."""
    seed: int = Field(0, ge=0)

    @property
    def photos(self) -> tuple[Path, ...]:
        """All of them, in the order of their slots."""
        return self.photo, *self.further


class ValidationSection(Section):
    every: int = Field(0, ge=0)
    """Steps from one validation to the next, and one after the last step; 0 never validates. Each
    has a checkpoint too, of which the best by FaceSim is kept."""
    items: tuple[ValidationItem, ...] = ()
    """Clips to sample, each with `prompt`, `photo` and `seed`; `further` photos: slots 1, 2, ..."""
    text_encoder: str | None = None
    """Folder of Gemma 3 12B, or `miniature`; embeds the prompts, once, before training."""
    num_steps: int = Field(30, ge=1)
    """Of the sampler."""
    text_scale: float = TEXT_SCALE
    """s_y, Eq. 13; the exported weights name it as theirs."""
    reference_scale: float = REFERENCE_SCALE
    """s_r, Eq. 13; the exported weights name it as theirs."""
    num_frames: int | None = Field(None, ge=1)
    """8n + 1; this and the sides, in pixels, are by default the cache's."""
    height: int | None = Field(None, ge=1, multiple_of=LTX_SCALE_FACTORS.height)
    """A multiple of 32."""
    width: int | None = Field(None, ge=1, multiple_of=LTX_SCALE_FACTORS.width)
    """A multiple of 32."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether to validate once `step` of `num_steps` steps are done."""
        return self.every > 0 and (step % self.every == 0 or step == num_steps)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ValidationSection:
        if self.num_frames is not None and self.num_frames % LTX_SCALE_FACTORS.time != 1:
            raise ValueError(
                f"validation.num_frames was {self.num_frames}; needs 8n + 1, for example 49"
            )
        if self.every and not self.items:
            raise ValueError(
                "validation.items is empty; needs a prompt and a photo to validate with: add one, "
                "or set validation.every to 0"
            )
        if self.every and self.text_encoder is None:
            raise ValueError(
                "validation.text_encoder is missing; needs the folder of Gemma that the cache was "
                "made with: set it, or validation.every to 0"
            )
        return self


class TrainConfig(Section):
    """A whole run; the sections are the YAML file's top level."""

    model: ModelSection
    data: DataSection
    run: RunSection
    reference: ReferenceSection = ReferenceSection()
    objective: ObjectiveSection
    trainable: TrainableSection = TrainableSection()
    optimizer: OptimizerSection = OptimizerSection()
    validation: ValidationSection = ValidationSection()

    @model_validator(mode="after")
    def _trains_no_quantized_weights(self) -> TrainConfig:
        if self.model.quantization != "none" and self.trainable.method == "full":
            raise ValueError(
                f"model.quantization was {self.model.quantization} with trainable.method full; "
                "needs none, since 8-bit weights cannot be trained: take it, or method lora"
            )
        return self

    @model_validator(mode="after")
    def _whole_micro_batches(self) -> TrainConfig:
        if self.run.batch_size % self.run.micro_batch_size:
            raise ValueError(
                f"run.batch_size was {self.run.batch_size}; needs a multiple of "
                f"run.micro_batch_size ({self.run.micro_batch_size})"
            )
        return self

    def to_yaml(self) -> str:
        """The resolved configuration; reading it gives this one again."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_config(path: str | Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Reads a recipe and applies `changes` of the form `section.key=value` (values are YAML).

    Raises ValueError in one sentence for a file that cannot be read, a change of another form, an
    unknown key or a value out of range.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(
            f"config {path} could not be read ({error.strerror}); needs a YAML recipe: check the "
            "path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"config {path} holds no sections; needs model, data, run and objective.")
    for change in changes:
        _apply(values, change)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"config {path}: {_sentence(error)}") from error


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, value = change.partition("=")
    *sections, name = key.split(".")
    if not equals or not sections or not name:
        raise ValueError(f"--set was {change!r}; needs section.key=value, as run.num_steps=100.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ValueError(f"--set was {change!r}; {section} is a value, not a section.")
    try:
        values[name] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(
            f"--set was {change!r}; its value is not YAML: quote it, as in --set 'a.b=[1, 2]'."
        ) from error


def _sentence(error: ValidationError) -> str:
    """All that is wrong, the key and the value that was given with each."""
    parts = []
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"])) or "the whole"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            parts.append(f"{key} is missing")
        elif problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            parts.append(f"{key} is not a known key{_nearest(problem['loc'])}")
        elif problem["type"] == "value_error":
            parts.append(message)
        else:
            parts.append(f"{key} was {problem['input']!r}: {message[0].lower()}{message[1:]}")
    return "; ".join(parts) + "."


def _nearest(place: Sequence[str | int]) -> str:
    """The known key that looks most like an unknown one, as part of a sentence."""
    *sections, name = (part for part in place if isinstance(part, str))
    known = _keys(TrainConfig)
    for section in sections:
        known = _keys(known[section])
    close = difflib.get_close_matches(name, known, n=1)
    return f"; the nearest is {close[0]}" if close else f"; needs one of {', '.join(known)}"


def _keys(section: Any) -> dict[str, Any]:
    """The keys of a section with their types; of a tuple of sections, those of one."""
    section = get_args(section)[0] if get_args(section) else section
    if dataclasses.is_dataclass(section):
        return {field.name: field.type for field in dataclasses.fields(section)}
    return {name: field.annotation for name, field in section.model_fields.items()}
