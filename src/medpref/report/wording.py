"""Names and numbers as people read them: scores in per cent, differences in percentage points."""

from collections.abc import Sequence

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
    "bleu": "BLEU",
    "rouge_l": "ROUGE-L",
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
