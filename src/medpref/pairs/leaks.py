"""How well a bag of words tells chosen from rejected responses, without the image and the question.

A classifier that sees nothing but one response should be at chance, an AUC of .5. Where it is not, the sides
differ in style (length, full stops, stock phrases) or in what is always wrong, and a model can win its
preference loss by learning that instead of looking at the image.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.special import expit

from medpref.errors import InputError
from medpref.evaluation.intervals import ClusterBootstrap
from medpref.pairs.duplicates import content_key
from medpref.pairs.pair import ImageRole, Pair, ResponseRole

CHANCE = 0.5
FOLDS = 5
FEWEST_GROUPS = 20
"""Fewer images than this give no AUC worth a number."""
MOST_PAIRS = 10_000
"""Of larger sets, so many pairs are drawn: the interval is then narrower than anyone needs."""

_RARE = 3
_MOST_WORDS = 5_000
_PENALTY = 1.0
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


class Telling(NamedTuple):
    """A trait that tells the sides apart by itself.

    Attributes:
        trait: a word or two in quotation marks, or a trait in words, such as ``ends with a full stop``.
        side: the side that has more of it.
        auc: how well it tells by itself, from .5.
        chosen, rejected: its mean over the responses of each side; of a word, the share that has it.
    """

    trait: str
    side: ResponseRole
    auc: float
    chosen: float
    rejected: float


@dataclass(frozen=True, slots=True)
class Leak:
    """What a bag of words alone tells.

    Attributes:
        auc: the chance that of a chosen and a rejected response the classifier finds the chosen one, by folds
            that share no image; .5 is no leak, and the least.
        low, high: its 95 % percentile interval, by a bootstrap over images; not below .5 either.
        measured: the AUC as it came out, which may be below .5.
        pairs: how many pairs it was measured on.
        groups: how many images, or prompts of pairs without images, they have.
        telling: the traits that tell most, the strongest first.
        confidence: for each of those pairs, by id, the probability that the classifier gives to the right
            order of its two responses.
    """

    auc: float
    low: float
    high: float
    measured: float
    pairs: int
    groups: int
    telling: tuple[Telling, ...]
    confidence: dict[str, float]


class _Table(NamedTuple):
    """Responses as numbers, one row each.

    Attributes:
        names: what the columns are: words, then traits of style.
        bag: 1 where the response has the word.
        style: the traits of style, as they are.
    """

    names: tuple[str, ...]
    bag: sparse.csr_matrix
    style: Float[np.ndarray, "texts traits"]

    def scaled(self) -> sparse.csr_matrix:
        """Return all columns for the classifier; traits of style get mean 0 and deviation 1."""
        deviation = self.style.std(axis=0)
        style = (self.style - self.style.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
        return sparse.csr_matrix(sparse.hstack([self.bag, sparse.csr_matrix(style)]))


def measure_leak(
    pairs: Sequence[Pair], *, seed: int = 0, folds: int = FOLDS, resamples: int = 1000, telling: int = 20
) -> Leak:
    """Measure how well single responses tell their side, by cross-validation over images.

    The classifier is a logistic regression with a quadratic penalty on words, pairs of words, length and
    punctuation. Pairs on the same image, by the bytes of its file, are in one fold, so that none is split and
    no image is known from training. Responses are compared with those of their own fold, which the same
    classifier scored. The result does not depend on the order of the pairs.

    On new pairs no classifier can be expected to be below .5, but here it can come out so: words that are
    balanced over all pairs are out of balance, the other way round, in what is trained on. That is no leak:
    the AUC then is .5, and its interval as wide upwards as the one that was measured.

    Args:
        pairs: pairs with both responses; others do not count.
        seed: of the folds and the resamples.
        folds: how many parts the images are divided into.
        resamples: how many times the bootstrap draws the images.
        telling: how many traits are listed.

    Raises:
        InputError: the pairs have fewer than `FEWEST_GROUPS` images.
    """
    whole = _whole(pairs, seed)
    groups = [_group(pair) for pair in whole]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    if len(numbers) < max(folds, FEWEST_GROUPS):
        raise InputError(
            f"the pairs with two responses have {len(numbers)} images, too few to measure a leak",
            remedy=f"At least {max(folds, FEWEST_GROUPS)} are needed.",
        )
    texts = [pair.responses[role] for role in (ResponseRole.CHOSEN, ResponseRole.REJECTED) for pair in whole]
    is_chosen = np.repeat([True, False], len(whole))
    code = np.tile(np.array([numbers[name] for name in groups]), 2)
    fold = np.random.default_rng((seed, 1)).permutation(np.arange(len(numbers)) % folds)[code]
    table = _table(texts)
    scores = _cross_validated(table.scaled(), is_chosen, fold)
    measured = folded_auc(scores, is_chosen, np.ones(len(texts)), fold)
    weights = ClusterBootstrap([f"{number:09d}" for number in code], resamples=resamples, seed=seed).weights
    drawn_aucs = [folded_auc(scores, is_chosen, row[code], fold) for row in weights]
    low, high = np.nanquantile(drawn_aucs, [0.025, 0.975]).tolist()
    raised = max(0.0, CHANCE - measured)
    order = expit(scores[: len(whole)] - scores[len(whole) :])
    return Leak(
        auc=measured + raised,
        low=max(CHANCE, low + raised),
        high=max(CHANCE, high + raised),
        measured=measured,
        pairs=len(whole),
        groups=len(numbers),
        telling=_telling(table, is_chosen, telling),
        confidence={pair.id: value for pair, value in zip(whole, order.tolist(), strict=True)},
    )


def _whole(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Return the pairs with both responses by id; of too many, as many as are measured, drawn."""
    whole = [pair for pair in pairs if len(pair.responses) == len(ResponseRole)]
    whole.sort(key=lambda pair: pair.id)
    if len(whole) <= MOST_PAIRS:
        return whole
    drawn = np.random.default_rng((seed, 0)).choice(len(whole), MOST_PAIRS, replace=False)
    return [whole[number] for number in sorted(drawn.tolist())]


def _group(pair: Pair) -> str:
    """Return what a pair must not be parted from: its images, or its prompt where it has none."""
    try:
        return content_key(pair.images.get(ImageRole.CLEAN, ())) or pair.prompt
    except OSError:
        return pair.image_key


def folded_auc(
    scores: Float[np.ndarray, " texts"],
    positive: Bool[np.ndarray, " texts"],
    weights: Float[np.ndarray, " texts"],
    fold: Int[np.ndarray, " texts"],
) -> float:
    """Return the AUC over the couples within each fold.

    Scores of two folds are of two classifiers, and comparing them lowers the AUC: what is more frequent in a
    fold is less so in what its classifier was trained on.
    """
    counted = [_couples(scores[own], positive[own], weights[own]) for own in (fold == n for n in set(fold))]
    won, couples = (sum(column) for column in zip(*counted, strict=True))
    return won / couples if couples > 0 else float("nan")


def weighted_auc(
    scores: Float[np.ndarray, " texts"],
    positive: Bool[np.ndarray, " texts"],
    weights: Float[np.ndarray, " texts"],
) -> float:
    """Return the weighted share of (positive, negative) couples whose positive has the higher score.

    Ties count one half, so that it is the Mann–Whitney statistic. NaN without weight on both sides.
    """
    won, couples = _couples(scores, positive, weights)
    return won / couples if couples > 0 else float("nan")


def _couples(
    scores: Float[np.ndarray, " texts"],
    positive: Bool[np.ndarray, " texts"],
    weights: Float[np.ndarray, " texts"],
) -> tuple[float, float]:
    """Return the weight of the couples whose positive has the higher score, and that of all."""
    from scipy.stats import rankdata  # here: half a second that other commands need not wait

    rank = rankdata(scores, "dense") - 1
    up = np.bincount(rank, weights * positive)
    down = np.bincount(rank, weights * ~positive)
    return float(np.sum(up * (np.cumsum(down) - 0.5 * down))), float(up.sum() * down.sum())


def _cross_validated(
    values: sparse.csr_matrix, is_chosen: Bool[np.ndarray, " texts"], fold: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " texts"]:
    """Return each response's log-odds of being chosen, by a classifier that saw the other folds."""
    scores = np.zeros(len(is_chosen))
    for number in np.unique(fold):
        held = fold == number
        weights = _fit(values[~held], is_chosen[~held])
        scores[held] = values[held] @ weights
    return scores


def _fit(values: sparse.csr_matrix, is_chosen: Bool[np.ndarray, " texts"]) -> Float[np.ndarray, " columns"]:
    """Return the weights that minimise Σ log(1 + exp(−y·x·w)) + penalty/2 · |w|², y = ±1.

    There is no intercept: both sides are equally many.
    """
    sign = np.where(is_chosen, 1.0, -1.0)

    def loss(weights: Float[np.ndarray, " columns"]) -> tuple[float, Float[np.ndarray, " columns"]]:
        margin = sign * (values @ weights)
        value = float(np.logaddexp(0.0, -margin).sum() + 0.5 * _PENALTY * weights @ weights)
        slope = -(values.T @ (sign * expit(-margin))) + _PENALTY * weights
        return value, slope

    start = np.zeros(values.shape[1])
    from scipy.optimize import minimize

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights: Float[np.ndarray, " columns"] = found.x
    return weights


def _table(texts: Sequence[str]) -> _Table:
    """Return the traits of responses; words that fewer than `_RARE` of them have do not count."""
    said = [_words(text) for text in texts]
    counts = Counter(word for words in said for word in words)
    common = sorted((-count, word) for word, count in counts.items() if count >= _RARE)[:_MOST_WORDS]
    place = {word: number for number, (_, word) in enumerate(common)}
    rows = [number for number, words in enumerate(said) for word in words if word in place]
    columns = [place[word] for words in said for word in words if word in place]
    shape = (len(texts), len(place))
    bag = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    style = np.array([list(_style(text).values()) for text in texts], dtype=np.float64)
    return _Table((*(f"“{word}”" for word in place), *_style("")), bag, style)


def _words(text: str) -> list[str]:
    """Return the distinct words and pairs of neighbouring words of a text, sorted."""
    words = _WORD.findall(text.casefold())
    return sorted({*words, *(f"{one} {two}" for one, two in pairwise(words))})


def _style(text: str) -> dict[str, float]:
    """Return what a text looks like, whatever it says."""
    bare = text.strip()
    words = _WORD.findall(bare)
    return {
        "length (log of words)": float(np.log1p(len(words))),
        "letters in a word": float(np.mean([len(word) for word in words])) if words else 0.0,
        "ends with a full stop": float(bare.endswith(".")),
        "begins with a capital": float(bare[:1].isupper()),
        "commas": float(bare.count(",")),
        "other punctuation": float(sum(bare.count(sign) for sign in ";:()!?-–\"'/*#")),
        "digits": float(sum(sign.isdigit() for sign in bare)),
        "line breaks": float(bare.count("\n")),
        "blanks around it": float(bare != text),
    }


def _telling(table: _Table, is_chosen: Bool[np.ndarray, " texts"], count: int) -> tuple[Telling, ...]:
    """Return the traits that tell most by themselves: the weights share out what goes together."""
    ones = np.ones(len(is_chosen))
    means = np.concatenate([_side_means(table, is_chosen), _side_means(table, ~is_chosen)]).reshape(2, -1)
    words = table.bag.shape[1]
    # Of what is there or not, the AUC follows from the two shares.
    aucs = 0.5 + 0.5 * (means[0] - means[1])
    for number, column in enumerate(table.style.T):
        aucs[words + number] = weighted_auc(column, is_chosen, ones)
    order = sorted(range(len(aucs)), key=lambda number: (-abs(round(aucs[number] - 0.5, 9)), number))
    return tuple(
        Telling(
            table.names[number],
            ResponseRole.CHOSEN if aucs[number] > 0.5 else ResponseRole.REJECTED,
            max(float(aucs[number]), 1 - float(aucs[number])),
            float(means[0, number]),
            float(means[1, number]),
        )
        for number in order[:count]
        if aucs[number] != 0.5
    )


def _side_means(table: _Table, side: Bool[np.ndarray, " texts"]) -> Float[np.ndarray, " columns"]:
    bag = np.asarray(table.bag[side].sum(axis=0), dtype=np.float64).ravel() / side.sum()
    return np.concatenate([bag, table.style[side].mean(axis=0)])
