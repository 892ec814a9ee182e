"""What becomes of answers under mirroring, other wordings, and noise on the region of interest."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from medpref.evaluation.metrics import LOWER_IS_BETTER, goodness
from medpref.report.layout import Layout, Role, Row
from medpref.report.looking.rows import looking_rows, places, pooled, score_of
from medpref.report.tables import Score, ScoreTable
from medpref.report.wording import in_sentence, joined, metric_name, slice_name

FLIPS: Mapping[str, str] = {
    "flipped": "Other side",
    "unchanged": "Same side",
    "unread": "No side",
    "both_right": "Right on both",
}
CONSISTENCY: Mapping[str, str] = {
    "same": "Same answer",
    "changed": "Other answer",
    "unread": "Not read",
    "both_right": "Right in all",
}
ROI_NOISE = "roi-noise"


class MeasureRow(NamedTuple):
    """One method's shares over n samples, in the order of the table's measures."""

    method: str
    role: Role
    scores: tuple[Score | None, ...]
    n: int


class MeasureTable(NamedTuple):
    """Shares of what answers did, for every method of one backbone; `condition` is empty for flips."""

    task: str
    backbone: str
    condition: str
    measures: tuple[str, ...]
    rows: tuple[MeasureRow, ...]


def flip_tables(results: Mapping[str, Any], layout: Layout) -> list[MeasureTable]:
    """Return, for each task and backbone, what becomes of the side that is answered under mirroring."""
    rows = [{**row, "condition": ""} for row in looking_rows(results, "flips")]
    return list(_tables(rows, layout, FLIPS))


def consistency_tables(results: Mapping[str, Any], layout: Layout) -> list[MeasureTable]:
    """Return, for each task, backbone and other wording, how many answers stay the same."""
    return list(_tables(looking_rows(results, "consistency"), layout, CONSISTENCY))


def _tables(rows: Sequence[Row], layout: Layout, measures: Mapping[str, str]) -> Iterator[MeasureTable]:
    found = pooled(rows, "task", "backbone", "condition", "method", "measure")
    for task, backbone, condition in places(rows, layout, "condition"):
        lines = []
        for method in layout.methods:
            own = [found.get((task, backbone, condition, method, name)) for name in measures]
            if any(row and row["n"] for row in own):
                n = max(row["n"] for row in own if row)
                lines.append(MeasureRow(method, layout.role(method), tuple(map(score_of, own)), n))
        if lines:
            yield MeasureTable(task, backbone, condition, tuple(measures.values()), tuple(lines))


def noise_sentences(tables: Sequence[ScoreTable]) -> list[str]:
    """Say for each figure which methods lose more by noise on the region than by noise everywhere else."""
    return [sentence for table in tables if (sentence := _noise(table))]


def _noise(table: ScoreTable) -> str:
    metric = table.headline.metric
    groups: dict[str, list[str]] = {}
    samples = 0
    for row in table.rows:
        gap = row.gaps.get(ROI_NOISE)
        if gap is None or gap.low is None or gap.high is None:
            continue
        samples = max(samples, gap.n)
        ends = sorted(goodness(metric, end) for end in (gap.low, gap.high))
        verdict = "inside" if ends[0] > 0 else "outside" if ends[1] < 0 else "neither"
        groups.setdefault(verdict, []).append(row.method)
    side = "higher" if metric in LOWER_IS_BETTER else "lower"
    told = {
        "inside": f"{{score}} measurably {side} with noise on the region than with noise everywhere else: "
        "the answers depend on it",
        "outside": f"{{score}} measurably {side} with noise everywhere else: the answers depend on the "
        "surroundings more than on the region",
        "neither": "{show} no measurable difference between the two: nothing says that the answers come from "
        "the region",
    }
    said = [_said(groups[verdict], text) for verdict, text in told.items() if verdict in groups]
    if not said:
        return ""
    task, metric, part = table.headline
    place = f"{table.backbone}, {task}, {in_sentence(metric_name(metric))} on {slice_name(part)}"
    return f"{place} ({samples:,} samples): {'; '.join(said)}."


def _said(names: Sequence[str], text: str) -> str:
    ending = "s" if len(names) == 1 else ""
    return f"{joined(names)} {text.format(score=f'score{ending}', show=f'show{ending}')}"
