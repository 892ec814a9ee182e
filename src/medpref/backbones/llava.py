"""LLaVA: a CLIP tower, a two-layer projector and a Mistral, Qwen2 or other causal language model."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import torch
from jaxtyping import Float
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import LlavaForConditionalGeneration, LlavaImageProcessorPil, PreTrainedTokenizerFast

from medpref.backbones.base import Backbone, Rows
from medpref.backbones.fingerprint import describe_config, hash_tensors
from medpref.backbones.lean import Tree, make_lean, take
from medpref.backbones.templates import Template, templates
from medpref.errors import InputError, did_you_mean
from medpref.files import content_hash, disk_errors, write_json
from medpref.pairs.pair import IMAGE_PLACEHOLDER

SIDECAR = "medpref.json"
PARTS = {
    "tower": "vision_tower",
    "projector": "multi_modal_projector",
    "language_model": "language_model",
}


class LlavaBackbone(Backbone):
    """A `LlavaForConditionalGeneration` with its tokenizer, image processor and chat template.

    Args:
        model: the model; its attention must be ``sdpa``, since eager attention misreads Boolean masks.
        tokenizer: has an ``<image>``, an end and a padding token.
        image_processor: pads to a square, resizes and normalises.
        template: the chat template's name in `medpref.backbones.templates.templates`.
        max_length: how many tokens of prompt (images included) and response fit.
    """

    shares_prefix = True
    model: LlavaForConditionalGeneration

    def __init__(
        self,
        model: LlavaForConditionalGeneration,
        tokenizer: PreTrainedTokenizerFast,
        image_processor: LlavaImageProcessorPil,
        template: str,
        max_length: int,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.template_name = template
        self.template: Template = templates[template]
        self.max_length = max_length
        self.image_token: int = model.config.image_token_index
        self.pad_token: int = tokenizer.pad_token_id
        self.image_tokens: int = _image_tokens(model.config)
        self.lean = make_lean(model.model.language_model, max_length)
        """Whether the decoder's layers compute only what is needed; off, the library's own layers run."""
        self.trim = True
        """Whether the last of the lean layers computes only the columns that are read."""
        self.recompute = False
        """Whether lean layers save inputs and compute again what follows from them."""
        self._reserved = tuple(t for t in tokenizer.all_special_tokens if t != IMAGE_PLACEHOLDER)

    @classmethod
    def load(
        cls, folder: Path, *, template: str | None = None, max_length: int | None = None
    ) -> "LlavaBackbone":
        """Load a folder written by `save`, or a plain Hugging Face LLaVA folder with the template named.

        Weights are read from safetensors only, and every tensor must find its place.

        Raises:
            InputError: the folder is incomplete, weights are missing or left over, or no template is known.
        """
        if not (folder / "config.json").is_file():
            raise InputError("this folder holds no model (no config.json)", where=str(folder))
        side = json.loads((folder / SIDECAR).read_text()) if (folder / SIDECAR).is_file() else {}
        chosen = template or side.get("template")
        if chosen is None:
            raise InputError(
                "no chat template is named for this model",
                where=str(folder),
                remedy=f"Set template to one of: {', '.join(templates)}.",
            )
        model = _read_model(folder)
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
        processor = LlavaImageProcessorPil.from_pretrained(folder, local_files_only=True)
        length = max_length or side.get("max_length") or model.config.text_config.max_position_embeddings
        return cls(model, tokenizer, processor, chosen, length)

    def save(self, folder: Path) -> None:
        """Write model, tokenizer, image processor and template as one folder."""
        with disk_errors(folder):
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            self.image_processor.save_pretrained(folder)
        write_json(folder / SIDECAR, {"template": self.template_name, "max_length": self.max_length})

    def prompt_ids(self, prompt: str) -> list[int]:
        """Return the ids of a prompt in the chat template, image tokens in place."""
        return self.template.prompt_ids(
            self.tokenizer,
            prompt,
            bos=self.tokenizer.bos_token_id,
            image=self.image_token,
            image_tokens=self.image_tokens,
            reserved=self._reserved,
        )

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""
        return self.template.response_ids(
            self.tokenizer, response, eos=self.tokenizer.eos_token_id, reserved=self._reserved
        )

    def pixel_values(self, image: Image.Image) -> Float[Tensor, "channels height width"]:
        """Return one image padded to a square with the mean colour, resized and normalised, float32."""
        pixels: Tensor = self.image_processor(image.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return pixels

    def encode_images(
        self, pixels: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images patches tower_width"]:
        """Run the vision tower: the states of the configured layer, the CLS token left out by default."""
        config = self.model.config
        states = self.model.model.vision_tower(pixels, output_hidden_states=True).hidden_states
        layers = config.vision_feature_layer
        chosen = [states[layer] for layer in ([layers] if isinstance(layers, int) else layers)]
        first = int(config.vision_feature_select_strategy == "default")
        return torch.cat([state[:, first:] for state in chosen], dim=-1)

    def project(
        self, encoded: Float[Tensor, "images patches tower_width"]
    ) -> Float[Tensor, "images image_tokens width"]:
        """Bring patches into the language model's embedding space."""
        features: Tensor = self.model.model.multi_modal_projector(encoded)
        return features

    @property
    def tower_trains(self) -> bool:
        """Whether some weight of the vision tower is trained."""
        return any(weight.requires_grad for weight in self.model.model.vision_tower.parameters())

    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of the weights, the configuration, the image processor and the template."""
        module = {"all": self.model, "tower": self.model.model.vision_tower}[part]
        config = self.model.config
        return content_hash(
            hash_tensors(module.state_dict()),
            describe_config(config if part == "all" else config.vision_config),
            [config.vision_feature_layer, config.vision_feature_select_strategy],
            describe_config(self.image_processor),
            self.template_name if part == "all" else None,
        )

    def read_states(
        self, rows: Rows, features: Float[Tensor, "images image_tokens width"]
    ) -> Float[Tensor, "rows queries width"]:
        """Return the last hidden states at `rows.queries`; images are spliced in at their tokens."""
        order = [image for row in rows.images for image in row]
        images = SimpleNamespace(pooler_output=[features[image] for image in order])
        call = {
            "input_ids": rows.ids,
            "position_ids": rows.positions,
            "mm_encoder_outputs": {"image": images} if order else None,
            "use_cache": False,
        }
        states: Tensor
        if not self.lean:
            # One mask for all heads; Boolean masks are exact under sdpa and silently wrong under eager.
            output = self.model.model(**call, attention_mask=rows.mask()[:, None])
            states = take(output.last_hidden_state, rows.queries)
            return states
        # Checkpointing keeps nothing of a layer, so there is nothing to save by computing it again.
        recompute = self.recompute and not self.model.model.language_model.gradient_checkpointing
        allowed, visible = rows.allowed[:, None], rows.visible[:, None]
        tree = Tree(rows.trunk, allowed, rows.queries, visible, self.trim, recompute)
        # A mask with four axes passes through the library untouched; the layers read the tree instead.
        states = self.model.model(**call, attention_mask=visible, tree=tree).last_hidden_state
        return states if self.trim else take(states, rows.queries)

    def logits(self, hidden: Float[Tensor, "positions width"]) -> Float[Tensor, "positions vocabulary"]:
        """Apply the LM head in fp32; the image token cannot be said and takes no probability."""
        scores: Tensor = self.model.lm_head(hidden).float()
        scores[:, self.image_token] = float("-inf")
        return scores

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str],
        pixels: Float[Tensor, "images channels height width"] | None,
        images: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[str]:
        """Answer each prompt in one left-padded batch: greedily at temperature 0, else by drawing tokens."""
        ids = [self.prompt_ids(prompt) for prompt in prompts]
        longest = max(map(len, ids))
        pad = self.tokenizer.pad_token_id
        tokens = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=self.device)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in ids], device=self.device)
        order = [image for row in images for image in row]
        extra: dict[str, Any] = {"pixel_values": pixels[order]} if pixels is not None and order else {}
        # The library would draw from the 50 likeliest tokens only.
        drawn = {"do_sample": True, "temperature": float(temperature), "top_k": 0} if temperature > 0 else {}
        # It draws from the global generator.
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(seed)
            output = self.model.generate(
                input_ids=tokens,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                suppress_tokens=[self.image_token],
                pad_token_id=pad,
                **{"do_sample": False, **drawn},
                **extra,
            )
        answers = self.tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)
        return [answer.strip() for answer in answers]

    def load_weights(self, folder: Path) -> None:
        """Read the weights of a folder into the model as it stands.

        `save_pretrained` writes tensors under the names of the original layout, so that a plain
        `load_state_dict` finds none of them; reading a whole model maps the names back.

        Raises:
            InputError: a tensor is missing, left over or of the wrong shape.
        """
        self.model.load_state_dict(_read_model(folder).state_dict())

    def freeze(self, parts: Sequence[str]) -> None:
        """Stop training of the named parts.

        Raises:
            InputError: a part is none of tower, projector, language_model.
        """
        for part in parts:
            if part not in PARTS:
                raise InputError(
                    f"there is no part called {part!r}", where="freeze", remedy=did_you_mean(part, PARTS)
                )
            getattr(self.model.model, PARTS[part]).requires_grad_(False)


def _read_model(folder: Path) -> LlavaForConditionalGeneration:
    """Read a model from safetensors; every tensor must find its place.

    Raises:
        InputError: a tensor is missing, left over or of the wrong shape.
    """
    try:
        model, report = LlavaForConditionalGeneration.from_pretrained(
            folder,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            # So that they are told in the report, like the others, instead of raised one by one.
            ignore_mismatched_sizes=True,
        )
    except (SafetensorError, OSError) as error:
        raise InputError(f"the weights cannot be read: {error}", where=str(folder)) from None
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise InputError(
            f"{len(wrong)} tensors are missing, left over or of the wrong shape, such as {wrong[0]}",
            where=str(folder),
            remedy="The checkpoint does not belong to this architecture; convert it first.",
        )
    return model


def _image_tokens(config: Any) -> int:
    """Return how many tokens one image takes: the patches, and the CLS token where it is kept."""
    patches = (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    keeps_cls: bool = config.vision_feature_select_strategy != "default"
    return int(patches) + keeps_cls
