"""The card of a study's models, in the format of the Hugging Face Hub."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from medpref.report.cards.markdown import bullets, card, escape, section, sheet_table, table
from medpref.report.layout import Role
from medpref.report.sheets.sheet import Sheet
from medpref.report.tables import ScoreTable
from medpref.report.wording import metric_name, slice_name

_TAGS = ["medical", "vision-language", "preference-optimization", "medpref"]
_LICENCE = (
    "The run does not tell a licence of the weights: that of the model that was started from applies, and "
    "that of the data that it was trained on."
)
_TASK = "visual-question-answering"

Content = Mapping[str, Any]


def model_card(content: Content, sheets: Iterable[Sheet]) -> str:
    """Return the card of all models that a study trained.

    Args:
        content: what the study's page shows.
        sheets: its tables.

    Returns:
        Markdown below a YAML header with a ``model-index``. What the run does not tell, such as a licence
        of the weights, is said to be missing.
    """
    sheets = list(sheets)
    scores = [sheet_table(sheet) for sheet in sheets if sheet.name.startswith("scores.")]
    return card(
        _header(content),
        f"# Models of the study: {escape(content['title'])}",
        f"{escape(content['finding'].sentence)}\n\n{escape(content['subject'])}",
        "This is research software, not a medical device: no answer of these models may decide about a "
        "patient.",
        section("Models", _models(content)),
        section("Scores", "\n\n".join(scores)),
        section("Before you read the numbers", _cautions(content)),
        section("Training", _training(content, sheets)),
        section("Licence", _LICENCE),
    )


def _header(content: Content) -> dict[str, Any]:
    plain: Any = ModelCardData(
        library_name="transformers", pipeline_tag="image-text-to-text", tags=list(_TAGS)
    )
    return {**plain.to_dict(), "model-index": list(_index(content))}


def _index(content: Content) -> Iterator[dict[str, Any]]:
    """Yield the scores of every model that was trained, baselines left out."""
    by_model: dict[str, list[EvalResult]] = {}
    for found, *_ in content["tables"]:
        for row in found.rows:
            if row.score.value is not None:
                name = f"{content['study']}/{found.backbone}/{row.method}"
                by_model.setdefault(name, []).append(_result(found, row.score.value, content["data"]))
    for name, results in by_model.items():
        yield from eval_results_to_model_index(name, results)


def _result(found: ScoreTable, value: float, data: Mapping[str, Any]) -> EvalResult:
    task, metric, part = found.headline
    return EvalResult(
        task_type=_TASK,
        dataset_type=task,
        dataset_name=str(data.get("source") or task),
        dataset_split="test",
        metric_type=metric,
        metric_name=f"{metric_name(metric)}, {slice_name(part)}",
        # The Hub shows results by task and metric: two slices of one metric are two configurations.
        metric_config=part,
        metric_value=value,
    )


def _models(content: Content) -> str:
    layout = content["layout"]
    roles = {name: "control" if layout.role(name) is Role.CONTROL else "method" for name in layout.methods}
    prints = [line for line in content["hashes"] if line.part == "model"]
    rows = [(line.name, roles.get(line.name.rpartition("/")[2], ""), line.digest) for line in prints]
    return table(("Model", "Role", "Fingerprint of the weights"), rows) or bullets(layout.methods)


def _cautions(content: Content) -> str:
    return bullets(f"{caution.title}: {text}" for caution in content["cautions"] for text in caution.texts)


def _training(content: Content, sheets: Iterable[Sheet]) -> str:
    methods = [sheet_table(sheet) for sheet in sheets if sheet.name in ("methods", "search")]
    facts = bullets(f"{fact.name}: {fact.text}" for fact in content["run_facts"])
    return "\n\n".join(filter(None, [*methods, facts]))
