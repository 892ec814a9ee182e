"""Kinds learned from labelled questions, by words and by what the lists say."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.sparse import csr_array

from medpref.errors import InputError
from medpref.pairs.kinds.classifier import Classifier, Kind
from medpref.pairs.kinds.lists import KINDS

SEEN_AT_LEAST = 2
"""Terms that fewer questions hold are left out."""

EVIDENCE = 3
"""How many words are told as evidence."""


class LearnedClassifier:
    """Tells kinds as labelled examples have them.

    A question's terms are its words, its pairs of neighbouring words, and what the lists say of it, weighted
    by their inverse document frequency and scaled to length 1. Each kind has a logistic regression of its own
    with an L2 penalty, so a question may have several. The fit is convex and draws nothing at random: the
    same examples give the same classifier.

    Args:
        examples: questions with the names of their kinds.
        lists: the classifier by lists, whose kinds are terms too.
        penalty: the weight of the squared coefficients' half sum against the sum of log losses, in nats.

    Raises:
        InputError: there are no examples.
    """

    def __init__(
        self, examples: Sequence[tuple[str, frozenset[str]]], lists: Classifier, *, penalty: float = 0.1
    ) -> None:
        if not examples:
            raise InputError("there are no labelled questions to learn from")
        self.lists = lists
        terms = [self._terms(question) for question, _ in examples]
        seen = Counter(term for held in terms for term in set(held))
        kept = sorted(term for term, count in seen.items() if count >= SEEN_AT_LEAST)
        self._column = {term: column for column, term in enumerate(kept)}
        self._rarity = np.array([np.log((1 + len(terms)) / (1 + seen[term])) + 1 for term in kept])
        features = self._features(terms)
        self.names = tuple(name for name in KINDS if any(name in kinds for _, kinds in examples))
        labels = [np.array([name in kinds for _, kinds in examples], dtype=float) for name in self.names]
        self._weights = np.stack([_fit(features, label, penalty) for label in labels])

    def __call__(self, question: str, answer: str | None = None) -> tuple[Kind, ...]:
        """Return the kinds with a probability of one half or more, else the likeliest; the likeliest first.

        Args:
            question: the question's text.
            answer: not used; here so that both classifiers are called alike.
        """
        terms = self._terms(question)
        row = self._features([terms])
        chances = _logistic(row @ self._weights.T)[0]
        order = np.argsort(-chances, kind="stable")
        told = [place for place in order if chances[place] >= 0.5] or [order[0]]
        return tuple(
            Kind(self.names[place], float(chances[place]), self._evidence(row, int(place))) for place in told
        )

    def _terms(self, question: str) -> list[str]:
        words = self.lists.words(question).split()
        pairs = [f"{first} {second}" for first, second in pairwise(words)]
        said = self.lists(question)
        return [*words, *pairs, *(f"={kind.name}" for kind in said), f"=={said[0].name}"]

    def _features(self, terms: Sequence[Sequence[str]]) -> csr_array:
        """Return a sparse matrix with a row for each question; the last column is 1, for the intercept."""
        rows, columns, values = [], [], []
        for number, held in enumerate(terms):
            counts = Counter(self._column[term] for term in held if term in self._column)
            weights = {column: count * self._rarity[column] for column, count in counts.items()}
            length = np.sqrt(sum(weight**2 for weight in weights.values())) or 1.0
            for column, weight in (*weights.items(), (len(self._column), length)):
                rows.append(number)
                columns.append(column)
                values.append(weight / length)
        return csr_array((values, (rows, columns)), shape=(len(terms), len(self._column) + 1))

    def _evidence(self, row: csr_array, kind: int) -> tuple[str, ...]:
        """Return the words that speak most for a kind; what the lists said is written ``=kind``."""
        names = list(self._column)
        shares = {
            names[c]: v * self._weights[kind, c]
            for c, v in zip(row.indices, row.data, strict=True)
            if c < len(names)
        }
        best = sorted(shares, key=lambda term: -shares[term])[:EVIDENCE]
        return tuple(term for term in best if shares[term] > 0)


def _fit(
    features: csr_array, labels: Float[np.ndarray, "examples"], penalty: float
) -> Float[np.ndarray, "terms"]:
    """Return the coefficients that minimise log loss and penalty; the intercept, the last, is free."""
    signs = 2 * labels - 1

    def loss(weights: Float[np.ndarray, "terms"]) -> tuple[float, Float[np.ndarray, "terms"]]:
        margins = signs * (features @ weights)
        slopes = -signs * _logistic(-margins)
        shrunk = np.append(weights[:-1], 0.0)
        value = np.logaddexp(0, -margins).sum() + penalty * (shrunk @ shrunk) / 2
        return float(value), features.T @ slopes + penalty * shrunk

    start = np.zeros(features.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300}).x)


def _logistic(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.exp(-np.logaddexp(0, -values)))
