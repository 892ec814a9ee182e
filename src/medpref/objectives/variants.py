"""Losses beyond the study's five, in the notation of `medpref.objectives.preference`.

h = Δ(m,yw) − Δ(m,yl) is the difference of log-ratios, in nats. All return one loss for each pair.
"""

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from medpref.objectives.base import PairValues, Scores, TokenValues, objective
from medpref.objectives.preference import CHOSEN, CHOSEN_ON_REJECTED_IMAGE, REJECTED
from medpref.objectives.supervised import sft


def log_ratio_difference(scores: Scores) -> PairValues:
    """Return h = Δ(m,yw) − Δ(m,yl), in nats."""
    return scores.delta(CHOSEN) - scores.delta(REJECTED)


@objective("ipo", CHOSEN, REJECTED)
def ipo(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """IPO: (Δ(m,yw)/|yw| − Δ(m,yl)/|yl| − 1/(2β))². Azar et al. 2023, arXiv:2310.12036, eq. 17.

    Log-ratios are means over tokens, in nats a token: the authors' practice, though the paper writes sums.
    """
    chosen = scores.delta(CHOSEN) / scores.lengths[CHOSEN]
    rejected = scores.delta(REJECTED) / scores.lengths[REJECTED]
    return (chosen - rejected - 1 / (2 * beta)) ** 2


@objective("cdpo", CHOSEN, REJECTED)
def cdpo(scores: Scores, *, beta: float = 0.1, label_smoothing: float = 0.1) -> PairValues:
    """Conservative DPO: −(1−ε) log σ(βh) − ε log σ(−βh), ε the share of flipped labels. Mitchell 2023."""
    margin = beta * log_ratio_difference(scores)
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


@objective("robust", CHOSEN, REJECTED)
def robust(scores: Scores, *, beta: float = 0.1, label_smoothing: float = 0.1) -> PairValues:
    """Robust DPO: [−(1−ε) log σ(βh) + ε log σ(−βh)] / (1 − 2ε), ε < ½. Chowdhury et al., arXiv:2403.00409."""
    margin = beta * log_ratio_difference(scores)
    noisy = -(1 - label_smoothing) * logsigmoid(margin) + label_smoothing * logsigmoid(-margin)
    return noisy / (1 - 2 * label_smoothing)


@objective("hinge", CHOSEN, REJECTED)
def hinge(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """Hinge: max(0, 1 − βh). Zhao et al. 2023 (SLiC-HF), arXiv:2305.10425, on DPO's margin."""
    return relu(1 - beta * log_ratio_difference(scores))


@objective("simpo", CHOSEN, REJECTED, reference=False)
def simpo(scores: Scores, *, beta: float = 2.0, gamma: float = 1.0) -> PairValues:
    """SimPO: −log σ(β[log π(yw)/|yw| − log π(yl)/|yl|] − γ), no reference. Meng et al., arXiv:2405.14734."""
    chosen = scores.logps[CHOSEN] / scores.lengths[CHOSEN]
    rejected = scores.logps[REJECTED] / scores.lengths[REJECTED]
    return -logsigmoid(beta * (chosen - rejected) - gamma)


@objective("orpo", CHOSEN, REJECTED, reference=False)
def orpo(scores: Scores, *, weight: float = 0.1) -> PairValues:
    """ORPO: sft − λ log σ(log-odds(yw) − log-odds(yl)), no reference. Hong et al. 2024, arXiv:2403.07691.

    The odds are those of the mean token probability p = exp(log π(y)/|y|); `weight` is λ.
    """
    difference = log_odds(scores.logps[CHOSEN] / scores.lengths[CHOSEN]) - log_odds(
        scores.logps[REJECTED] / scores.lengths[REJECTED]
    )
    return sft(scores) - weight * logsigmoid(difference)


def log_odds(logp: PairValues) -> PairValues:
    """Return log(p / (1 − p)) of a log-probability, in nats; finite also where p rounds to 1."""
    # The largest float32 below 0 keeps log(1 − p) finite.
    below_zero = logp.clamp(max=-torch.finfo(logp.dtype).eps)
    return below_zero - torch.log(-torch.expm1(below_zero))


@objective("dpop", CHOSEN, REJECTED)
def dpop(scores: Scores, *, beta: float = 0.1, penalty: float = 5.0) -> PairValues:
    """DPOP: −log σ(β[h − λ max(0, −Δ(m,yw))]), λ the penalty. Pal et al. 2024, arXiv:2402.13228."""
    lost = relu(-scores.delta(CHOSEN))
    return -logsigmoid(beta * (log_ratio_difference(scores) - penalty * lost))


@objective("apo_zero", CHOSEN, REJECTED)
def apo_zero(scores: Scores, *, beta: float = 0.1) -> PairValues:
    """APO-zero: 1 − σ(βΔ(m,yw)) + σ(βΔ(m,yl)). D'Oosterlinck et al. 2024, arXiv:2408.06266, eq. 7."""
    return 1 - torch.sigmoid(beta * scores.delta(CHOSEN)) + torch.sigmoid(beta * scores.delta(REJECTED))


@objective("ld_dpo", CHOSEN, REJECTED, tokens=True)
def ld_dpo(scores: Scores, *, beta: float = 0.1, ld_alpha: float = 0.5) -> PairValues:
    """LD-DPO: DPO whose longer response counts by α behind the shorter's length. arXiv:2409.06411.

    −log σ(β[Δ'(m,yw) − Δ'(m,yl)]), where Δ' sums the first min(|yw|, |yl|) tokens' log-ratios as they are and
    the others times α, `ld_alpha` in [0, 1]. α = 1 is DPO.
    """
    shorter = torch.minimum(scores.lengths[CHOSEN], scores.lengths[REJECTED])
    margin = _desensitised(scores.token_delta(CHOSEN), shorter, ld_alpha) - _desensitised(
        scores.token_delta(REJECTED), shorter, ld_alpha
    )
    return -logsigmoid(beta * margin)


def _desensitised(tokens: TokenValues, whole: Int[Tensor, " pairs"], alpha: float) -> PairValues:
    """Sum tokens, those from position `whole` on times `alpha`."""
    beyond = torch.arange(tokens.shape[1], device=tokens.device) >= whole[:, None]
    return torch.where(beyond, alpha * tokens, tokens).sum(1)


@objective("chip_visual", CHOSEN, REJECTED, CHOSEN_ON_REJECTED_IMAGE)
def chip_visual(scores: Scores, *, beta: float = 0.1, visual_weight: float = 1.0) -> PairValues:
    """DPO with CHiP's visual term: −log σ(βh) − λ log σ(β[Δ(m,yw) − Δ(m',yw)]). Fu et al., arXiv:2501.16629.

    Only the response-level and the visual term; CHiP's segment- and token-level terms are left out.
    """
    visual = scores.delta(CHOSEN) - scores.delta(CHOSEN_ON_REJECTED_IMAGE)
    text = -logsigmoid(beta * log_ratio_difference(scores))
    return text - visual_weight * logsigmoid(beta * visual)
