"""Losses on minimal pairs: two images that differ only in the asked fact, and the answer to each.

Notation as in `medpref.objectives.preference`. Here yl, rejected on the clean image m, is the right answer to
the rejected image m': such as a mirrored image and the other side.
"""

from torch.nn.functional import logsigmoid

from medpref.objectives.base import PairValues, Scores, objective
from medpref.objectives.preference import (
    CHOSEN,
    CHOSEN_ON_REJECTED_IMAGE,
    REJECTED,
    REJECTED_ON_REJECTED_IMAGE,
)


@objective("minimal_pair", CHOSEN, REJECTED, CHOSEN_ON_REJECTED_IMAGE, REJECTED_ON_REJECTED_IMAGE)
def minimal_pair(scores: Scores, *, beta: float = 0.1, both: float = 0.5, alpha: float = 0.0) -> PairValues:
    """DPO on both images and on both at once, plus an NLL term; own form, half of what each image asks.

    With a = Δ(m,yw) − Δ(m,yl) and b = Δ(m',yl) − Δ(m',yw), in nats:
    −(1−κ)/2 · [log σ(βa) + log σ(βb)] − κ log σ(β(a + b)/2) + α `sft_both`, κ in [0, 1] being `both`.

    What an answer is worth without the image cancels in a + b: a model that prefers yw on both images by any
    margin has a = −b, and κ = 1 leaves it at log 2. Makes sense only where yl is right on m'.
    """
    first = scores.delta(CHOSEN) - scores.delta(REJECTED)
    second = scores.delta(REJECTED_ON_REJECTED_IMAGE) - scores.delta(CHOSEN_ON_REJECTED_IMAGE)
    each = -(logsigmoid(beta * first) + logsigmoid(beta * second)) / 2
    preference = (1 - both) * each - both * logsigmoid(beta * (first + second) / 2)
    return preference + alpha * sft_both(scores) if alpha else preference


@objective("sft_both", CHOSEN, REJECTED_ON_REJECTED_IMAGE, reference=False)
def sft_both(scores: Scores) -> PairValues:
    """SFT on both images of a minimal pair: −½ [log π(yw|m)/|yw| + log π(yl|m')/|yl|].

    The control of `minimal_pair`: the same images and right answers without a preference. In nats per token,
    the mean per sequence as in `sft`.
    """
    first, second = (scores.logps[c] / scores.lengths[c] for c in (CHOSEN, REJECTED_ON_REJECTED_IMAGE))
    return -(first + second) / 2
