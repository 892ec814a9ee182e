"""A generative model in a folder as a judge: asked what an endpoint would be asked, without images."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from medpref.errors import InputError
from medpref.evaluation.facts.judges.base import Item, Judge, JudgeKind, Judgement, JudgeSettings, judges
from medpref.evaluation.facts.judges.nli import folder_hash
from medpref.evaluation.facts.labels import UnreadableError
from medpref.evaluation.facts.prompts import judge_messages, version, without_system
from medpref.evaluation.facts.replies import read_labels


class LocalSettings(JudgeSettings):
    """A model in a folder, and how it is asked.

    Attributes:
        model: the folder: a vision-language model that medpref reads, or any causal language model.
        batch: items at a time.
        max_new_tokens: the longest reply.
        device: such as ``cpu`` or ``cuda``; a GPU where there is one by default.
        dtype: of the weights, such as ``bfloat16``; the folder's by default.
    """

    model: str
    batch: int = Field(4, ge=1)
    max_new_tokens: int = Field(512, ge=1)
    device: str | None = None
    dtype: str | None = None


class Writer(ABC):
    """Continues prompts, greedily."""

    identity: str

    @abstractmethod
    def write(self, prompts: Sequence[tuple[str, str]]) -> list[tuple[str, str] | None]:
        """Return (text, finish) for each prompt's id and text, None where it is too long for the model."""


class LocalJudge(Judge):
    """Asks a model in this process. Greedy replies would not change when asked again, so they are not.

    Args:
        settings: the model's folder and how it is asked.

    Raises:
        InputError: the folder holds no model that can be asked.
    """

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        folder = Path(settings.model).expanduser()
        self._writer = (_CausalWriter if _is_text_model(folder) else _BackboneWriter)(folder, settings)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The model's fingerprint, the wording's version and the longest reply."""
        return {
            "judge": "local",
            "model": self._writer.identity,
            "prompts": version(),
            "max_new_tokens": self._settings.max_new_tokens,
        }

    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        """Yield judgements batch by batch."""
        size = self._settings.batch
        for start in range(0, len(items), size):
            group = items[start : start + size]
            prompts = [(item.id, _prompt(item)) for item in group]
            for item, made in zip(group, self._writer.write(prompts), strict=True):
                yield _judgement(item, made)


def _prompt(item: Item) -> str:
    # One user's text: not every template has a place for a system's.
    return without_system(judge_messages(item.facts, item.text))[0].text


def _judgement(item: Item, made: tuple[str, str] | None) -> Judgement:
    if made is None:
        return Judgement(item, None, "the prompt is too long for the model")
    text, finish = made
    try:
        return Judgement.of(item, read_labels(text, len(item.facts)))
    except UnreadableError as error:
        return Judgement(item, text, str(error), finish)


class _BackboneWriter(Writer):
    """A vision-language model that is shown no image."""

    def __init__(self, folder: Path, settings: LocalSettings) -> None:
        from medpref.backbones.sampling import Sampling
        from medpref.generation import engines

        given = {"batch": settings.batch, "device": settings.device, "dtype": settings.dtype}
        self._engine = engines["local"].make(
            str(folder), {key: value for key, value in given.items() if value is not None}
        )
        self._sampling = Sampling(max_new_tokens=settings.max_new_tokens)
        self.identity = str(self._engine.identity["model"])

    def write(self, prompts: Sequence[tuple[str, str]]) -> list[tuple[str, str] | None]:
        from medpref.generation.question import Answer, Question

        made = {
            answer.id: (answer.text, answer.finish)
            for answer in self._engine.answer([Question(*prompt) for prompt in prompts], self._sampling)
            if isinstance(answer, Answer)
        }
        return [made.get(ident) for ident, _ in prompts]


class _CausalWriter(Writer):
    """A language model that the library reads."""

    def __init__(self, folder: Path, settings: LocalSettings) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, dtype=settings.dtype or "auto"
            )
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"no model can be read: {str(error).splitlines()[0]}", where=str(folder)
            ) from None
        device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(device).eval()
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        self._new = settings.max_new_tokens
        self._room = getattr(model.config, "max_position_embeddings", 1 << 30)
        self.identity = folder_hash(folder)

    def write(self, prompts: Sequence[tuple[str, str]]) -> list[tuple[str, str] | None]:
        texts = [self._shown(text) for _, text in prompts]
        return [self._continue(text) for text in texts]

    def _shown(self, text: str) -> str:
        if not self._tokenizer.chat_template:
            return f"{text}\n"
        messages = [{"role": "user", "content": text}]
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def _continue(self, text: str) -> tuple[str, str] | None:
        import torch

        # A chat template writes the special tokens itself.
        special = not self._tokenizer.chat_template
        encoded = self._tokenizer(text, return_tensors="pt", add_special_tokens=special).to(
            self._model.device
        )
        read = encoded["input_ids"].shape[1]
        new = min(self._new, self._room - read)
        if new < 1:
            return None
        with torch.inference_mode():
            made = self._model.generate(
                input_ids=encoded["input_ids"],
                attention_mask=encoded["attention_mask"],
                max_new_tokens=new,
                do_sample=False,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        tokens = made[0, read:]
        said = str(self._tokenizer.decode(tokens, skip_special_tokens=True))
        return said.strip(), "length" if len(tokens) >= new else "stop"


def _is_text_model(folder: Path) -> bool:
    """Tell whether a folder's model is a language model without eyes."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            "this folder holds no model: it has no readable config.json", where=str(folder)
        ) from None
    if not isinstance(config, dict) or "vision_config" in config or "mm_vision_tower" in config:
        return False
    return config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


judges.add(
    "local", JudgeKind("a generative model in a folder, run in this process", LocalSettings, LocalJudge)
)
