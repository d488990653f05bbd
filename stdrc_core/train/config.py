"""What a training run is, resolved and checked: a YAML recipe, changed by `--set KEY=VALUE`.

Unknown keys are refused, every range is checked, and the resolved configuration is saved beside the
run's results. Defaults are the paper's numbers (docs/method.md section 4) where it gives them. The
docstring under each key is its line in `docs/train/configuration.md`, which `configuration_page`
writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from ..method.grid import LTX_SCALE_FACTORS
from ..method.guidance import REFERENCE_SCALE, TEXT_SCALE
from ..text_files import parse_yaml, read_yaml
from .config_errors import sentence
from .objective_config import ObjectiveSection, ReferenceSection
from .section import Section

Dtype = Literal["bfloat16", "float32"]


class ModelSection(Section):
    """The weights that training starts from, and how they are kept in memory."""

    checkpoint: Path
    """Which LTX-2.0, LTX-2.3 or LTX-2.5 weights to start from: a single file, a split transformer
    file or a diffusers folder."""
    loras: tuple[Path, ...] = ()
    """Which LoRAs to merge into the frozen weights before training, such as the one whose guidance
    `objective.distil` learns; whoever uses what is trained loads them too."""
    vae: Path | None = None
    """Which file to read the video VAE from; without it, it is read from the checkpoint. The
    identity losses need one with a convolutional decoder."""
    dtype: Dtype = "bfloat16"
    """Which precision the frozen weights and the forward pass have; trained weights are always kept
    in float32."""
    vae_dtype: Dtype | None = None
    """Which precision the frozen VAE has; without it, that of `model.dtype`."""
    gradient_checkpointing: bool = True
    """Whether to compute activations again in the backward pass instead of keeping them; this takes
    less memory and about a third more time."""
    compile: bool = False
    """Whether to compile the transformer's blocks (torch.compile); steps get faster after a slow
    start, and a CPU needs a C++ compiler for it."""
    quantization: Literal["none", "int8"] = "none"
    """Whether to keep the frozen weights under a LoRA in 8 bits, which halves their memory and
    leaves activations as they are; `int8` needs torchao."""
    offload: bool = False
    """Whether to keep what waits for the backward pass, and the VAE while it is idle, in host
    memory; this needs `model.gradient_checkpointing`."""

    @model_validator(mode="after")
    def _offloads_checkpoints(self) -> ModelSection:
        if self.offload and not self.gradient_checkpointing:
            raise ValueError(
                "model.offload was true with model.gradient_checkpointing false; needs it true: "
                "what is offloaded are the inputs of checkpointed blocks"
            )
        return self


class DataSection(Section):
    """What the run is trained on."""

    cache: Path
    """Which folder to read samples from: the one that `python -m stdrc_core.train prepare` wrote
    with `--out`."""
    prefetch: int = Field(2, ge=0)
    """How many micro-batches a thread reads, draws, augments and fits while those before them
    train; a number changes no result, and 0 does all of it in between."""


class TrainableSection(Section):
    """What of the model is trained."""

    method: Literal["lora", "full"] = "lora"
    """What to train: `lora` adds a LoRA to the attention and feed-forward layers of the video
    branch, `full` trains all weights of that branch."""
    rank: int = Field(64, ge=1)
    """The rank of the LoRA; a higher one can learn more and takes more memory."""
    alpha: float = Field(64.0, gt=0)
    """The strength of the LoRA, whose change of a weight is multiplied by alpha / rank."""


class OptimizerSection(Section):
    """How gradients move the trained weights."""

    name: Literal["adamw", "adamw_8bit"] = "adamw"
    """Which optimizer to use: `adamw`, or `adamw_8bit`, which keeps its moments in 8 bits and needs
    bitsandbytes."""
    lr: float = Field(5e-5, gt=0)
    """The learning rate between the warm-up and the decay."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """The decay of the running mean of gradients, per step."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """The decay of the running mean of squared gradients, per step."""
    weight_decay: float = Field(0.01, ge=0)
    """How strongly AdamW pulls weights towards 0, apart from their gradient."""
    max_grad_norm: float = Field(1.0, gt=0)
    """The largest norm that a step's gradient may have; a longer gradient is scaled down to it."""
    num_warmup_steps: int = Field(0, ge=0)
    """How many steps the learning rate takes to rise from 0 at the start of the run."""
    num_decay_steps: int = Field(0, ge=0)
    """How many steps at the end of the run the learning rate takes to fall to 0, in a straight
    line."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """The decay of the running average of the trained weights, per step; the average is what is
    validated and exported, and 0 keeps none."""


class RunSection(Section):
    """How long the run is, and what it writes where."""

    out: Path
    """Which folder to write configuration, logs, checkpoints, validations and weights to; a run
    that is there already goes on."""
    num_steps: int = Field(20_000, ge=1)
    """How many optimizer steps to run; raising it continues a finished run."""
    batch_size: int = Field(32, ge=1)
    """How many samples a step takes over all processes together; it must be a multiple of their
    number and of `run.micro_batch_size`."""
    micro_batch_size: int = Field(1, ge=1)
    """How many samples a process computes at once; a higher one needs more memory, and the
    gradients of the others are added up."""
    seed: int = Field(0, ge=0)
    """The seed of every random choice of the run."""
    checkpoint_every: int = Field(500, ge=1)
    """How many steps lie between two checkpoints; a run that is stopped by SIGTERM or Ctrl-C writes
    one as well."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the newest checkpoints to keep; the best one by FaceSim is kept besides."""
    log_every: int = Field(1, ge=1)
    """How many steps lie between two lines of log.jsonl."""
    trackers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard", "wandb")
    """Which trackers show curves and validations, of those that are installed; W&B writes to the
    run's folder alone, for `wandb sync`, unless WANDB_MODE=online is set."""


class ValidationItem(Section):
    """One clip that every validation samples."""

    prompt: str
    """What the clip shows."""
    photo: Path
    """Which photo is the reference, at slot 0."""
    further: tuple[Path, ...] = ()
    """Which photos are further references, of the same person or of others, at slots 1, 2, ..."""
    seed: int = Field(0, ge=0)
    """The seed of the clip's noise; it is the same in every validation."""

    @property
    def photos(self) -> tuple[Path, ...]:
        """All photos of the item, in the order of their slots."""
        return self.photo, *self.further


class ValidationSection(Section):
    """Clips that the run samples on the way, to look at and to measure."""

    every: int = Field(0, ge=0)
    """How many steps lie between two validations; one more follows the last step, each has a
    checkpoint, and 0 never validates."""
    items: tuple[ValidationItem, ...] = ()
    """Which clips every validation samples: a list of items with the keys below."""
    text_encoder: str | None = None
    """Which folder of Gemma 3 12B, or for LTX-2.5 which file or folder of Gemma 4, embeds the
    prompts, once, before training; `miniature` is the miniature's own encoder."""
    num_steps: int = Field(30, ge=1)
    """How many steps the sampler takes for a clip."""
    text_scale: float = TEXT_SCALE
    """How strongly validation follows the prompt (s_y of Eq. 13); exported weights carry it as the
    value to begin with. Students of `objective.distil` run in one pass and heed it for a range
    alone."""
    reference_scale: float = REFERENCE_SCALE
    """How strongly validation keeps the face (s_r of Eq. 13); exported weights carry it as the
    value to begin with. Students of `objective.distil` run in one pass and heed it for a range
    alone."""
    num_frames: int | None = Field(None, ge=1)
    """How many frames a validation clip has, which must be 8n + 1; without it, as many as the
    cache's clips."""
    height: int | None = Field(None, ge=1, multiple_of=LTX_SCALE_FACTORS.height)
    """The height of a validation clip in pixels; without it, that of the cache's clips."""
    width: int | None = Field(None, ge=1, multiple_of=LTX_SCALE_FACTORS.width)
    """The width of a validation clip in pixels; without it, that of the cache's clips."""

    def is_due(self, step: int, num_steps: int) -> bool:
        """Whether to validate when `step` of `num_steps` steps are done."""
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
    """A whole run; its sections are the top level of the YAML file."""

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
    def _merges_under_a_lora(self) -> TrainConfig:
        if self.model.loras and self.trainable.method == "full":
            names = ", ".join(path.name for path in self.model.loras)
            raise ValueError(
                f"model.loras was {names} with trainable.method full; needs method lora, since "
                "full weights are exported with the checkpoint's audio branch, which a LoRA may "
                "change too: take it, or a checkpoint with the LoRA inside"
            )
        return self

    @model_validator(mode="after")
    def _distils_what_can_be_loaded(self) -> TrainConfig:
        distil = self.objective.distil
        if distil is None or not distil.has_range:
            return self
        if self.trainable.method == "full":
            raise ValueError(
                "objective.distil has a range of scales with trainable.method full; needs method "
                "lora, whose file alone has a place for the embedding of the scales: take it, or a "
                "number for each scale"
            )
        for name, (low, high) in zip(("text_scale", "reference_scale"), distil.ranges, strict=True):
            scale = getattr(self.validation, name)
            if not low <= scale <= high:
                raise ValueError(
                    f"validation.{name} was {scale:g} with objective.distil.{name} from {low:g} to "
                    f"{high:g}; needs a scale that the student learns"
                )
        return self

    @property
    def sampled_scales(self) -> tuple[float, float]:
        """The s_y and s_r that sampling combines streams by: 1 and 1, which is vyr alone, for a
        distilled student."""
        if self.objective.distil is not None:
            return 1.0, 1.0
        return self.validation.text_scale, self.validation.reference_scale

    @property
    def embedded_scales(self) -> tuple[float, float] | None:
        """The s_y and s_r that a student of a range is given in validation; None for all others."""
        distil = self.objective.distil
        if distil is None or not distil.has_range:
            return None
        return self.validation.text_scale, self.validation.reference_scale

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
        values = read_yaml(path, "config")
    except OSError as error:
        raise ValueError(
            f"config {path} could not be read ({error.strerror}); needs a YAML recipe: check the "
            "path."
        ) from error
    except yaml.YAMLError as error:
        raise ValueError(f"config {path} is not YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"config {path} holds no sections; needs model, data, run and objective.")
    for change in changes:
        _apply(values, change)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(f"config {path}: {sentence(error, TrainConfig)}") from error


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
        values[name] = parse_yaml(value)
    except yaml.YAMLError as error:
        raise ValueError(
            f"--set was {change!r}; its value is not YAML: quote it, as in --set 'a.b=[1, 2]'."
        ) from error
