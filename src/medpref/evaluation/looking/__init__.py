"""Looking or guessing: what logs alone tell of how far a model's answers come from the image."""

from collections.abc import Sequence

from medpref.evaluation.log import EvaluationLog
from medpref.evaluation.looking.calibration import Calibration, calibration, p_yes
from medpref.evaluation.looking.consistency import consistency, flip_rate
from medpref.evaluation.looking.error_judge import (
    ErrorJudgeSettings,
    JudgedErrors,
    judge_errors,
    read_judged_errors,
)
from medpref.evaluation.looking.error_kinds import (
    Kinds,
    WrongAnswer,
    agreement_rows,
    error_rows,
    wrong_answers,
)
from medpref.evaluation.looking.error_rules import ERROR_KINDS, error_kinds
from medpref.evaluation.looking.runs import Row

__all__ = [
    "ERROR_KINDS",
    "Calibration",
    "ErrorJudgeSettings",
    "JudgedErrors",
    "Kinds",
    "WrongAnswer",
    "agreement_rows",
    "calibration",
    "consistency",
    "error_kinds",
    "error_rows",
    "flip_rate",
    "judge_errors",
    "looking_rows",
    "p_yes",
    "read_judged_errors",
    "wrong_answers",
]


def looking_rows(logs: Sequence[EvaluationLog], judged: Kinds | None = None) -> dict[str, list[Row]]:
    """Return all measures that need no model, as plain rows; a measure without its logs has none.

    All rows but those of ``agreement`` say backbone, method, seed (a number, or "all" over several) and task.
    Figures are rounded to six decimals, None where they cannot be computed; intervals are 95 %
    cluster-bootstrap intervals.

    Args:
        logs: the evaluation logs of any tasks, methods, seeds and conditions.
        judged: the kinds of wrong answers by a judge, from `judge_errors`.

    Returns:
        - ``flips``: measure (flipped, unchanged, unread, both_right), value, ci_low, ci_high, n
        - ``consistency``: condition, measure (same, changed, unread, both_right), value, ci_low, ci_high, n
        - ``calibration``: condition, measure (ece, ece_if_calibrated, rms_debiased, brier,
          brier_of_base_rate, mean_p_yes, share_yes), value, ci_low, ci_high, n
        - ``reliability``: condition, bin, bins, p_low, p_high, p_mean, share_yes, ci_low, ci_high, n
        - ``errors``: condition, by (rules, judge), kind, measure (of_errors, of_answers), count, value,
          ci_low, ci_high, n
        - ``agreement``: n, same, kappa: of the judge with the rules, where there is one
    """
    probabilities = calibration(logs)
    errors = error_rows(logs)
    if judged is not None:
        errors += error_rows(logs, judged)
    return {
        "flips": flip_rate(logs),
        "consistency": consistency(logs),
        "calibration": probabilities.summary,
        "reliability": probabilities.reliability,
        "errors": errors,
        "agreement": agreement_rows(judged or {}),
    }
