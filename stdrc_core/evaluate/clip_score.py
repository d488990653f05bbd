"""CLIP-Score: 100 x the cosine of prompt and frame by CLIP ViT-B/32, averaged over frames.

The frames are those of ConsisID's published evaluation, number int(i n / 16) of n frames for i from
0 to 15. ConsisID's script hands over OpenCV's BGR as it is; here frames are RGB, which CLIP was
trained on. Prompts are cut at CLIP's 77 tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .clip_networks import embed_images, embed_text, open_clip, open_from_folder
from .frame_batches import FrameBatches
from .metric import Clip, Metric, Score, Watch
from .resources import Resources
from .weights import CLIP_B32

_SCALE = 100.0


class _Watch(Watch):
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
        prompt = self._metric.embedding(self._prompt)
        seen = dict(zip(self._seen, self._embeddings, strict=True))
        curve = [_SCALE * float(seen[index] @ prompt) for index in self.frames]
        return Score(value=sum(curve) / len(curve), frames=self.frames, curve=tuple(curve))


class ClipScore(Metric):
    """The networks are those of transformers. Images are always prepared by its Pillow processor,
    whatever other one is installed."""

    def __init__(self, resources: Resources) -> None:
        from transformers import CLIPImageProcessorPil, CLIPTokenizer

        folder = resources.path("clip", CLIP_B32)
        self._processor = open_from_folder(folder, CLIPImageProcessorPil.from_pretrained)
        self._tokenizer = open_from_folder(folder, CLIPTokenizer.from_pretrained)
        self._device = resources.device
        self._model = model = open_clip(folder).to(self._device)
        self._num_frames = resources.num_frames
        self.batches = FrameBatches(
            lambda pixels: embed_images(model, pixels),
            resources.batch_size,
            self._device,
        )

    def watch(self, clip: Clip) -> _Watch:
        return _Watch(self, clip)

    def frames(self, count: int) -> tuple[int, ...]:
        """The numbers of the frames that are looked at, of a clip of `count` frames."""
        wanted = self._num_frames or count
        return tuple(i * count // wanted for i in range(wanted))

    def pixels(self, frame: Tensor) -> Tensor:
        """A frame `[h, w, 3]` uint8 as the network takes it, `[3, S, S]`, normalised."""
        return self._processor(frame.numpy(), return_tensors="pt")["pixel_values"][0]

    @torch.inference_mode()
    def embedding(self, prompt: str) -> Tensor:
        """The prompt's embedding, `[D]` of length 1, on the CPU."""
        longest = self._model.config.text_config.max_position_embeddings
        tokens = self._tokenizer(
            prompt, truncation=True, max_length=longest, return_tensors="pt"
        ).to(self._device)
        return embed_text(self._model, dict(tokens))[0].cpu()

    def flush(self) -> None:
        self.batches.flush()


open_metric = ClipScore
