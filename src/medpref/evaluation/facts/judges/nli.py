"""A natural-language-inference classifier in a folder as a judge: premise the text, hypothesis the fact."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import Field

from medpref.errors import InputError
from medpref.evaluation.facts.judges.base import Item, Judge, JudgeKind, Judgement, JudgeSettings, judges
from medpref.evaluation.facts.labels import Label
from medpref.files import cached_file_hash, content_hash

_NAMES: Mapping[Label, re.Pattern[str]] = {
    Label.CONTRADICTION: re.compile(r"contradict", re.IGNORECASE),
    Label.NEUTRAL: re.compile(r"neutral|undetermined", re.IGNORECASE),
    Label.ENTAILMENT: re.compile(r"^entail", re.IGNORECASE),
}
_HASHED = (".safetensors", ".bin", ".json", ".model", ".txt")

Shares = Float[np.ndarray, "facts labels"]
"""The probability of each of the model's labels, a row a fact."""


class NliSettings(JudgeSettings):
    """A classifier, and what its labels mean.

    Attributes:
        model: the folder.
        labels: the model's label → entailment, neutral or contradiction; needed where its own names
            (``config.id2label``) do not say so.
        partial_from: a fact whose likeliest label is neutral is partial entailment where the probability of
            entailment is this or more; without it there is no partial entailment.
        batch: facts at a time.
        device: such as ``cpu`` or ``cuda``; a GPU where there is one by default.
        max_length: the most tokens of text and fact together; by default what the model takes, at most 512.
    """

    model: str
    labels: dict[str, str] = Field(default_factory=dict)
    partial_from: float | None = Field(None, gt=0, lt=1)
    batch: int = Field(16, ge=1)
    device: str | None = None
    max_length: int | None = Field(None, ge=16)


class NliJudge(Judge):
    """Classifies each fact by itself.

    A text that is too long is read in windows that overlap by half; the window in which entailment and
    contradiction together are likeliest decides.

    Args:
        settings: the model's folder and what its labels mean.

    Raises:
        InputError: the folder holds no classifier, or its labels are not those of NLI.
    """

    def __init__(self, settings: NliSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.model).expanduser()
        self._model, self._tokenizer = _load(self._folder, settings.device)
        self._columns = label_columns(self._model.config.id2label, settings.labels)
        takes = getattr(self._model.config, "max_position_embeddings", 512)
        self._length = settings.max_length or min(512, takes, self._tokenizer.model_max_length)

    @cached_property
    def identity(self) -> Mapping[str, Any]:
        """The folder's content, what its labels mean, and the rule for partial entailment."""
        meaning = {label.value: column for label, column in self._columns.items()}
        return {
            "judge": "nli",
            "model": folder_hash(self._folder),
            "labels": meaning,
            "partial_from": self._settings.partial_from,
            "max_length": self._length,
        }

    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        """Yield a judgement for each item, in order."""
        for item in items:
            shares = self._shares(item)
            yield Judgement.of(
                item, [choose(row, self._columns, self._settings.partial_from) for row in shares]
            )

    def _shares(self, item: Item) -> Shares:
        """Return the probabilities of the deciding window of each fact."""
        pairs = [(window, fact) for fact in item.facts for window in self._windows(item.text, fact)]
        owners = [number for number, fact in enumerate(item.facts) for _ in self._windows(item.text, fact)]
        size = self._settings.batch
        made = np.concatenate(
            [self._classify(pairs[start : start + size]) for start in range(0, len(pairs), size)]
        )
        decided = made[:, [self._columns[Label.ENTAILMENT], self._columns[Label.CONTRADICTION]]].sum(axis=1)
        best = {owner: place for place, owner in sorted(enumerate(owners), key=lambda e: decided[e[0]])}
        return made[[best[number] for number in range(len(item.facts))]]

    def _windows(self, text: str, fact: str) -> list[str]:
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        taken = len(self._tokenizer(fact, add_special_tokens=False)["input_ids"])
        room = max(8, self._length - taken - self._tokenizer.num_special_tokens_to_add(pair=True))
        if len(ids) <= room:
            return [text]
        starts = range(0, len(ids) - room // 2, room - room // 2)
        return [self._tokenizer.decode(ids[start : start + room]) for start in starts]

    def _classify(self, pairs: Sequence[tuple[str, str]]) -> Shares:
        import torch

        encoded = self._tokenizer(
            [premise for premise, _ in pairs],
            [fact for _, fact in pairs],
            padding=True,
            truncation="only_first",
            max_length=self._length,
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = self._model(**encoded.to(self._model.device)).logits
        return np.asarray(logits.double().softmax(-1).cpu())


def choose(
    row: Float[np.ndarray, "labels"], columns: Mapping[Label, int], partial_from: float | None
) -> Label:
    """Return the likeliest label; neutral becomes partial where entailment has `partial_from` or more."""
    label = max(columns, key=lambda label: float(row[columns[label]]))
    partial = partial_from is not None and float(row[columns[Label.ENTAILMENT]]) >= partial_from
    return Label.PARTIAL if label is Label.NEUTRAL and partial else label


def label_columns(names: Mapping[int, str], given: Mapping[str, str]) -> dict[Label, int]:
    """Return the column of entailment, neutral and contradiction among a model's labels.

    Args:
        names: column → the model's own name.
        given: the model's name → what it means, where the name does not say so.

    Raises:
        InputError: a label is not among the three, or one of the three is missing.
    """
    found: dict[Label, int] = {}
    for column, name in names.items():
        meant = given.get(name, name)
        label = next((label for label, pattern in _NAMES.items() if pattern.search(meant)), None)
        if label is None or label in found:
            raise InputError(
                f"the model's label {name!r} is none of entailment, neutral, contradiction, or a second",
                where="config.id2label",
                remedy="Say what it means: --set 'labels={LABEL_0: contradiction, LABEL_1: neutral, …}'.",
            )
        found[label] = int(column)
    missing = [label.value for label in _NAMES if label not in found]
    if missing:
        raise InputError(f"the model has no label for {', '.join(missing)}", where="config.id2label")
    return found


def folder_hash(folder: Path) -> str:
    """Return a hash of the files that a model in a folder consists of."""
    files = sorted(path for path in folder.iterdir() if path.suffix in _HASHED)
    return content_hash([(path.name, cached_file_hash(path)) for path in files])


def _load(folder: Path, device: str | None) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if not (folder / "config.json").is_file():
        raise InputError("this folder holds no model: it has no config.json", where=str(folder))
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, told = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"no classifier can be read: {str(error).splitlines()[0]}", where=str(folder)
        ) from None
    if missing := sorted(told["missing_keys"]):
        # The library would fill in a classifier of random weights.
        raise InputError(f"the weights of {missing[0]} are missing: this is no classifier", where=str(folder))
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")).eval(), tokenizer


judges.add("nli", JudgeKind("an NLI classifier in a folder", NliSettings, NliJudge))
