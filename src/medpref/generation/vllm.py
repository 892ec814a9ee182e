"""vLLM in this process, where it is installed: many questions at once on a GPU."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import Field

from medpref.backbones import load_backbone
from medpref.backbones.base import Backbone
from medpref.backbones.hf import HFBackbone
from medpref.backbones.loading import LoadSettings, read_config
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.files import content_hash, file_hash
from medpref.generation.engine import Engine, EngineKind, EngineSettings, engines
from medpref.generation.question import Answer, Failure, Finish, Question, question_seed
from medpref.pairs.images import open_image
from medpref.scoring.inputs import InputCache

ONE_PLACEHOLDER = frozenset({"llava", "qwen2_vl", "qwen2_5_vl", "qwen3_vl"})
"""The types of model of which vLLM widens one image token to as many as the image takes."""
FINISH: Mapping[str, Finish] = {"stop": "stop", "length": "length"}


class VLLMSettings(EngineSettings):
    """How vLLM runs a folder.

    Attributes:
        batch: questions that are handed over at a time; vLLM itself decides how many run side by side.
        max_images: the most images of a question.
        max_length: how many tokens of prompt (images included) and answer fit; by default what the folder
            says.
        template: the chat template's name, for families that have named ones.
        dtype: of weights and activations; by default as they were saved.
        tensor_parallel_size: how many GPUs share each layer.
        gpu_memory_utilization: the share of each GPU's memory that vLLM takes.
        options: further arguments of vLLM's ``LLM``.
    """

    batch: int = Field(256, ge=1)
    max_images: int = Field(1, ge=1)
    max_length: int | None = Field(None, ge=1)
    template: str | None = None
    dtype: str = "auto"
    tensor_parallel_size: int = Field(1, ge=1)
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1)
    options: dict[str, Any] = Field(default_factory=dict)


class VLLMEngine(Engine):
    """vLLM's ``LLM``, asked with the token ids that medpref trains on.

    Args:
        folder: the model's.
        backbone: the same model without weights: its template makes the prompts.
        settings: batches, memory and GPUs.

    Raises:
        InputError: vLLM is not installed, or the type of model is not known to take one token an image.
    """

    def __init__(self, folder: Path, backbone: HFBackbone, settings: VLLMSettings) -> None:
        kind = read_config(folder).get("model_type")
        if kind not in ONE_PLACEHOLDER:
            raise InputError(
                f"prompts for models of type {kind!r} cannot be handed to vLLM as tokens",
                where=str(folder),
                remedy="Serve the model with `vllm serve` and name that endpoint with --engine openai.",
            )
        self._vllm = import_vllm()
        self._folder = folder
        self._backbone = backbone
        self._inputs = InputCache(backbone)
        self._settings = settings

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The folder's content, and what changes how vLLM computes."""
        settings = self._settings
        return {
            "engine": "vllm",
            "vllm": str(getattr(self._vllm, "__version__", None)),
            "model": hash_folder(self._folder),
            "template": settings.template,
            "dtype": settings.dtype,
            "max_length": self._backbone.max_length,
            "options": settings.options,
        }

    @cached_property
    def _model(self) -> Any:
        settings = self._settings
        return self._vllm.LLM(
            model=str(self._folder),
            dtype=settings.dtype,
            max_model_len=self._backbone.max_length,
            limit_mm_per_prompt={"image": settings.max_images},
            tensor_parallel_size=settings.tensor_parallel_size,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            # The folder's own generation settings are put aside: `Sampling` says everything.
            generation_config="vllm",
            trust_remote_code=False,
            **settings.options,
        )

    def groups(self, questions: Sequence[Question]) -> list[Sequence[Question]]:
        """Return what is handed over at a time, in the order given."""
        size = self._settings.batch
        return [questions[start : start + size] for start in range(0, len(questions), size)]

    def answer(self, questions: Sequence[Question], sampling: Sampling) -> Iterator[Answer | Failure]:
        """Yield answers, one batch after another; a faulty question fails by itself."""
        for group in self.groups(questions):
            asked, prompts = [], []
            for question in group:
                try:
                    prompts.append(self.prompt(question))
                    asked.append(question)
                except InputError as error:
                    yield Failure(question.id, " ".join(str(error).split()))
            if not asked:
                continue
            params = [self.sampling_params(question, sampling) for question in asked]
            made = self._model.generate(prompts, sampling_params=params, use_tqdm=False)
            for question, output in zip(asked, made, strict=True):
                yield read_output(question.id, output)

    def prompt(self, question: Question) -> dict[str, Any]:
        """Return a question as vLLM's ``TokensPrompt``: one image token for each image.

        Raises:
            InputError: the question is faulty or too long, or an image cannot be read.
        """
        if question.fault:
            raise InputError(question.fault)
        if len(question.images) > self._settings.max_images:
            raise InputError(
                f"{len(question.images)} images where {self._settings.max_images} are allowed",
                remedy="Raise max_images.",
            )
        ids = self._inputs.prompt_ids(question.prompt, question.images, question.history)
        if len(ids) >= self._backbone.max_length:
            raise InputError(
                f"the prompt takes {len(ids)} tokens of the {self._backbone.max_length} that fit"
            )
        prompt: dict[str, Any] = {
            "prompt_token_ids": narrow(ids, self._backbone.image_token, len(question.images))
        }
        if question.images:
            prompt["multi_modal_data"] = {"image": [_rgb(path) for path in question.images]}
        return prompt

    def sampling_params(self, question: Question, sampling: Sampling) -> Any:
        """Return one question's ``SamplingParams``: the same distribution as the local engine's."""
        drawn = {"top_p": sampling.top_p, "top_k": sampling.top_k} if sampling.temperature > 0 else {}
        return self._vllm.SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            # Signed, of 64 bits.
            seed=question_seed(sampling, question) % 2**63,
            stop_token_ids=list(self._backbone.stop_tokens),
            # The most that vLLM's bias takes away from a token that cannot be said.
            logit_bias=dict.fromkeys(self._backbone.unsaid, -100.0),
            **drawn,
        )


def narrow(ids: Sequence[int], image_token: int, images: int) -> list[int]:
    """Return a prompt's ids with one image token for each image: vLLM widens them itself.

    Raises:
        InputError: images stand side by side without a token between them, so that their borders are lost.
    """
    narrowed: list[int] = []
    runs = 0
    for is_image, run in groupby(ids, lambda token: token == image_token):
        runs += is_image
        narrowed += [image_token] if is_image else list(run)
    if runs != images:
        raise InputError(
            f"the prompt's {images} images stand in {runs} places", remedy="Put text between the images."
        )
    return narrowed


def read_output(ident: str, output: Any) -> Answer | Failure:
    """Return what vLLM's ``RequestOutput`` holds."""
    made = output.outputs[0]
    if made.finish_reason not in FINISH:
        return Failure(ident, f"vLLM ended the answer by {made.finish_reason!r}")
    return Answer(ident, made.text.strip(), FINISH[made.finish_reason], len(made.token_ids))


def import_vllm() -> Any:
    """Return vLLM's module.

    Raises:
        InputError: it is not installed or cannot be used here.
    """
    # Before the import: vLLM otherwise reports how it is used to its makers.
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        return import_module("vllm")
    except ImportError as error:
        raise InputError(
            f"vLLM cannot be used here ({error})",
            remedy="Install it beside a GPU with: pip install vllm; or use --engine local.",
        ) from None


def hash_folder(folder: Path) -> str:
    """Return a hash of everything in a model's folder that its answers depend on."""
    kinds = {".safetensors", ".json", ".jinja", ".model", ".txt"}
    files = sorted(path for path in folder.iterdir() if path.suffix in kinds)
    return content_hash([[path.name, file_hash(path)] for path in files])


def _rgb(path: Path) -> Image.Image:
    return open_image(path).convert("RGB")


def build(model: str, settings: VLLMSettings) -> VLLMEngine:
    """Make an engine for the model in a folder.

    Raises:
        InputError: the folder holds no model that vLLM can be asked with, or vLLM is not installed.
    """
    folder = Path(model).expanduser()
    loading = LoadSettings(template=settings.template, max_length=settings.max_length).model_dump()
    backbone: Backbone = load_backbone(folder, weights=False, **loading)
    if not isinstance(backbone, HFBackbone):
        raise InputError("this family of models cannot be handed to vLLM", where=str(folder))
    return VLLMEngine(folder, backbone, settings)


engines.add("vllm", EngineKind("vLLM in this process, on a GPU", VLLMSettings, build))
