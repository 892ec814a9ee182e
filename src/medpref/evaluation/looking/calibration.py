"""Whether the probabilities of yes and no are as good as they claim: of answers given with 0.8, 0.8 right."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from medpref.evaluation.columns import Columns, one_column_each
from medpref.evaluation.intervals import ClusterBootstrap, Draws
from medpref.evaluation.log import EvaluationLog, Record
from medpref.evaluation.looking.runs import Answers, Row, by_run, figures, tidy, with_pooled
from medpref.evaluation.scores.closed import Polarity, gold_polarity
from medpref.evaluation.scores.text import normalise

BINS = 10
LEAST = 20
"""Fewer samples than this a bin tell little; there are then fewer bins."""
DRAWS = 1000
_MEASURES = (
    "ece",
    "ece_if_calibrated",
    "rms_debiased",
    "brier",
    "brier_of_base_rate",
    "mean_p_yes",
    "share_yes",
)

Probabilities = Float[np.ndarray, " samples"]
Labels = Bool[np.ndarray, " samples"]


class YesNo(NamedTuple):
    """The yes/no questions of one log whose answers were scored, by sample id.

    Attributes:
        probability: P(yes) / (P(yes) + P(no)).
        label: whether the right answer is yes.
        clusters: of each sample.
    """

    probability: Probabilities
    label: Labels
    clusters: tuple[str, ...]


class Calibration(NamedTuple):
    """What `calibration` returns: rows of summary figures, and rows of the reliability table."""

    summary: list[Row]
    reliability: list[Row]


def calibration(logs: Sequence[EvaluationLog], *, bins: int = BINS) -> Calibration:
    """Return how well the probability of yes fits the share of yes, for each log with answers' log-probs.

    The summary's measures, over the yes/no questions of each run under each condition:

    - ``ece``: the expected calibration error Σ_b n_b/n · |share of yes − mean probability| over bins of equal
      size (Naeini et al. 2015, AAAI; equal sizes: Nixon et al. 2019, arXiv:1904.01685). It is biased upwards:
      even perfect probabilities have a positive one, the larger the fewer the samples. Its interval is too.
    - ``ece_if_calibrated``: what it would be on average if these very probabilities were right, with
      independent samples. No more than that is no evidence of miscalibration.
    - ``rms_debiased``: √max(0, Σ_b n_b/n · [(share − mean)² − share(1 − share)/(n_b − 1)]): the
      root-mean-square calibration error less its bias (Kumar et al. 2019, arXiv:1909.10155). No interval.
    - ``brier``: the mean of (probability − yes)²; ``brier_of_base_rate`` that of the share of yes
    - ``mean_p_yes`` and ``share_yes``: a model that leans to yes has more of the first.

    Where all right answers are yes, or all are no, there are no rows: always saying so would be perfect.
    Conditions that need a region of interest may well be so.

    Args:
        logs: the evaluation logs.
        bins: the most bins; fewer where a bin would have less than 20 samples.

    Returns:
        Summary rows of backbone, method, seed ("all" over several), task, condition, measure, value, ci_low,
        ci_high and n; reliability rows of the same places with bin (from 1), bins, p_low, p_high, p_mean,
        share_yes, ci_low, ci_high and n, for each seed.
    """
    summary: list[Row] = []
    reliability: list[Row] = []
    for run, seeds in by_run(logs):
        for condition in sorted({name for conditions in seeds.values() for name in conditions}):
            answers = {seed: own[condition] for seed, own in seeds.items() if condition in own}
            scored = _scored(answers)
            draws: dict[int, Draws] = {}
            for seed, asked in scored.items():
                parts = equal_mass(asked.probability, bins)
                draws[seed] = _figures(asked, parts)
                place = {**run.place(seed), "condition": condition}
                reliability += [{**place, **row} for row in reliability_table(asked, parts)]
            for seed_or_all, rows in with_pooled(draws) if draws else ():
                place = {**run.place(seed_or_all), "condition": condition}
                named = zip(_MEASURES, rows, strict=True)
                summary += [{**place, "measure": measure, **row} for measure, row in named]
    return Calibration(summary, reliability)


def p_yes(record: Record) -> float | None:
    """Return P(yes) among a record's scored answers, None where these are not just yes and no.

    The two log-probs are renormalised: exp(yes) / (exp(yes) + exp(no)).
    """
    logps = {normalise(answer): logp for answer, logp in record.choice_logps.items()}
    if set(logps) != {"yes", "no"}:
        return None
    # Half the difference, so that no exponential overflows.
    return float(0.5 * (1 + np.tanh((logps["yes"] - logps["no"]) / 2)))


def _scored(seeds: Mapping[int, Answers]) -> dict[int, YesNo]:
    """Return the yes/no questions that every seed has scored; none where only one of both is ever right."""
    known: dict[int, dict[str, tuple[float, Record]]] = defaultdict(dict)
    for seed, answers in seeds.items():
        for ident, record in answers.items():
            probability = p_yes(record)
            if probability is not None and gold_polarity(record.gold) is not None:
                known[seed][ident] = (probability, record)
    common = sorted(set.intersection(*map(set, known.values()))) if known else []
    found = {seed: _yes_no([own[ident] for ident in common]) for seed, own in known.items() if common}
    return {seed: asked for seed, asked in found.items() if 0 < asked.label.sum() < len(asked.label)}


def _yes_no(found: Sequence[tuple[float, Record]]) -> YesNo:
    return YesNo(
        np.array([probability for probability, _ in found]),
        np.array([gold_polarity(record.gold) is Polarity.YES for _, record in found]),
        tuple(record.cluster for _, record in found),
    )


def equal_mass(probability: Probabilities, bins: int = BINS) -> Int[np.ndarray, " samples"]:
    """Return the bin of each sample, from 0: as many in each as equal probabilities in one bin allow.

    There are no more than `bins`, and no more than one for 20 samples.
    """
    n = len(probability)
    wanted = max(1, min(bins, n // LEAST))
    ordered = np.sort(probability)
    # A bin's first probability; equal probabilities begin no second bin.
    edges = np.unique(ordered[np.arange(1, wanted) * n // wanted])
    number = np.searchsorted(edges, probability, side="right")
    return np.unique(number, return_inverse=True)[1].reshape(-1)


def ece(probability: Probabilities, label: Labels, parts: Int[np.ndarray, " samples"]) -> float:
    """Return Σ_b |Σ_{i in b} (label_i − probability_i)| / n over the bins `parts`."""
    gaps = np.bincount(parts, weights=label - probability)
    return float(np.abs(gaps).sum() / len(label))


def rms_debiased(probability: Probabilities, label: Labels, parts: Int[np.ndarray, " samples"]) -> float:
    """Return the root-mean-square calibration error less its bias; 0 where less than nothing is left.

    Bins with one sample have no estimate of their variance, and do not count.
    """
    counts = np.bincount(parts)
    counted = np.maximum(counts, 1)
    share = np.bincount(parts, weights=label) / counted
    gap = share - np.bincount(parts, weights=probability) / counted
    enough = counts > 1
    terms = gap[enough] ** 2 - share[enough] * (1 - share[enough]) / (counts[enough] - 1)
    if not enough.any():
        return 0.0
    return float(np.sqrt(max(0.0, (counts[enough] * terms).sum() / counts[enough].sum())))


def ece_if_calibrated(
    probability: Probabilities, parts: Int[np.ndarray, " samples"], *, draws: int = DRAWS, seed: int = 0
) -> float:
    """Return the mean `ece` of labels drawn with these probabilities: what chance alone makes of it."""
    rng = np.random.default_rng(seed)
    labels = rng.random((draws, len(probability))) < probability
    member = parts[:, None] == np.arange(parts.max() + 1)
    gaps = (labels - probability) @ member
    return float(np.abs(gaps).sum(axis=1).mean() / len(probability))


def _figures(asked: YesNo, parts: Int[np.ndarray, " samples"]) -> Draws:
    """Return the summary's figures in the order of their names, with resamples where there are any."""
    p, yes = asked.probability, asked.label.astype(float)
    bootstrap = ClusterBootstrap(asked.clusters)
    means = bootstrap.draw(one_column_each(np.stack([(p - yes) ** 2, p, yes], axis=1)))
    brier, leaning, base = (means.resampled[:, number] for number in range(3))
    rate = float(yes.mean())
    nothing = np.full(bootstrap.resamples, np.nan)
    columns = (
        (ece(p, asked.label, parts), _resampled_ece(bootstrap, asked, parts)),
        (ece_if_calibrated(p, parts), nothing),
        (rms_debiased(p, asked.label, parts), nothing),
        (float(means.value[0]), brier),
        (rate * (1 - rate), nothing),
        (float(means.value[1]), leaning),
        (rate, base),
    )
    values, resampled = zip(*columns, strict=True)
    n = np.full(len(columns), len(p), dtype=np.int64)
    return Draws(np.array(values), np.stack(resampled, axis=1), n)


def _resampled_ece(
    bootstrap: ClusterBootstrap, asked: YesNo, parts: Int[np.ndarray, " samples"]
) -> Float[np.ndarray, " resamples"]:
    """Return the calibration error of each resample of clusters, the bins as they are."""
    member = parts[:, None] == np.arange(parts.max() + 1)
    gaps = np.where(member, (asked.label - asked.probability)[:, None], 0.0)
    totals = bootstrap.totals(np.concatenate([gaps, np.ones((len(parts), 1))], axis=1))
    drawn = bootstrap.weights @ totals
    found = np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1]
    return np.where(bootstrap.count > 1, found, np.nan)


def reliability_table(asked: YesNo, parts: Int[np.ndarray, " samples"]) -> Iterator[Row]:
    """Yield, for each bin, its probabilities and the share of yes in it, with a 95 % interval."""
    member = parts[:, None] == np.arange(parts.max() + 1)
    inside = np.where(member, asked.label[:, None].astype(float), np.nan)
    columns = Columns(inside, np.arange(inside.shape[1]))
    for number, row in enumerate(figures(ClusterBootstrap(asked.clusters).draw(columns))):
        own = asked.probability[parts == number]
        yield {
            "bin": number + 1,
            "bins": inside.shape[1],
            "p_low": tidy(float(own.min())),
            "p_high": tidy(float(own.max())),
            "p_mean": tidy(float(own.mean())),
            "share_yes": row["value"],
            "ci_low": row["ci_low"],
            "ci_high": row["ci_high"],
            "n": row["n"],
        }
