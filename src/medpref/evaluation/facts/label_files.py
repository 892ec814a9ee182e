"""Labels of judges or people, read from any file that holds some, and held against each other."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from medpref.errors import InputError
from medpref.evaluation.agreement import cohen_kappa, krippendorff_alpha_nominal, label_counts
from medpref.evaluation.facts.batch_rows import read_replies
from medpref.evaluation.facts.files import FactRow, id_text, read_rows
from medpref.evaluation.facts.labels import Label, UnreadableError, read_label, read_number
from medpref.evaluation.facts.replies import read_labels
from medpref.evaluation.facts.scores import score_replies

Labels = dict[str, tuple[Label, ...]]
"""A sample's id → the labels of its facts."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far several files of labels agree.

    Attributes:
        names: the files' names.
        n: facts that at least two files label.
        n_all: facts that all files label.
        samples: samples that at least two files label with as many labels.
        left_out: samples that only one file labels, or that files give different numbers of labels.
        kappa: Cohen's κ of each two files; None where it is not defined.
        alpha: Krippendorff's α (nominal) of all files, or None.
        counts: file → label → how often, among the facts that count.
    """

    names: tuple[str, ...]
    n: int
    n_all: int
    samples: int
    left_out: int
    kappa: dict[tuple[str, str], float | None]
    alpha: float | None
    counts: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        pairs = [{"between": list(pair), "kappa": value} for pair, value in self.kappa.items()]
        names = ("n", "n_all", "samples", "left_out", "alpha", "counts")
        return {**{name: getattr(self, name) for name in names}, "files": list(self.names), "kappas": pairs}


def read_label_file(path: Path, facts: Sequence[FactRow] | None = None) -> Labels:
    """Return the labels that a file holds, by sample; what cannot be read is left out.

    Read are replies (batch output rows), what ``medpref facts score`` wrote, rows with id and `labels`, and
    rows or a CSV with an id and one `label` a fact, in the order of the facts.

    Args:
        path: the file.
        facts: the facts, to match custom_ids and count labels; without them custom_ids are the ids.

    Raises:
        InputError: the file is missing, or holds no labels.
    """
    if path.suffix.lower() == ".csv":
        found = _of_rows(_csv_rows(path))
    else:
        rows = list(read_rows(path, ("labels",)))
        replies = any(isinstance(row, Mapping) and "custom_id" in row for row in rows)
        found = _of_replies(path, facts) if replies else _of_rows(rows)
    if not found:
        raise InputError("this file holds no labels that can be read", where=str(path))
    return found


def agreement(files: Mapping[str, Labels]) -> Agreement:
    """Hold the labels of several files against each other, fact by fact.

    Raises:
        InputError: no sample is labelled by two files.
    """
    idents = list(dict.fromkeys(ident for labels in files.values() for ident in labels))
    units: list[list[Label | None]] = []
    samples = 0
    for ident in idents:
        given = [labels.get(ident) for labels in files.values()]
        lengths = {len(labels) for labels in given if labels is not None}
        if sum(labels is not None for labels in given) < 2 or len(lengths) > 1:
            continue
        samples += 1
        units += [[labels[i] if labels else None for labels in given] for i in range(lengths.pop())]
    if not units:
        raise InputError("no sample is labelled by two of these files with as many labels")
    columns = {name: [unit[place] for unit in units] for place, name in enumerate(files)}
    return Agreement(
        names=tuple(files),
        n=len(units),
        n_all=sum(None not in unit for unit in units),
        samples=samples,
        left_out=len(idents) - samples,
        kappa={(a, b): cohen_kappa(columns[a], columns[b]) for a, b in combinations(columns, 2)},
        alpha=krippendorff_alpha_nominal(units),
        counts={name: _counts(column) for name, column in columns.items()},
    )


def _counts(column: Sequence[Label | None]) -> dict[str, int]:
    counted = label_counts(column)
    return {label.value: counted[label] for label in Label}


def _of_replies(path: Path, facts: Sequence[FactRow] | None) -> Labels:
    replies = read_replies(path)
    if facts is not None:
        return {s.id: s.labels for s in score_replies(facts, replies).samples if s.labels}
    found: Labels = {}
    for reply in replies:
        try:
            labels = read_labels(reply.content or "")
        except UnreadableError:
            continue
        if found.setdefault(reply.custom_id or "", labels) != labels:
            raise InputError(f"two replies to {reply.custom_id!r} differ", where=str(path))
    return found


def _of_rows(rows: Sequence[Any]) -> Labels:
    whole: Labels = {}
    single: dict[str, list[Label | None]] = {}
    for row in rows:
        if not isinstance(row, Mapping) or row.get("id") is None:
            continue
        ident = id_text(row["id"])
        if isinstance(row.get("labels"), list):
            labels = [_label(value) for value in row["labels"]]
            if labels and None not in labels:
                whole[ident] = tuple(label for label in labels if label)
        elif isinstance(row.get("label"), str):
            single.setdefault(ident, []).append(_label(row["label"]))
    known = {ident: tuple(label for label in labels if label) for ident, labels in single.items()}
    # One label that cannot be read would shift all others of its sample.
    return whole | {ident: labels for ident, labels in known.items() if len(labels) == len(single[ident])}


def _label(value: Any) -> Label | None:
    return read_label(read_number(value)[1]) if isinstance(value, str) else None


def _csv_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"the file is no CSV ({error})", where=str(path)) from None
