"""Gemma 3, and so MedGemma: a SigLIP tower, a pooling projector, and layers with a sliding window."""

from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor
from transformers import (
    AutoTokenizer,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
)

from medpref.backbones.base import ImageTensors, Rows, Size
from medpref.backbones.chat import Chat
from medpref.backbones.families import ModelFamily, model_families
from medpref.backbones.hf import HFBackbone
from medpref.backbones.lean import take
from medpref.backbones.loading import LoadSettings, read_model, read_sidecar
from medpref.errors import InputError
from medpref.files import content_hash
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn


class Gemma3Backbone(HFBackbone):
    """A `Gemma3ForConditionalGeneration` with its processor and the chat template that comes with it.

    Each image takes the same number of tokens; images are not cut into crops ("pan and scan").

    Args:
        model: the model; its attention must be ``sdpa``.
        processor: the tokenizer with its image tokens, the image processor and the chat template.
        max_length: how many tokens of prompt (images included) and response fit.

    Raises:
        InputError: the chat template is missing or shows no end of an answer, or the text model is not
            causal.
    """

    shares_prefix = True
    model_class = Gemma3ForConditionalGeneration
    parts = MappingProxyType(
        {
            "tower": ("model.vision_tower",),
            "projector": ("model.multi_modal_projector",),
            "language_model": ("model.language_model",),
        }
    )
    model: Gemma3ForConditionalGeneration

    def __init__(
        self, model: Gemma3ForConditionalGeneration, processor: Gemma3Processor, max_length: int
    ) -> None:
        if model.config.text_config.use_bidirectional_attention:
            raise InputError("the text model sees what is to come, so it cannot be scored token by token")
        super().__init__(model, processor.tokenizer, processor, max_length)
        self.chat = Chat(self.tokenizer, self.tokenizer.boi_token, processor.chat_template)
        self._end = self.chat.end
        self.image_token: int = model.config.image_token_id
        # As text, so that the newlines around an image join those of the prompt as they did in training.
        self._image_text: str = processor.full_image_sequence

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The token that ends a turn, and the one that ends a text."""
        return (self._end, int(self.tokenizer.eos_token_id))

    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of the weights, the configuration, the image processor and the chat template."""
        own = super().fingerprint(part)
        return own if part == "tower" else content_hash(own, self.processor.chat_template)

    def prompt_ids(self, prompt: str, sizes: Sequence[Size] = (), history: Sequence[Turn] = ()) -> list[int]:
        """Return the ids of a prompt in the chat template, image tokens in place; sizes do not matter."""
        images = sum(text.count(IMAGE_PLACEHOLDER) for text in (prompt, *(turn.user for turn in history)))
        return self.chat.prompt_ids(prompt, history, [self._image_text] * images)

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and the end of the turn."""
        return self.chat.response_ids(response)

    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return ``pixel_values`` (channels, height, width): resized to a square, normalised, float32."""
        read = self.processor.image_processor(
            image.convert("RGB"), do_pan_and_scan=False, return_tensors="pt"
        )
        return {"pixel_values": read["pixel_values"][0]}

    def encode_images(self, images: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Run the vision tower: ``patches`` (patches, tower_width) of each image."""
        if not images:
            return []
        pixels = torch.stack([image["pixel_values"] for image in images])
        states = self.model.model.vision_tower(pixel_values=pixels).last_hidden_state
        return [{"patches": each} for each in states]

    def project(self, encoded: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Pool patches and bring them into the embedding space: ``tokens`` (image_tokens, width)."""
        if not encoded:
            return []
        patches = torch.stack([image["patches"] for image in encoded])
        return [{"tokens": each} for each in self.model.model.multi_modal_projector(patches)]

    def read_states(
        self, rows: Rows, features: Sequence[ImageTensors]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`; images are spliced in at their tokens."""
        shown = [features[image]["tokens"] for row in rows.images for image in row]
        states = self.model.model(
            input_ids=rows.ids,
            position_ids=rows.positions,
            attention_mask=self.masks(rows),
            mm_encoder_outputs={"image": SimpleNamespace(pooler_output=torch.stack(shown))}
            if shown
            else None,
            use_cache=False,
        ).last_hidden_state
        return take(states, rows.queries)

    def masks(self, rows: Rows) -> dict[str, Bool[Tensor, "rows 1 tokens tokens"]]:
        """Return which key each column may see, for the layers that see all and for those with a window.

        The tokens of an image see each other in both directions. A window counts positions along a path, not
        columns: what stands between two columns of a path may belong to other paths.
        """
        image = rows.ids == self.image_token
        full = rows.mask() | same_image(image)
        window = self.model.config.text_config.sliding_window
        sliding = full & (rows.positions[:, None, :] > rows.positions[:, :, None] - window)
        return {"full_attention": full[:, None], "sliding_attention": sliding[:, None]}

    def generation_inputs(
        self, tokens: Int[Tensor, "rows tokens"], images: Sequence[Sequence[ImageTensors]]
    ) -> dict[str, Any]:
        """Return the pixels, and which tokens are an image's: the library's masks are made from those."""
        token_types = (tokens == self.image_token).long()
        return {**super().generation_inputs(tokens, images), "token_type_ids": token_types}


def same_image(image: Bool[Tensor, "rows tokens"]) -> Bool[Tensor, "rows tokens tokens"]:
    """Return which columns belong to one image, given which are an image's; images never touch."""
    starts = image & ~image.roll(1, dims=1)
    starts[:, 0] = image[:, 0]
    number = starts.cumsum(dim=1).masked_fill(~image, 0)
    return (number[:, :, None] == number[:, None, :]) & image[:, :, None]


def load_gemma3(folder: Path, settings: LoadSettings, *, weights: bool = True) -> Gemma3Backbone:
    """Load a Hugging Face folder of Gemma 3 or MedGemma.

    Raises:
        InputError: the folder is incomplete, or weights are missing or left over.
    """
    side = read_sidecar(folder)
    model = read_model(Gemma3ForConditionalGeneration, folder, settings, weights=weights)
    processor = _read_processor(folder, model.config.mm_tokens_per_image)
    length = settings.max_length or side.get("max_length") or model.config.text_config.max_position_embeddings
    return Gemma3Backbone(model, processor, length)


def _read_processor(folder: Path, image_tokens: int) -> Gemma3Processor:
    """Put the processor together from its parts: its own loader may pick another backend for images."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        images = Gemma3ImageProcessorPil.from_pretrained(folder, local_files_only=True)
        said, _ = Gemma3Processor.get_processor_dict(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer or image processor cannot be read: {error}", where=str(folder)) from None
    missing = [name for name in ("boi_token", "eoi_token", "image_token") if not hasattr(tokenizer, name)]
    if missing:
        raise InputError(f"the tokenizer names no {', '.join(missing)}", where=str(folder))
    template = said.get("chat_template") or tokenizer.chat_template
    return Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=image_tokens)


model_families.add(
    "gemma3",
    ModelFamily("Gemma 3 and MedGemma: SigLIP and a language model with windows", load_gemma3, ("gemma3",)),
)
