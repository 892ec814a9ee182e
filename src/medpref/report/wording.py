"""Names and numbers as people read them: scores in per cent, differences in percentage points."""

from collections.abc import Callable, Mapping, Sequence

from medpref.evaluation.metrics import LOWER_IS_BETTER, Unit, unit

ABSENT = "–"
MINUS = "−"

_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "exact_match": "Exact match",
    "token_f1": "Token F1",
    "token_f1_set": "Token F1 (sets)",
    "token_recall": "Token recall",
    "token_precision": "Token precision",
    "unparsed": "Unreadable answers",
    "likelihood_accuracy": "Accuracy by likelihood",
    "likelihood_accuracy_per_token": "Accuracy by likelihood per token",
    "likelihood_margin": "Likelihood margin",
    "region_mass": "Gradient mass in the region",
    "region_area": "Area of the region",
    "bleu": "BLEU, mean of sentences",
    "rouge_l": "ROUGE-L",
    "corpus_bleu": "BLEU, corpus",
    "distinct_rate": "Distinct answers",
    "mean_words": "Words, mean",
    "fact_comp": "Facts covered (comp)",
    "fact_hall": "Facts contradicted (hall)",
    "fact_precision": "Facts, precision",
    "fact_f1": "Facts, F1",
    "green": "GREEN",
    "meteor": "METEOR",
    "ratescore": "RaTEScore",
    "radgraph-f1": "RadGraph F1",
    "chexbert-f1": "CheXbert F1",
    "legacy_bleu_1": "Legacy BLEU-1",
    "legacy_bleu_2": "Legacy BLEU-2",
    "legacy_bleu_3": "Legacy BLEU-3",
    "legacy_open_f1": "Legacy open F1",
    "legacy_multimedeval_closed": "Legacy MultiMedEval closed",
    "legacy_multimedeval_recall": "Legacy MultiMedEval recall",
    "legacy_multimedeval_accuracy": "Legacy MultiMedEval accuracy",
    "legacy_multimedeval_f1": "Legacy MultiMedEval F1",
    "legacy_multimedeval_bleu_1": "Legacy MultiMedEval BLEU-1",
}
_SLICES = {"all": "all questions", "closed": "closed questions", "open": "open questions"}


def metric_name(metric: str) -> str:
    """Return a metric's name with a capital."""
    return _METRICS.get(metric) or metric.replace("_", " ").capitalize()


def in_sentence(name: str) -> str:
    """Return a name for the midst of a sentence; abbreviations keep their capitals."""
    return name if name[1:2].isupper() else name[:1].lower() + name[1:]


def slice_name(name: str) -> str:
    """Return what a slice contains."""
    if name.startswith("kind:"):
        return f"kind “{name.removeprefix('kind:')}”"
    if ":" in name:
        facet, _, value = name.partition(":")
        return f"{facet} “{value}”"
    return _SLICES.get(name) or f"{name} questions"


def percent(value: float | None) -> str:
    """Return a share in per cent, without the sign: 0.6412 is 64.1."""
    return ABSENT if value is None else f"{100 * value:.1f}"


def points(value: float | None, minus: str = MINUS) -> str:
    """Return a difference of shares in percentage points, always with its sign; zero has none."""
    if value is None:
        return ABSENT
    text = f"{abs(100 * value):.1f}"
    if text == "0.0":
        return text
    return ("+" if value > 0 else minus) + text


def interval(low: float | None, high: float | None) -> str:
    """Return an interval of shares, empty where there is none."""
    return "" if low is None or high is None else f"[{percent(low)}, {percent(high)}]"


def points_interval(low: float | None, high: float | None, minus: str = MINUS) -> str:
    """Return an interval of differences, empty where there is none."""
    return "" if low is None or high is None else f"[{points(low, minus)}, {points(high, minus)}]"


def decimals(value: float | None) -> str:
    """Return a figure that is no share to three places: 0.137."""
    return ABSENT if value is None else f"{value:.3f}".replace("-", MINUS)


def decimals_interval(low: float | None, high: float | None) -> str:
    """Return an interval of such figures, empty where there is none."""
    return "" if low is None or high is None else f"[{decimals(low)}, {decimals(high)}]"


_FIGURES: Mapping[Unit, Callable[[float], str]] = {
    Unit.SHARE: percent,
    Unit.NATS: lambda value: f"{value:.2f}".replace("-", MINUS),
    Unit.WORDS: lambda value: f"{value:.1f}",
}


def figure(value: float | None, metric: str) -> str:
    """Return a metric's value in its own unit, without the unit: shares in per cent, others as they are."""
    return ABSENT if value is None else _FIGURES[unit(metric)](value)


def figure_interval(low: float | None, high: float | None, metric: str) -> str:
    """Return an interval in the metric's own unit, empty where there is none."""
    return "" if low is None or high is None else f"[{figure(low, metric)}, {figure(high, metric)}]"


def metric_title(metric: str) -> str:
    """Return a metric's name, with its unit where that is not clear, and whether less of it is better."""
    own = ", nats" if unit(metric) is Unit.NATS else ""
    return metric_name(metric) + own + (", less is better" if metric in LOWER_IS_BETTER else "")


def p_value(value: float | None) -> str:
    """Return a p value to three places: 0.032, or <0.001."""
    if value is None:
        return ABSENT
    return "<0.001" if value < 0.0005 else f"{value:.3f}"


def p_equals(value: float | None) -> str:
    """Return a p value with its sign: = 0.032, or < 0.001."""
    text = p_value(value)
    return f"< {text[1:]}" if text.startswith("<") else f"= {text}"


def effect(value: float | None) -> str:
    """Return an effect size to two places, with its sign."""
    return ABSENT if value is None else f"{value:+.2f}".replace("-", MINUS)


def number(value: float | int | None) -> str:
    """Return a count or setting: thousands apart, floats to four digits."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: 1 row, 2 rows."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def joined(names: Sequence[str]) -> str:
    """Return a list in words: a, b and c."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1] if names else ""


def duration(seconds: float) -> str:
    """Return a time to two units: 1 h 5 min, 3 min 20 s, 4.2 s."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
