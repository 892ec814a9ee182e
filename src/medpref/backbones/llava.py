"""LLaVA: a CLIP tower, a two-layer projector and a Mistral, Qwen2 or other causal language model."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import (
    DynamicCache,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    PreTrainedTokenizerFast,
)

from medpref.backbones.base import ImageTensors, Rows, Size, move_images
from medpref.backbones.families import ModelFamily, model_families
from medpref.backbones.hf import HFBackbone, Prompts
from medpref.backbones.lean import make_lean, read_rows
from medpref.backbones.loading import LoadSettings, read_model, read_sidecar
from medpref.backbones.plain import save_processor
from medpref.backbones.stems import find_stems
from medpref.backbones.templates import Template, templates
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn


class LlavaBackbone(HFBackbone):
    """A `LlavaForConditionalGeneration` with its tokenizer, image processor and chat template.

    Args:
        model: the model; its attention must be ``sdpa``, since eager attention misreads Boolean masks.
        tokenizer: has an ``<image>``, an end and a padding token.
        image_processor: pads to a square, resizes and normalises.
        template: the chat template's name in `medpref.backbones.templates.templates`.
        max_length: how many tokens of prompt (images included) and response fit.
    """

    shares_prefix = True
    shares_stems = True
    model_class = LlavaForConditionalGeneration
    parts = MappingProxyType(
        {
            "tower": ("model.vision_tower",),
            "projector": ("model.multi_modal_projector",),
            "language_model": ("model.language_model",),
        }
    )
    model: LlavaForConditionalGeneration

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        image_processor: LlavaImageProcessorPil,
        template: str,
        max_length: int,
    ) -> None:
        super().__init__(model, tokenizer, image_processor, max_length)
        self.template_name = template
        self.template: Template = templates[template]
        self.image_token: int = model.config.image_token_index
        self.image_tokens: int = _image_tokens(model.config)
        self.lean = make_lean(model.model.language_model, max_length)
        """Whether the decoder's layers compute only what is needed; off, the library's own layers run."""
        self.trim = True
        """Whether the last of the lean layers computes only the columns that are read."""
        self._reserved = tuple(t for t in tokenizer.all_special_tokens if t != IMAGE_PLACEHOLDER)

    @property
    def side(self) -> dict[str, Any]:
        """The template and the length."""
        return {"template": self.template_name, "max_length": self.max_length}

    @property
    def tower_choice(self) -> list[Any]:
        """Which layer's states are read, and whether the CLS token stays."""
        return [self.model.config.vision_feature_layer, self.model.config.vision_feature_select_strategy]

    def prompt_ids(self, prompt: str, sizes: Sequence[Size] = (), history: Sequence[Turn] = ()) -> list[int]:
        """Return the ids of a prompt in the chat template, image tokens in place; sizes do not matter."""
        return self.template.prompt_ids(
            self.tokenizer,
            prompt,
            history,
            bos=self.tokenizer.bos_token_id,
            image=self.image_token,
            image_tokens=self.image_tokens,
            eos=self.tokenizer.eos_token_id,
            reserved=self._reserved,
        )

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""
        return self.template.response_ids(
            self.tokenizer, response, eos=self.tokenizer.eos_token_id, reserved=self._reserved
        )

    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return ``pixel_values`` (channels, height, width): padded to a square with the mean colour, resized
        and normalised, float32.
        """
        pixels = self.processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels}

    def encode_images(self, images: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Run the vision tower: the states of the configured layer, the CLS token left out by default.

        Returns:
            ``patches`` (patches, tower_width) of each image.
        """
        if not images:
            return []
        config = self.model.config
        pixels = torch.stack([image["pixel_values"] for image in images])
        states = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        layers = config.vision_feature_layer
        chosen = [states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
        first = int(config.vision_feature_select_strategy == "default")
        return [{"patches": each} for each in torch.cat([state[:, first:] for state in chosen], dim=-1)]

    def project(self, encoded: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Bring patches into the language model's embedding space: ``tokens`` (image_tokens, width)."""
        if not encoded:
            return []
        patches = torch.stack([image["patches"] for image in encoded])
        return [{"tokens": each} for each in self.model.model.multi_modal_projector(patches)]

    def prepare(self, prompts: Sequence[Sequence[int]], images: Sequence[Sequence[ImageTensors]]) -> Prompts:
        """Return prompts with their images as one batch; what rows share up to their last image is read once.

        Questions on one image differ behind it only, and it takes most of a prompt.
        """
        shared = find_stems(prompts, images, self.image_token)
        if shared is None:
            return super().prepare(prompts, images)
        stems = torch.tensor([stem.ids for stem in shared.stems], device=self.device)
        shown = [move_images(stem.images, self.device) for stem in shared.stems]
        cache = DynamicCache(config=self.model.config.get_text_config())
        inputs = self.generation_inputs(stems, shown)
        self.model(input_ids=stems, past_key_values=cache, use_cache=True, logits_to_keep=1, **inputs)
        rows = torch.tensor(shared.rows, device=self.device)
        cache.batch_select_indices(rows)
        tails, told = self.left_padded([prompt[stems.shape[1] :] for prompt in prompts])
        mask = torch.cat([torch.ones_like(stems)[rows], told], dim=1)
        return Prompts(torch.cat([stems[rows], tails], dim=1), mask, {"past_key_values": cache})

    def read_states(
        self, rows: Rows, features: Sequence[ImageTensors]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`; images are spliced in at their tokens."""
        order = [image for row in rows.images for image in row]
        images = SimpleNamespace(pooler_output=[features[image]["tokens"] for image in order])
        run = partial(
            self.model.model,
            input_ids=rows.ids,
            position_ids=rows.positions,
            mm_encoder_outputs={"image": images} if order else None,
            use_cache=False,
        )
        decoder = self.model.model.language_model
        return read_rows(run, decoder, rows, lean=self.lean, trim=self.trim, recompute=self.recompute)

    def save(self, folder: Path) -> None:
        """Write a plain Hugging Face folder; processor and chat template are for users of transformers."""
        super().save(folder)
        save_processor(folder, self.model.config, self.tokenizer, self.processor, self.template)


def load_llava(folder: Path, settings: LoadSettings, *, weights: bool = True) -> LlavaBackbone:
    """Load a folder written by `save`, or a plain Hugging Face LLaVA folder with the template named.

    Raises:
        InputError: the folder is incomplete, weights are missing or left over, or no template is known.
    """
    side = read_sidecar(folder)
    template = settings.template or side.get("template")
    if template is None:
        raise InputError(
            "no chat template is named for this model",
            where=str(folder),
            remedy=f"Set template to one of: {', '.join(templates)}.",
        )
    model = read_model(LlavaForConditionalGeneration, folder, settings, weights=weights)
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        processor = LlavaImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer or image processor cannot be read: {error}", where=str(folder)) from None
    length = settings.max_length or side.get("max_length") or model.config.text_config.max_position_embeddings
    return LlavaBackbone(model, tokenizer, processor, template, length)


model_families.add(
    "llava",
    ModelFamily("LLaVA in the Hugging Face layout: CLIP and a causal language model", load_llava, ("llava",)),
)


def _image_tokens(config: Any) -> int:
    """Return how many tokens one image takes: the patches, and the CLS token where it is kept."""
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    keeps_cls: bool = config.vision_feature_select_strategy != "default"
    return int(patches) + keeps_cls
