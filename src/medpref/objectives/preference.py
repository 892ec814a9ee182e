"""The study's five preference losses.

Notation: m is the clean and m' the rejected image, yw the chosen and yl the rejected response,
Δ(i, y) = log π(y|i, x) − log π_ref(y|i, x) summed over response tokens, in nats; σ is the logistic function.
All return one loss for each pair, in nats.
"""

from torch.nn.functional import logsigmoid

from medpref.objectives.base import PairValues, Scores, objective
from medpref.scoring.cells import Cell

CHOSEN = Cell.CLEAN_CHOSEN
REJECTED = Cell.CLEAN_REJECTED
CHOSEN_ON_REJECTED_IMAGE = Cell.REJECTED_CHOSEN
REJECTED_ON_REJECTED_IMAGE = Cell.REJECTED_REJECTED


@objective("dpo", CHOSEN, REJECTED)
def dpo(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """DPO: −log σ(β[Δ(m,yw) − Δ(m,yl)]). Rafailov et al. 2023, arXiv:2305.18290, eq. 7."""
    return -logsigmoid(beta * (scores.delta(CHOSEN) - scores.delta(REJECTED)))


@objective("irpo", CHOSEN, REJECTED)
def irpo(scores: Scores, *, beta: float = 0.1, alpha: float = 1.0) -> PairValues:
    """IRPO (DPO + NLL): dpo − α log π(yw|m)/|yw|, mean per sequence. Pang et al. 2024, arXiv:2404.19733."""
    nll = -scores.logps[CHOSEN] / scores.lengths[CHOSEN]
    return dpo(scores, beta=beta) + alpha * nll


@objective("copo", CHOSEN, CHOSEN_ON_REJECTED_IMAGE)
def copo(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """CoPO: −log σ(β[Δ(m,yw) − Δ(m',yw)]). Wang et al. 2024 (mDPO), arXiv:2406.11839."""
    return -logsigmoid(beta * (scores.delta(CHOSEN) - scores.delta(CHOSEN_ON_REJECTED_IMAGE)))


@objective("mdpo", CHOSEN, REJECTED, CHOSEN_ON_REJECTED_IMAGE)
def mdpo(scores: Scores, *, beta: float = 0.1, delta: float = 0.0) -> PairValues:
    """mDPO: dpo + copo − log σ(βΔ(m,yw) − δ), equal weights. Wang et al. 2024, arXiv:2406.11839."""
    anchor = -logsigmoid(beta * scores.delta(CHOSEN) - delta)
    return dpo(scores, beta=beta) + copo(scores, beta=beta) + anchor


@objective("mmedpo", CHOSEN, REJECTED_ON_REJECTED_IMAGE, weight=True)
def mmedpo(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """MMedPO: −s' log σ(β[Δ(m,yw) − Δ(m',yl)]), s' the clinical relevance.

    Zhu et al. 2024, arXiv:2412.06141, in the form benchmarked in arXiv:2601.17918.
    """
    margin = scores.delta(CHOSEN) - scores.delta(REJECTED_ON_REJECTED_IMAGE)
    return scores.pair_weight() * -logsigmoid(beta * margin)
