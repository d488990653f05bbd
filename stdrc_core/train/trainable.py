"""What of the backbone is trained: a LoRA on the video branch, or all of its weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..ltx.guidance_embedding import GuidanceEmbedding
from .config import TrainableSection

# The video's attention and feed-forward projections, which a LoRA sits on, as diffusers names them.
BLOCK_PROJECTIONS = (
    r".*transformer_blocks\.\d+\.(attn1|attn2)\.(to_q|to_k|to_v|to_out\.0)"
    r"|.*transformer_blocks\.\d+\.ff\.net\.(0\.proj|2)"
)
_ADAPTER = "default"
_EMBEDDING = "guidance_embedding."
_lists_frozen = ContextVar("lists_frozen", default=False)


def make_trainable(model: nn.Module, section: TrainableSection, seed: int) -> None:
    """Freezes all of `model` but what `section` trains, in place; trained weights become float32.

    A fresh LoRA leaves the model's output as it is, since its B is 0; `seed` draws its A. With a
    LoRA the state dict of `model` is the LoRA's alone, so that checkpoints hold what a run changes.
    """
    model.requires_grad_(False)
    if section.method == "full":
        for parameter in model.parameters():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        return
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=section.rank, lora_alpha=section.alpha, target_modules=BLOCK_PROJECTIONS)
    # peft draws from torch's global generator, which the caller gets back as it was.
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.default_generator.manual_seed(seed)
        # peft warns that it cannot merge into an 8-bit base, which is never asked of it.
        warnings.filterwarnings("ignore", message=".*get_apply_tensor_subclass")
        inject_adapter_in_model(config, model, adapter_name=_ADAPTER)
    for name, parameter in model.named_parameters():
        is_adapter = f".{_ADAPTER}." in name
        parameter.requires_grad_(is_adapter)
        if is_adapter:
            parameter.data = parameter.data.float()
    model.register_state_dict_post_hook(_keep_adapter)
    model.register_load_state_dict_post_hook(_expect_adapter)


@contextmanager
def frozen_weights_listed() -> Iterator[None]:
    """Lets state dicts hold the frozen weights as well, until the block is left."""
    token = _lists_frozen.set(True)
    try:
        yield
    finally:
        _lists_frozen.reset(token)


def _keep_adapter(model: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    """Takes frozen weights out of a state dict."""
    if _lists_frozen.get():
        return
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            del state[prefix + name]


def _expect_adapter(_model: nn.Module, keys: Any) -> None:
    """Lets a state dict without frozen weights count as whole."""
    keys.missing_keys[:] = [
        key for key in keys.missing_keys if f".{_ADAPTER}." in key or _EMBEDDING in key
    ]


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Lets the base of a model with a LoRA compute alone, until the block is left.

    peft's own switch would also freeze the LoRA, which its optimizer and DDP rely on not to happen.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    assert layers, "the model has no LoRA to turn off"
    for layer in layers:
        layer._disable_adapters = True  # noqa: SLF001 (see above)
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False  # noqa: SLF001


def add_guidance_embedding(backbone: nn.Module, seed: int) -> None:
    """Gives a backbone with a LoRA the embedding of guidance scales, trained in float32, in place.

    The model's output stays as it is, since the embedding is 0 at first; `seed` draws the rest.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        width = backbone.transformer.time_embed.linear.in_features
        backbone.guidance_embedding = GuidanceEmbedding(width)


def trained_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that the optimizer moves, each with its name."""
    return ((name, p) for name, p in model.named_parameters() if p.requires_grad)


def whole_weights(weights: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The weights with each sharded one (FSDP2) whole.

    A weight that was sharded is on the CPU of the first process and left out on the others. All
    processes must call it, as it gathers weight by weight.
    """
    whole = {}
    for name, value in weights:
        if not isinstance(value, DTensor):
            whole[name] = value
            continue
        gathered = value.full_tensor()
        if value.device_mesh.get_rank() == 0:
            whole[name] = gathered.cpu()
    return whole


class AverageOfWeights:
    """Exponential moving average (EMA) of the trained weights, in float32.

    After each step a <- decay a + (1 - decay) w. It has `state_dict` and `load_state_dict`, so that
    a checkpoint can hold it. Sharded weights have a sharded average, whose state is whole.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: p.detach().clone() for name, p in trained_parameters(model)}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the weights of `model` after a step."""
        for name, parameter in trained_parameters(model):
            self.weights[name].lerp_(parameter, 1 - self.decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The average by name, whole; all processes must call it."""
        return whole_weights(self.weights.items())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes a whole state; each process keeps its own shard of it."""
        for name, value in state.items():
            own = self.weights[name]
            if isinstance(own, DTensor):
                value = distribute_tensor(value.to(own.device), own.device_mesh, own.placements)
            own.copy_(value)


@contextmanager
def exchanged(model: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Puts `weights` in place of the trained weights of `model` for a while, matched by name.

    Meanwhile the tensors of `weights` hold the model's own values, so that there is no second copy
    of the model in memory. Both get their own values back bit for bit, whatever happens inside.
    Sharded weights (FSDP2) change places shard by shard.
    """
    _exchange(model, weights)
    try:
        yield
    finally:
        _exchange(model, weights)


@torch.no_grad()
def _exchange(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Lets tensor after tensor change places."""
    for name, parameter in trained_parameters(model):
        if name in weights:
            own = parameter.clone()
            parameter.copy_(weights[name])
            weights[name].copy_(own)
