"""MultiMedEval's scores of questions, faults and all, to compare with published tables and for nothing else.

They follow Royer et al. 2024 (arXiv:2402.09262): sets of words, in the spelling of
`medpref.evaluation.scores.legacy`; contractions without an apostrophe do not get theirs back. A question is
closed where the reference is yes or no, open otherwise, whatever the data set says. Its prompt adds "Answer
the following question with yes or no." only where the reference is spelt in lower case, which these scores
cannot show.
"""

import math
from collections import Counter

from medpref.evaluation.scores.legacy import legacy_normalise

_CLOSED = (["yes"], ["no"])
# With "not" counted as a no, one of two words has to be there.
_CLOSED_RECALL = 0.4
_OPEN_RECALL = 0.75


def legacy_multimedeval(prediction: str, gold: str) -> dict[str, float]:
    """Return all of MultiMedEval's scores of one answer by name.

    ``legacy_multimedeval_closed``, only where the reference is yes or no: 1 where the answer has the word yes
    for yes, no or not for no, so that "yes and no" is right about everything. Elsewhere
    ``legacy_multimedeval_recall``: the share of the reference's distinct words in the answer, whatever else
    it says, and ``legacy_multimedeval_accuracy``: 1 where that is .75 or more. In both cases
    ``legacy_multimedeval_f1`` of the sets of words and ``legacy_multimedeval_bleu_1``: brevity penalty times
    unigram precision.
    """
    answer, reference = _words(prediction), _words(gold)
    shared = len(set(answer) & set(reference))
    precision = shared / len(set(answer)) if answer else 0.0
    recall = shared / len(set(reference)) if reference else 0.0
    f1 = 2 * precision * recall / (precision + recall + 1e-8)
    both = {"legacy_multimedeval_f1": f1, "legacy_multimedeval_bleu_1": _bleu_1(answer, reference)}
    if reference in _CLOSED:
        return {"legacy_multimedeval_closed": _closed(answer, reference), **both}
    accuracy = float(recall >= _OPEN_RECALL)
    return {"legacy_multimedeval_recall": recall, "legacy_multimedeval_accuracy": accuracy, **both}


def _words(text: str) -> list[str]:
    return legacy_normalise(text.lower()).split()


def _closed(answer: list[str], reference: list[str]) -> float:
    right = set(reference) | ({"not"} if reference == ["no"] else set())
    return float(len(set(answer) & right) / len(right) >= _CLOSED_RECALL)


def _bleu_1(answer: list[str], reference: list[str]) -> float:
    shared = (Counter(answer) & Counter(reference)).total()
    return shared / len(answer) * math.exp(min(0.0, 1 - len(reference) / len(answer))) if shared else 0.0
