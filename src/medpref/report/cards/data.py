"""The card of a study's data, in the format of the Hugging Face Hub's data sets."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from huggingface_hub import DatasetCardData

from medpref.evaluation.log import EvaluationLog
from medpref.report.cards.markdown import bullets, card, escape, section, table
from medpref.report.wording import counted

# The Hub's classes of size, by what they end below.
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"))
_LARGEST = "1M<n<10M"
_TERMS = (
    "This card holds no row of the data. Images and texts of patients stay under the terms of their source."
)
_TASK = "visual-question-answering"

Content = Mapping[str, Any]


def data_card(content: Content, logs: Iterable[EvaluationLog]) -> str:
    """Return the card of what a study was trained on and asked.

    Args:
        content: what the study's page shows.
        logs: the study's logs, which tell the kinds of the questions.
    """
    data = content["data"]
    counts = data.get("counts") or {}
    splits = [(name, found.get("rows"), found.get("images")) for name, found in counts.items()]
    hashes = [line for line in content["hashes"] if line.part != "model"]
    facts = [f"{fact.name}: {fact.text}" for fact in content["leakage"]]
    return card(
        _header(content, sum(rows or 0 for _, rows, _ in splits)),
        f"# Data of the study: {escape(content['title'])}",
        bullets(_source(data)),
        section("Splits", table(("Split", "Rows", "Images"), splits)),
        section("Questions of the test", _kinds(logs)),
        section("Leakage", bullets(facts) or "The run does not tell."),
        section("Left out", bullets(_left_out(data)) or "Nothing."),
        section("Preference pairs", _pairs(content)),
        section("Hashes", table(("Part", "Name", "Holds", "SHA-256"), hashes)),
        section("Terms", _TERMS),
    )


def _header(content: Content, rows: int) -> dict[str, Any]:
    size = next((name for limit, name in _SIZES if rows < limit), _LARGEST)
    plain: Any = DatasetCardData(
        # The run has the licence in words, and not by the Hub's names; the text below tells it.
        license="other" if content["data"].get("licence") else "unknown",
        task_categories=[_TASK],
        size_categories=[size],
        pretty_name=f"Data of {content['title']}",
    )
    return dict(plain.to_dict())


def _source(data: Mapping[str, Any]) -> list[str]:
    told = [
        f"{title}: {data.get(key) or 'not stated'}"
        for key, title in (("source", "Source"), ("licence", "Licence"))
    ]
    split = [f"Split: {data['split']}"] if data.get("split") else []
    return [*told, *split, *(data.get("notes") or ())]


def _kinds(logs: Iterable[EvaluationLog]) -> str:
    rows: dict[str, list[tuple[str, str, int]]] = {}
    for log in logs:
        if log.header.condition == "normal" and log.header.task not in rows:
            kinds = Counter(record.kinds[0] if record.kinds else "other" for record in log.records)
            rows[log.header.task] = [(log.header.task, kind, kinds[kind]) for kind in sorted(kinds)]
    return table(("Task", "Kind", "Questions"), [row for task in sorted(rows) for row in rows[task]])


def _left_out(data: Mapping[str, Any]) -> list[str]:
    aside, none = data.get("quarantined") or {}, data.get("left_out") or {}
    return [
        *(f"{counted(count, 'row')} put aside: {reason}" for reason, count in aside.items()),
        *(f"no pair made of {counted(count, 'row')}: {reason}" for reason, count in none.items()),
    ]


def _pairs(content: Content) -> str:
    rows = [
        (line.method, line.objective, line.recipes or "as the data gives them") for line in content["methods"]
    ]
    return table(("Method", "Objective", "Pairs"), rows) or "The run does not tell."
