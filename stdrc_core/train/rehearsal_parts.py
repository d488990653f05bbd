"""The parts of a rehearsed run that a real run reads from disk or gets from a library."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn

from ..faces.align import ARCFACE_SIZE_PX, arcface_template
from ..ltx.text import NUM_TOKENS
from ..method.grid import latent_grid
from ..rehearsal.memory_record import MemoryRecord
from ..video import check_num_frames
from .arguments import HEIGHT, NUM_FRAMES, WIDTH
from .cache import Cache, FurtherReference, Manifest, Sample
from .cache_writer import CacheWriter
from .config import TrainConfig
from .sharding import policy_of_run
from .trainable import trained_parameters

# bitsandbytes keeps the moments of weights this large in 8 bits, with a float32 for each block.
_EIGHT_BIT_FROM, _EIGHT_BIT_BLOCK = 4096, 256


@dataclass(frozen=True, kw_only=True)
class ClipSize:
    """The size of the clips of a cache that is not there."""

    num_frames: int = NUM_FRAMES
    height: int = HEIGHT
    width: int = WIDTH

    def __post_init__(self) -> None:
        """Raises ValueError for a number of frames or a side that the VAE cannot take."""
        check_num_frames(self.num_frames)
        for name in ("height", "width"):
            if getattr(self, name) < 32 or getattr(self, name) % 32:
                raise ValueError(f"{name} was {getattr(self, name)}; needs a multiple of 32.")

    def num_tokens(self, num_references: int) -> int:
        """Tokens of a clip and its references, each of which is one more latent frame."""
        grid = latent_grid(self.num_frames, self.height, self.width)
        return grid.num_tokens + num_references * grid.tokens_per_frame

    def manifest(self, context_dim: int, latent_channels: int) -> Manifest:
        """The manifest of a cache of such clips, with prompts of LTX's length."""
        return Manifest(
            num_frames=self.num_frames,
            height=self.height,
            width=self.width,
            fps=24.0,
            latent_channels=latent_channels,
            context_shape=(NUM_TOKENS, context_dim),
            checkpoint="",
            checkpoint_fingerprint="",
            text_encoder="",
            face_pack="",
        )


def write_sized_cache(
    folder: Path, made: Manifest, num_references: int, num_features: int
) -> Cache:
    """Writes and opens a cache of one sample of the manifest's size, all zeros.

    Faces are embedded in `num_features` numbers. The sample's face is in the middle of every frame,
    a third of it high.
    """
    grid = latent_grid(made.num_frames, made.height, made.width)
    size_px = made.height / 3
    points = arcface_template() / ARCFACE_SIZE_PX * size_px
    middle = torch.tensor([made.width, made.height]) / 2 - size_px / 2
    person = {
        "reference": torch.zeros(made.height, made.width, 3, dtype=torch.uint8),
        "boxes": torch.cat((middle, middle + size_px)).float().expand(made.num_frames, 4),
        "landmarks": (points + middle).float().expand(made.num_frames, 5, 2),
        "has_face": torch.ones(made.num_frames, dtype=torch.bool),
        "e_ref": torch.ones(num_features) / num_features**0.5,
    }
    sample = Sample(
        id="clip",
        video="clip.mp4",
        caption="",
        identity=None,
        reference_source="photo",
        latent=torch.zeros(made.latent_channels, grid.num_frames, grid.height, grid.width),
        context=torch.zeros(made.context_shape),
        **person,
        further=tuple(
            FurtherReference(source="photo", **person) for _ in range(num_references - 1)
        ),
    )
    with CacheWriter(folder, made, torch.zeros(made.context_shape)) as writer:
        writer.add(sample)
    return Cache(folder)


class RehearsedProcess:
    """A process of a rehearsed run: what `loop.training_step` uses of accelerate's Accelerator."""

    # A tensor without numbers is asked about by `reduce`, as among several processes.
    num_processes = 2

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        record: MemoryRecord,
        *,
        num_gpus: int,
        is_sharded: bool,
    ) -> None:
        """`model` is what is trained, and `record` watches it; there are `num_gpus` processes."""
        self.trained = [p for _, p in trained_parameters(model)]
        self.device, self.record = device, record
        self.num_gpus, self.is_fsdp2 = num_gpus, is_sharded

    def no_sync(self, _: nn.Module) -> AbstractContextManager[None]:
        """DDP sends nothing here in any micro-batch."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Differentiates the loss, and counts what is left as gradients."""
        loss.backward()
        self.record.declare_gradients(self.trained)

    def clip_grad_norm_(self, parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
        """As accelerate has it."""
        return nn.utils.clip_grad_norm_(parameters, max_norm)

    def reduce(self, *_: object) -> Tensor:
        """The answer of all processes: none of them has a loss that is not finite."""
        return torch.zeros(())


def set_up_autocast(config: TrainConfig, model: nn.Module, device: torch.device) -> None:
    """Runs `model` under autocast where the run does, with outputs in float32, as accelerate."""
    if config.model.dtype == "bfloat16":
        autocast = torch.autocast(device.type, torch.bfloat16)
        model.forward = convert_outputs_to_fp32(autocast(model.forward))


def shard(model: nn.Module, mesh: Any, config: TrainConfig) -> None:
    """Shards a model as accelerate does by `accelerate_fsdp2_8gpu.yaml` and `set_up_sharding`.

    Each block of the transformer is a unit, and all around them another one.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    low = torch.bfloat16 if config.model.dtype == "bfloat16" else None
    policy = policy_of_run(MixedPrecisionPolicy(param_dtype=low))
    for block in model.backbone.transformer.transformer_blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    fully_shard(model, mesh=mesh, reshard_after_forward=True, mp_policy=policy)


class EightBitMoments(torch.optim.Optimizer):
    """Has the state of bitsandbytes' AdamW8bit, and changes nothing."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Makes the state of each weight that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if parameter.grad is None or state:
                    continue
                is_small = parameter.numel() < _EIGHT_BIT_FROM
                for moment in ("state1", "state2"):
                    dtype = torch.float32 if is_small else torch.uint8
                    state[moment] = torch.zeros_like(parameter, dtype=dtype)
                    if not is_small:
                        num_blocks = -(-parameter.numel() // _EIGHT_BIT_BLOCK)
                        state[f"absmax_{moment}"] = parameter.new_zeros(num_blocks).float()
