"""CLIP-Score: 100 x the cosine of prompt and frame, mean over frames (CLIP ViT-B/32).

The frames are those of the published evaluation of ConsisID, int(i n / 16) of n frames. Its script
hands over OpenCV's BGR as it is; here frames are RGB, as CLIP was trained on. Prompts are cut at
CLIP's 77 tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .clip_networks import embed_images, embed_words, open_clip, opened
from .frame_batches import FrameBatches
from .metric import Clip, Score
from .metric_registry import CLIP_B32
from .resources import Resources

_SCALE = 100.0


class _Watch:
    def __init__(self, metric: ClipScore, clip: Clip) -> None:
        self.frames = metric.frames(clip.num_frames)
        self.wanted = frozenset(self.frames)
        self._metric, self._prompt = metric, clip.prompt
        self._seen: list[int] = []
        self._embeddings: list[Tensor] = []

    def see(self, index: int, frame: Tensor) -> None:
        self._seen.append(index)
        self._metric.batches.add(self._metric.pixels(frame), self._embeddings)

    def score(self) -> Score:
        words = self._metric.words(self._prompt)
        cosines = dict(zip(self._seen, self._embeddings, strict=True))
        curve = [_SCALE * float(cosines[index] @ words) for index in self.frames]
        return Score(value=sum(curve) / len(curve), frames=self.frames, curve=tuple(curve))


class ClipScore:
    """By transformers; the images are prepared by its Pillow processor, whatever is installed."""

    def __init__(self, resources: Resources) -> None:
        from transformers import CLIPImageProcessorPil, CLIPTokenizer

        folder = resources.path("clip", CLIP_B32)
        self._processor = opened(folder, CLIPImageProcessorPil.from_pretrained)
        self._tokenizer = opened(folder, CLIPTokenizer.from_pretrained)
        self._device = resources.device
        self._model = model = open_clip(folder).to(self._device)
        self._num_frames = resources.options.frames
        self.batches = FrameBatches(
            lambda pixels: embed_images(model, pixels),
            resources.options.batch_size,
            self._device,
        )

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self, clip)

    def frames(self, count: int) -> tuple[int, ...]:
        """Which of a clip's frames are looked at."""
        wanted = self._num_frames or count
        return tuple(i * count // wanted for i in range(wanted))

    def pixels(self, frame: Tensor) -> Tensor:
        """`[h, w, 3]` uint8 to what the network takes, `[3, S, S]`."""
        return self._processor(frame.numpy(), return_tensors="pt")["pixel_values"][0]

    @torch.inference_mode()
    def words(self, prompt: str) -> Tensor:
        """`[D]` of length 1."""
        longest = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            prompt, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self._device)
        return embed_words(self._model, dict(tokens))[0].cpu()

    def flush(self) -> None:
        self.batches.flush()

    def close(self) -> None:
        """Holds nothing open."""


open_metric = ClipScore
