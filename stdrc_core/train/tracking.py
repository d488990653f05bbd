"""Shows a run in TensorBoard and in Weights & Biases, by accelerate's trackers.

W&B is offline and writes to the run's folder, unless the environment's WANDB_MODE says otherwise:
a run must not go to the network, or ask for a login, because a package happens to be installed.
"""

from __future__ import annotations

import io
import os

from accelerate import Accelerator
from accelerate.tracking import GeneralTracker, TensorBoardTracker, WandBTracker
from accelerate.utils import is_tensorboard_available, is_wandb_available
from PIL import Image
from torch import Tensor

from .checkpoints import CheckpointFolder
from .config import TrainConfig
from .validation import SHEET_NAME, Validated

WANDB_PROJECT = "st-drc"
# TensorBoard keeps clips as GIFs in its event file; every second frame at this height is enough.
_GIF_STRIDE, _GIF_HEIGHT_PX = 2, 256


def trackers(config: TrainConfig) -> list[GeneralTracker]:
    """The configured trackers that are installed.

    They start with `Accelerator.init_trackers`.
    """
    out = config.run.out
    made: list[GeneralTracker] = []
    if "tensorboard" in config.run.trackers and is_tensorboard_available():
        made.append(TensorBoardTracker("tensorboard", out, **_purged(config)))
    if "wandb" in config.run.trackers and is_wandb_available():
        # W&B writes to the machine's temporary folder where the run's folder is missing.
        out.mkdir(parents=True, exist_ok=True)
        made.append(
            WandBTracker(
                WANDB_PROJECT,
                name=out.name,
                dir=str(out),
                config=config.model_dump(mode="json"),
                mode=os.environ.get("WANDB_MODE", "offline"),
            )
        )
    return made


def _purged(config: TrainConfig) -> dict[str, int]:
    """What lets TensorBoard forget the steps that a run which goes on does again."""
    if not (config.run.out / "tensorboard").is_dir():
        return {}
    newest = CheckpointFolder.of(config.run).newest()
    return {"purge_step": 0 if newest is None else newest[1]}


def show(accelerator: Accelerator, validated: Validated) -> None:
    """Shows scores, contact sheet and clips of a validation; only the main process may call it."""
    scores = {"validation/facesim": validated.facesim} | {
        f"validation/facesim_{i:02d}": score for i, score in enumerate(validated.scores)
    }
    step = validated.step
    accelerator.log({key: value for key, value in scores.items() if value is not None}, step=step)
    for tracker in accelerator.trackers:
        match tracker.name:
            case "tensorboard":
                _show_in_tensorboard(tracker, validated)
            case "wandb":
                _show_in_wandb(tracker, validated)


def _show_in_tensorboard(tracker: TensorBoardTracker, validated: Validated) -> None:
    from tensorboard.compat.proto.summary_pb2 import Summary

    with Image.open(validated.folder / SHEET_NAME) as sheet:
        images = {"sheet": _encoded([sheet.convert("RGB")], "PNG")}
    for i, clip in enumerate(validated.clips):
        images[f"clip_{i:02d}"] = _animation(clip, validated.fps)
    values = [
        Summary.Value(
            tag=f"validation/{name}",
            image=Summary.Image(width=w, height=h, colorspace=3, encoded_image_string=data),
        )
        for name, (data, (w, h)) in images.items()
    ]
    # The writer's own add_video does the same, but needs moviepy for the GIF.
    tracker.tracker.file_writer.add_summary(Summary(value=values), validated.step)
    tracker.tracker.flush()


def _show_in_wandb(tracker: WandBTracker, validated: Validated) -> None:
    import wandb

    folder = validated.folder
    media = {"validation/sheet": wandb.Image(str(folder / SHEET_NAME))}
    for i in range(len(validated.clips)):
        media[f"validation/clip_{i:02d}"] = wandb.Video(str(folder / f"{i:02d}.mp4"), format="mp4")
    tracker.log(media, step=validated.step)


def _animation(clip: Tensor, fps: float) -> tuple[bytes, tuple[int, int]]:
    """A clip `[F, h, w, 3]` uint8 as a GIF that repeats; its bytes, and (width, height) in pixels.

    `fps` is the clip's frame rate.
    """
    frames = [Image.fromarray(frame.numpy()) for frame in clip[::_GIF_STRIDE]]
    for frame in frames:
        frame.thumbnail((frame.width, _GIF_HEIGHT_PX))
    return _encoded(frames, "GIF", duration=1000 * _GIF_STRIDE / fps, loop=0)


def _encoded(
    frames: list[Image.Image], kind: str, **options: float
) -> tuple[bytes, tuple[int, int]]:
    """The frames as one file of Pillow's format `kind`, and their (width, height) in pixels."""
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(buffer, format=kind, **more, **options)
    return buffer.getvalue(), frames[0].size
