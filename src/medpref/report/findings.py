"""What the numbers say: the finding in one sentence, and the warnings that have to stand beside it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from medpref.evaluation.metrics import LOWER_IS_BETTER, goodness
from medpref.report.layout import CONTINUED, Layout, Role
from medpref.report.load import RunFolder
from medpref.report.tables import Delta, MethodRow, ScoreTable
from medpref.report.wording import (
    counted,
    in_sentence,
    interval,
    joined,
    metric_name,
    p_equals,
    percent,
    points,
    points_interval,
    slice_name,
)

_MOST_DETAILS = 12
_MOST_TEXTS = 3
# What many cautions of a kind have in common, by their title; the cases stand folded below it.
_MANY = {
    "No better than an answer without the image": (
        "On {count} of {figures} the best method is not measurably better than an answer that never sees the "
        "image."
    ),
    "A gain over one control only": (
        "{cases}: methods with a gain over {control} have no measurable one over another control."
    ),
    "The image may not be used": (
        "On {count} of {figures} there are methods that do not measurably lose when the image is blanked."
    ),
    "Answers without a score": (
        "On {count} of {figures} there are answers without a score. They count as neither right nor wrong."
    ),
}


class Finding(NamedTuple):
    """The finding in one sentence, and the differences that it rests on, a line each."""

    sentence: str
    details: tuple[str, ...]


class Caution(NamedTuple):
    """Something a reader has to know before the numbers.

    Attributes:
        title: a few words.
        texts: a sentence or two for each case.
        summary: one sentence for all cases, of which there are too many to be read first; empty otherwise.
    """

    title: str
    texts: tuple[str, ...]
    summary: str = ""


def find(tables: Sequence[ScoreTable], layout: Layout) -> Finding:
    """Return what the headline figures say about the methods against the main control."""
    control = layout.main_control
    methods = [name for name in layout.methods if layout.role(name) is Role.METHOD]
    if not methods:
        return Finding("No method was compared: the study holds controls only.", ())
    if control is None:
        return Finding("The methods were not compared with any control.", ())
    tested = [
        (table, row, row.deltas[control]) for table in tables for row in table.rows if control in row.deltas
    ]
    if not any(delta.p_study is not None for _, row, delta in tested if row.role is Role.METHOD):
        return Finding(f"The test is too small to tell any method from {control}.", ())
    distinct = [(table, row, delta) for table, row, delta in tested if delta.distinct]
    tallies = [_tally(name, [(r.method, d) for _, r, d in distinct]) for name in methods]
    details = tuple(_difference(table, row, delta, control) for table, row, delta in distinct)
    return Finding(_sentence(tallies, control, len(tables)), details[:_MOST_DETAILS])


class _Tally(NamedTuple):
    method: str
    wins: int
    losses: int


def _tally(method: str, distinct: Iterable[tuple[str, Delta]]) -> _Tally:
    signs = [delta.better for name, delta in distinct if name == method]
    return _Tally(method, sum(signs), len(signs) - sum(signs))


def _sentence(tallies: Sequence[_Tally], control: str, figures: int) -> str:
    groups: dict[tuple[int, int], list[str]] = {}
    for tally in sorted(tallies, key=lambda t: (t.losses - t.wins, -t.wins)):
        groups.setdefault((tally.wins, tally.losses), []).append(tally.method)
    same = groups.pop((0, 0), [])
    if not groups:
        every = f" on any of the {figures} headline figures" if figures > 1 else ""
        return f"No method is distinguishable from {control} at the 95\u00a0% level{every}."
    parts = [_verdict(names, wins, losses, control, figures) for (wins, losses), names in groups.items()]
    if same:
        parts.append(
            f"{joined(same)} {_verb(same, 'is', 'are')} not distinguishable from it at the 95\u00a0% level"
        )
    return "; ".join(parts) + "."


def _verdict(names: Sequence[str], wins: int, losses: int, control: str, figures: int) -> str:
    said = []
    if wins:
        said.append(f"{_verb(names, 'beats', 'beat')} {control}{_share(wins, figures)}")
    if losses:
        said.append(f"{_verb(names, 'falls', 'fall')} below {control}{_share(losses, figures)}")
    return f"{joined(names)} {' and '.join(said)}"


def _verb(names: Sequence[str], one: str, many: str) -> str:
    return one if len(names) == 1 else many


def _share(count: int, figures: int) -> str:
    return f" on {count} of {figures} headline figures" if figures > 1 else ""


def _difference(table: ScoreTable, row: MethodRow, delta: Delta, control: str) -> str:
    figures = f"{points(delta.value)} points {points_interval(delta.low, delta.high)}".strip()
    p_study = f"p {p_equals(delta.p_study)} after Holm over the study"
    return f"{row.method} less {control}, {_place(table)}: {figures}, {p_study}"


def _place(table: ScoreTable) -> str:
    task, metric, part = table.headline
    return f"{table.backbone}, {task}, {in_sentence(metric_name(metric))} on {slice_name(part)}"


def cautions(run: RunFolder, tables: Sequence[ScoreTable], layout: Layout) -> list[Caution]:
    """Return the warnings that apply, the gravest first."""
    found = [
        *_leakage(run.data.get("leakage") or {}),
        *_no_better_than_blind(tables),
        *_only_kept_what_the_control_lost(tables, layout),
        *_no_use_of_image(tables),
        *_no_equal_control(layout),
        *_one_seed(run),
        *_few_seeds(run),
        *_unequal_budgets(run),
        *_unscored(tables),
        *_quarantine(run.data.get("quarantined") or {}),
    ]
    texts: dict[str, list[str]] = {}
    for title, text in dict.fromkeys(found):
        texts.setdefault(title, []).append(text)
    return [
        Caution(title, tuple(cases), _summary(title, cases, tables, layout)) for title, cases in texts.items()
    ]


def _summary(title: str, cases: Sequence[str], tables: Sequence[ScoreTable], layout: Layout) -> str:
    """Return one sentence for many cases; empty for a few, which speak for themselves."""
    if len(cases) <= _MOST_TEXTS or title not in _MANY:
        return ""
    return _MANY[title].format(
        count=len(cases),
        figures=f"{counted(len(tables), 'headline figure')} (counted for each backbone)",
        cases=counted(len(cases), "case"),
        control=layout.main_control,
    )


def _leakage(leakage: dict[str, int]) -> Iterator[tuple[str, str]]:
    seen, asked = leakage.get("also_in_train", 0), leakage.get("test_images", 0)
    if seen:
        text = f"{seen:,} of {asked:,} test images also occur in train: scores may reward memory."
        yield ("Leakage", text)


def _no_better_than_blind(tables: Sequence[ScoreTable]) -> Iterator[tuple[str, str]]:
    for table in tables:
        blind = table.strongest_baseline
        best = max(table.rows, key=table.goodness)
        if blind is None or best.score.low is None or best.score.high is None:
            continue
        worst_end = min(goodness(table.headline.metric, end) for end in (best.score.low, best.score.high))
        if worst_end <= table.goodness(blind):
            text = (
                f"{_place(table)}: the best, {best.method}, scores {percent(best.score.value)}\u00a0% "
                f"{interval(best.score.low, best.score.high)}; “{blind.method}”, which never sees the "
                f"image, scores {percent(blind.score.value)}\u00a0%."
            )
            yield ("No better than an answer without the image", text)


def _only_kept_what_the_control_lost(
    tables: Sequence[ScoreTable], layout: Layout
) -> Iterator[tuple[str, str]]:
    """Warn of gains over the main control alone: beside a control that lost, standing still looks good."""
    main = layout.main_control
    others = [name for name in layout.controls if name != main]
    for table in tables:
        above = {
            control: {r.method for r in table.rows if control in r.deltas and r.deltas[control].better}
            for control in layout.controls
        }
        for other in others:
            names = sorted(above.get(main or "", set()) - above[other] - set(layout.controls))
            if names:
                who = f"{joined(names)} {_verb(names, 'is', 'are')}"
                side = "below" if table.headline.metric in LOWER_IS_BETTER else "above"
                text = f"{_place(table)}: {who} {side} {main} but not measurably {side} {other}."
                yield ("A gain over one control only", text)


def _no_use_of_image(tables: Sequence[ScoreTable]) -> Iterator[tuple[str, str]]:
    for table in tables:
        gains = {row.method: row.gap.worst_gain for row in table.rows if row.gap}
        names = [method for method, gain in gains.items() if gain is not None and gain <= 0]
        if names:
            who = f"{joined(names)} {_verb(names, 'scores', 'score')}"
            side = "higher" if table.headline.metric in LOWER_IS_BETTER else "lower"
            text = f"{_place(table)}: with the image blanked, {who} no measurably {side}."
            yield ("The image may not be used", text)


def _no_equal_control(layout: Layout) -> Iterator[tuple[str, str]]:
    if layout.controls and CONTINUED not in layout.controls and len(layout.methods) > len(layout.controls):
        text = f"There is no {CONTINUED}: a gain may come from training longer, not from the preference term."
        yield ("No control with as many steps", text)


def _one_seed(run: RunFolder) -> Iterator[tuple[str, str]]:
    if len(_seeds(run)) == 1:
        text = (
            "The variance between seeds is unknown: intervals cover the choice of test images, not training."
        )
        yield ("One seed only", text)


def _few_seeds(run: RunFolder) -> Iterator[tuple[str, str]]:
    count = len(_seeds(run))
    if count in (2, 3):
        text = (
            f"From {count} seeds the noise of training is known but roughly, so that differences over seeds "
            "have wide intervals."
        )
        yield ("Few seeds", text)


def _seeds(run: RunFolder) -> set[int]:
    return {log.header.seed for log in run.logs if log.header.model is not None}


def _unequal_budgets(run: RunFolder) -> Iterator[tuple[str, str]]:
    tried = {s.method: len(s.candidates) for s in run.searches if s.task}
    if len(set(tried.values())) > 1:
        listed = joined([f"{name} {count}" for name, count in tried.items()])
        yield ("Unequal search budgets", f"Candidates tried: {listed}.")


def _unscored(tables: Sequence[ScoreTable]) -> Iterator[tuple[str, str]]:
    for table in tables:
        counts = {row.method: row.score.unscored for row in table.rows if row.score.unscored}
        if counts:
            listed = joined([f"{name} {count:,}" for name, count in counts.items()])
            yield (
                "Answers without a score",
                f"{_place(table)}: {listed}. They count as neither right nor wrong.",
            )


def _quarantine(reasons: dict[str, Any]) -> Iterator[tuple[str, str]]:
    total = sum(reasons.values())
    if total:
        text = f"{counted(total, 'row')} of the data failed a check and took no part; the details say why."
        yield ("Rows put aside", text)
