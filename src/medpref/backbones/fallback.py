"""Any image-text-to-text model of transformers: its own processor and forward pass, one row for each path."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from medpref.backbones.base import ImageTensors, Rows, Size, move_images
from medpref.backbones.chat import PROBE, Chat
from medpref.backbones.families import FALLBACK, ModelFamily, model_families
from medpref.backbones.fingerprint import describe_config, hash_tensors
from medpref.backbones.head import before, head_is_plain
from medpref.backbones.hf import HFBackbone, stop_tokens
from medpref.backbones.lean import take
from medpref.backbones.loading import LoadSettings, read_config, read_model, read_sidecar
from medpref.backbones.parts import find_parts
from medpref.backbones.processor_folder import read_processor
from medpref.backbones.processors import PROBE_SIZE, SIZE, ModelInputs, alike, noise, together
from medpref.backbones.sampling import GREEDY, Completion, Sampling
from medpref.errors import InputError
from medpref.files import content_hash
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn


class FallbackBackbone(HFBackbone):
    """A model of any class that `AutoModelForImageTextToText` knows, with the processor beside it.

    Nothing is known of its masks and positions, so rows share no prefix, and none is ever filled up: rows
    of like shape are computed together, others by themselves. Images stay as the processor makes them
    until the model's own forward pass.

    Args:
        model: the model.
        processor: its processor, with a tokenizer, an image processor and a chat template.
        max_length: how many tokens of prompt (images included) and response fit.
        trust_remote_code: whether the model's own code may run when its weights are read again.

    Raises:
        InputError: the model is no decoder, has no chat template, or its processor makes no use of images.
    """

    model_class = AutoModelForImageTextToText
    shares_prefix = False
    keeps_features = False
    sizes_matter: ClassVar[bool] = True

    def __init__(
        self, model: Any, processor: Any, max_length: int, *, trust_remote_code: bool = False
    ) -> None:
        if model.config.is_encoder_decoder:
            raise InputError(
                f"{type(model).__name__} is an encoder with a decoder",
                remedy="Only decoders, which read prompt and answer as one text, can be trained.",
            )
        super().__init__(model, processor.tokenizer, processor, max_length)
        self.trust_remote_code = trust_remote_code
        self.template: str = getattr(processor, "chat_template", None) or self.tokenizer.chat_template
        self.chat = Chat(self.tokenizer, _marker(processor), self.template)
        if self.pad_token is None:
            self.pad_token = self.chat.end
        self._stops = stop_tokens(model, self.tokenizer, self.chat.end)
        self.inputs = ModelInputs(processor, self.chat)
        self.image_token = _image_token(model.config, processor)
        self.parts = find_parts(model)
        self.plain_head = self._probe_head()
        """Whether logits are the head's output and nothing is done to them afterwards."""

    @property
    def stop_tokens(self) -> tuple[int, ...]:
        """The ids that end an answer: the template's, and those of tokenizer and generation settings."""
        return self._stops

    @property
    def unsaid(self) -> tuple[int, ...]:
        """The image token, where the head has a row for it."""
        rows = self._head.weight.shape[0]
        return (self.image_token,) if 0 <= self.image_token < rows else ()

    @property
    def _head(self) -> Any:
        return self.model.get_output_embeddings()

    def prompt_ids(self, prompt: str, sizes: Sequence[Size] = (), history: Sequence[Turn] = ()) -> list[int]:
        """Return the ids that the processor makes of a prompt on images of `sizes`.

        Raises:
            InputError: the prompt has another number of images, or the processor refuses it.
        """
        return self.inputs.prompt_ids(prompt, sizes, history)

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""
        return self.chat.response_ids(response)

    def read_image(self, image: Image.Image) -> ImageTensors:
        """Return all tensors that the processor makes of one image, and the image's size."""
        return self.inputs.read_image(image)

    def blank(self, image: ImageTensors) -> ImageTensors:
        """Return what the processor makes of a uniform image in the mean colour and of the size of `image`.

        It is 0 but for rounding: some models take an image of nothing but zeros for filling, and drop it.
        """
        mean = getattr(self.processor.image_processor, "image_mean", None) or (0.5, 0.5, 0.5)
        width, height = image[SIZE].tolist()
        uniform = Image.new("RGB", (width, height), tuple(round(255 * channel) for channel in mean))
        return move_images([self.read_image(uniform)], image[SIZE].device)[0]

    def encode_images(self, images: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Return the images as they are: the model's own forward pass runs the tower."""
        return list(images)

    def project(self, encoded: Sequence[ImageTensors]) -> list[ImageTensors]:
        """Return the images as they are."""
        return list(encoded)

    def read_states(
        self, rows: Rows, features: Sequence[ImageTensors]
    ) -> Float[Tensor, "rows queries width"]:
        """Return what the LM head is given at `rows.queries`; rows of like shape are computed together.

        Where the model does more to its logits than the head, the logits themselves are returned.
        """
        # A row is one path: the first column that is asked for is the prompt's last, the last one the row's.
        ends = (rows.queries.amax(1) + 1).tolist()
        inputs = [
            self.inputs.row(ids[:end], prompt + 1, [features[image] for image in images])
            for ids, end, prompt, images in zip(
                rows.ids, ends, rows.queries[:, 0].tolist(), rows.images, strict=True
            )
        ]
        states: dict[int, Tensor] = {}
        for numbers in alike(inputs):
            found = self._states(together([inputs[n] for n in numbers]), rows.queries[numbers])
            states.update(zip(numbers, found, strict=True))
        return torch.stack([states[number] for number in range(len(inputs))])

    def _states(
        self, inputs: Mapping[str, Tensor], queries: Int[Tensor, "rows queries"]
    ) -> Float[Tensor, "rows queries width"]:
        seen: list[Tensor] = []

        def keep(hidden: Tensor) -> Tensor:
            seen.append(take(hidden, queries))
            # The head makes a row of the vocabulary of each column: those that aren't read are left out.
            return hidden[:, :1] if self.plain_head else seen[0]

        with before(self._head, keep):
            logits: Tensor = self._run(inputs).logits
        return seen[0] if self.plain_head else logits

    def _run(self, inputs: Mapping[str, Tensor]) -> Any:
        dtype = self.model.dtype
        cast = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in inputs.items()
        }
        return self.model(**cast, use_cache=False, return_dict=True)

    def _probe_head(self) -> bool:
        """Run one prompt with an image to see whether logits are the head's output; not with shapes alone."""
        if self.device.type == "meta":
            return True
        ids = self.prompt_ids(f"{IMAGE_PLACEHOLDER}\n{PROBE}", [PROBE_SIZE])
        images = move_images([self.read_image(noise(PROBE_SIZE, 0))], self.device)
        row = self.inputs.row(torch.tensor(ids, device=self.device), len(ids), images)
        return head_is_plain(self.model, lambda: self._run(row).logits, len(ids))

    def logits(self, hidden: Float[Tensor, "positions width"]) -> Float[Tensor, "positions vocabulary"]:
        """Apply the LM head in fp32; what cannot be said takes no probability."""
        scores: Tensor = (self._head(hidden) if self.plain_head else hidden).float()
        unsaid = torch.tensor(self.unsaid, dtype=torch.long, device=scores.device)
        return scores.index_fill(1, unsaid, float("-inf"))

    def generation_inputs(
        self, tokens: Int[Tensor, "rows tokens"], images: Sequence[Sequence[ImageTensors]]
    ) -> dict[str, Any]:
        """Return what the processor makes of rows of like shape, beside their ids and mask."""
        rows = [self.inputs.row(ids, len(ids), shown) for ids, shown in zip(tokens, images, strict=True)]
        inputs = together(rows)
        dtype = self.model.dtype
        return {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in inputs.items()
            if name not in ("input_ids", "attention_mask")
        }

    @torch.no_grad()
    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        images: Sequence[Sequence[ImageTensors]],
        sampling: Sampling = GREEDY,
        seeds: Sequence[int] | None = None,
    ) -> list[Completion]:
        """Answer each prompt; those of like shape in one batch, since padding may change the numbers."""
        seeds = seeds or [sampling.seed] * len(prompts)
        rows = [
            self.inputs.row(torch.tensor(prompt), len(prompt), move_images(shown, torch.device("cpu")))
            for prompt, shown in zip(prompts, images, strict=True)
        ]
        answers: dict[int, Completion] = {}
        for numbers in alike(rows):
            said = super().complete(
                [prompts[n] for n in numbers],
                [images[n] for n in numbers],
                sampling,
                [seeds[n] for n in numbers],
            )
            answers.update(zip(numbers, said, strict=True))
        return [answers[number] for number in range(len(prompts))]

    def fingerprint(self, part: Literal["all", "tower"] = "all") -> str:
        """Return a hash of the weights, the configuration, the processor and the chat template.

        The tower's part is hashed by itself where the model's parts were found, and is the whole elsewhere.
        """
        modules = self.parts.get("tower", ()) if part == "tower" else ()
        weights = {
            f"{name}.{key}": tensor
            for name in modules
            for key, tensor in self.model.get_submodule(name).state_dict().items()
        }
        return content_hash(
            type(self.model).__name__,
            hash_tensors(weights or self.model.state_dict()),
            describe_config(self.model.config),
            describe_config(self.processor),
            self.side,
            self.template,
        )

    def load_weights(self, folder: Path) -> None:
        """Read the weights of a folder into the model as it stands.

        Raises:
            InputError: a tensor is missing, left over or of the wrong shape.
        """
        settings = LoadSettings(trust_remote_code=self.trust_remote_code)
        read = read_model(self.model_class, folder, settings, attention=None)
        self.model.load_state_dict(read.state_dict())

    def _part(self, part: str) -> list[nn.Module]:
        if part not in self.parts:
            raise InputError(
                f"no {part} was found in {type(self.model).__name__}",
                where="freeze",
                remedy=f"Found: {', '.join(self.parts) or 'nothing'}.",
            )
        return super()._part(part)


def _marker(processor: Any) -> str:
    """Return the text that stands for an image in the chat template."""
    return str(
        getattr(processor, "boi_token", None) or getattr(processor, "image_token", None) or IMAGE_PLACEHOLDER
    )


def _image_token(config: Any, processor: Any) -> int:
    """Return the id at image positions; −1 for a model whose text shows no images."""
    for owner in (config, processor):
        found = getattr(owner, "image_token_id", None)
        if found is not None:
            return int(found)
    return -1


def load_fallback(folder: Path, settings: LoadSettings, *, weights: bool = True) -> FallbackBackbone:
    """Load a folder of any model that `AutoModelForImageTextToText` knows.

    Raises:
        InputError: the library does not know the model, its own code would have to run, the folder is
            incomplete, or the model cannot be trained here.
    """
    _check_known(folder, settings)
    side = read_sidecar(folder)
    processor = read_processor(folder, trust_remote_code=settings.trust_remote_code)
    model = read_model(AutoModelForImageTextToText, folder, settings, weights=weights, attention=None)
    text = model.config.get_text_config()
    length = settings.max_length or side.get("max_length") or getattr(text, "max_position_embeddings", None)
    if length is None:
        raise InputError(
            "the model does not say how many tokens fit", where=str(folder), remedy="Set max_length."
        )
    return FallbackBackbone(model, processor, length, trust_remote_code=settings.trust_remote_code)


def _check_known(folder: Path, settings: LoadSettings) -> None:
    config = read_config(folder)
    kind = config.get("model_type")
    if kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return
    if "auto_map" not in config:
        raise InputError(
            f"transformers has no model for images and text of the type {kind!r}", where=str(folder)
        )
    if not settings.trust_remote_code:
        raise InputError(
            f"a model of the type {kind!r} comes with code of its own",
            where=str(folder),
            remedy="Set trust_remote_code: true if you trust this folder's code.",
        )


model_families.add(
    FALLBACK,
    ModelFamily("any other image-text-to-text model of transformers; rows share nothing", load_fallback),
)
