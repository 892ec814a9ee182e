"""What all backbones on transformers have in common: saving, generating, hashing, the LM head."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList

from medpref.backbones.base import Backbone, ImageTensors, move_images
from medpref.backbones.fingerprint import describe_config, hash_tensors
from medpref.backbones.loading import SIDECAR, LoadSettings, read_model
from medpref.backbones.sampling import GREEDY, Completion, Draw, Sampling
from medpref.errors import InputError
from medpref.files import content_hash, disk_errors, write_json


class Prompts(NamedTuple):
    """A batch of prompts as the model's ``generate`` takes it.

    Attributes:
        tokens: the ids (rows, tokens), padded on the left or behind what rows share.
        mask: which of them are no padding (rows, tokens), int64.
        inputs: what else it takes: images, or what was computed of them.
    """

    tokens: Int[Tensor, "rows tokens"]
    mask: Int[Tensor, "rows tokens"]
    inputs: dict[str, Any]


class HFBackbone(Backbone):
    """A model class of transformers with its tokenizer and image processor.

    Args:
        model: its attention must be ``sdpa``, since eager attention misreads Boolean masks.
        tokenizer: a fast tokenizer with a padding token.
        processor: what turns images into tensors, and is saved beside the model.
        max_length: how many tokens of prompt (images included) and response fit.
    """

    model_class: ClassVar[Any]
    """The class that a saved folder is read with."""

    model: Any

    def __init__(self, model: Any, tokenizer: Any, processor: Any, max_length: int) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.processor = processor
        self.max_length = max_length
        self.pad_token: int = tokenizer.pad_token_id
        self.recompute = False

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The ids that end an answer."""
        return (int(self.tokenizer.eos_token_id),)

    @property
    def unsaid(self) -> tuple[int, ...]:
        """The ids that no answer holds: they are never generated and take no probability."""
        return (self.image_token,)

    @property
    def side(self) -> dict[str, Any]:
        """What is noted beside a saved model, so that it loads as it was."""
        return {"max_length": self.max_length}

    def generation_inputs(
        self, tokens: Int[Tensor, "rows tokens"], images: Sequence[Sequence[ImageTensors]]
    ) -> dict[str, Any]:
        """Return what the model's ``generate`` takes beside ids and mask; images are on its device."""
        shown = [image for row in images for image in row]
        if not shown:
            return {}
        return {"pixel_values": torch.stack([image["pixel_values"] for image in shown])}

    def logits(self, hidden: Float[Tensor, "positions width"]) -> Float[Tensor, "positions vocabulary"]:
        """Apply the LM head in fp32; what cannot be said takes no probability."""
        scores: Tensor = self.model.lm_head(hidden).float()
        scores[:, list(self.unsaid)] = float("-inf")
        return scores

    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of the weights, the configuration, the image processor and the template."""
        config = self.model.config
        if part == "all":
            weights = hash_tensors(self.model.state_dict())
            said = [describe_config(config), self.side]
        else:
            tower = {
                f"{name}.{key}": tensor
                for name in self.parts["tower"]
                for key, tensor in self.model.get_submodule(name).state_dict().items()
            }
            weights = hash_tensors(tower)
            said = [describe_config(config.vision_config), self.tower_choice]
        return content_hash(type(self).__name__, weights, said, describe_config(self.processor))

    @property
    def tower_choice(self) -> list[Any]:
        """What the configuration says outside the tower about which of its states are read."""
        return []

    @torch.no_grad()
    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        images: Sequence[Sequence[ImageTensors]],
        sampling: Sampling = GREEDY,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """Answer each prompt in one left-padded batch: greedily at temperature 0, else by drawing tokens."""
        longest = max(map(len, prompts))
        room = [min(sampling.max_new_tokens, self.max_length - len(row)) for row in prompts]
        if min(room) < 1:
            raise InputError(f"a prompt takes {longest} tokens of the {self.max_length} that fit")
        batch = self.prepare(prompts, images)
        processors = LogitsProcessorList()
        if sampling.temperature > 0:
            processors.append(Draw(sampling, seeds or [sampling.seed] * len(prompts)))
        with _no_defaults(self.model):
            output = self.model.generate(
                input_ids=batch.tokens,
                attention_mask=batch.mask,
                generation_config=GenerationConfig(
                    max_new_tokens=max(room),
                    do_sample=False,
                    eos_token_id=list(self.stop_tokens),
                    pad_token_id=self.pad_token,
                    suppress_tokens=list(self.unsaid),
                ),
                logits_processor=processors,
                **batch.inputs,
            )
        made = output[:, batch.tokens.shape[1] :].tolist()
        return [self._completion(row[:most]) for row, most in zip(made, room, strict=True)]

    def prepare(self, prompts: Sequence[Sequence[int]], images: Sequence[Sequence[ImageTensors]]) -> Prompts:
        """Return prompts with their images as one left-padded batch on the model's device."""
        tokens, mask = self.left_padded(prompts)
        shown = [move_images(row, self.device) for row in images]
        return Prompts(tokens, mask, self.generation_inputs(tokens, shown))

    def left_padded(
        self, rows: Sequence[Sequence[int]]
    ) -> tuple[Int[Tensor, "rows tokens"], Int[Tensor, "rows tokens"]]:
        """Return ids padded on the left, and which of them are no padding, on the model's device."""
        longest = max(map(len, rows))
        padding = [longest - len(row) for row in rows]
        tokens = [[self.pad_token] * pad + list(row) for pad, row in zip(padding, rows, strict=True)]
        mask = [[0] * pad + [1] * (longest - pad) for pad in padding]
        return torch.tensor(tokens, device=self.device), torch.tensor(mask, device=self.device)

    def _completion(self, made: Sequence[int]) -> Completion:
        """Return the completion of generated ids; behind the first end token there is only padding."""
        end = next((place for place, token in enumerate(made) if token in self.stop_tokens), None)
        if end is None:
            return Completion(self.decode(made), len(made), stopped=False)
        return Completion(self.decode(made[:end]), end + 1, stopped=True)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of generated ids."""
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def save(self, folder: Path) -> None:
        """Write model, tokenizer, image processor and what medpref has to know as one folder."""
        with disk_errors(folder):
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            self.processor.save_pretrained(folder)
        write_json(folder / SIDECAR, self.side)

    def load_weights(self, folder: Path) -> None:
        """Read the weights of a folder into the model as it stands.

        `save_pretrained` writes tensors under the names of the original layout, so that a plain
        `load_state_dict` finds none of them; reading a whole model maps the names back.

        Raises:
            InputError: a tensor is missing, left over or of the wrong shape.
        """
        read = read_model(self.model_class, folder, LoadSettings())
        self.model.load_state_dict(read.state_dict())


def stop_tokens(model: Any, tokenizer: Any, *ends: int) -> tuple[int, ...]:
    """Return the distinct ids of `ends`, of the tokenizer's end and of a model's own generation settings."""
    settings = getattr(model, "generation_config", None)
    own = settings.eos_token_id if settings is not None else None
    found = [*ends, tokenizer.eos_token_id, *(own if isinstance(own, list) else [own])]
    return tuple(dict.fromkeys(int(token) for token in found if token is not None))


@contextmanager
def _no_defaults(model: Any) -> Iterator[None]:
    """Put a model's own generation settings aside: what a call leaves open would be filled in from them."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
