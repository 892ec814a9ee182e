"""The weight recipe `judges`: clinical relevance by several language models that talk until they agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpref.errors import InputError
from medpref.files import UserPath, read_jsonl, write_json, write_jsonl
from medpref.pairs.llm.agreement import krippendorff_alpha, mean_difference
from medpref.pairs.llm.asker import Asker, LiveAsker
from medpref.pairs.llm.judging import Verdict, judge, score_table
from medpref.pairs.llm.prompts import version
from medpref.pairs.llm.settings import ModelSettings
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, note_recipe, seed_of
from medpref.pairs.recipes.weights import WeightSettings, weigh, weight_recipes

NAME = "judges"
REPORT = f"{NAME}.json"
SCORES = f"{NAME}.jsonl"
QUARANTINE = f"{NAME}.quarantine.jsonl"


class JudgeSettings(ModelSettings):
    """A judge: a model behind an endpoint, which answers greedily unless a temperature is given."""

    temperature: float = Field(0.0, ge=0)
    max_tokens: int = Field(128, ge=1)


class JudgesSettings(WeightSettings):
    """Who judges, and when they are taken to agree.

    Attributes:
        judges: the models that are asked.
        rounds: the most rounds; from the second on each judge is told all opinions.
        tolerance: the largest difference of two scores in [0, 1] that is agreement.
        repairs: how often a faulty reply is asked for again, its fault named.
        confidence_file: JSONL of ``{"id": …, "confidence": …}``: how sure the region's source is of it, in
            [0, 1].
        confidence_share: what the confidence is of a pair's score, where it has one; the rest is the judges'.
    """

    # A key that is pasted into the wrong place is not repeated.
    model_config = ConfigDict(hide_input_in_errors=True)

    judges: tuple[JudgeSettings, ...] = Field(min_length=1)
    rounds: int = Field(5, ge=1, le=5)
    tolerance: float = Field(0.1, ge=0, le=1)
    repairs: int = Field(1, ge=0, le=3)
    confidence_file: UserPath | None = None
    confidence_share: float = Field(0.5, ge=0, le=1)


def by_judges(pairs: Sequence[Pair], settings: JudgesSettings, context: RecipeContext) -> list[Pair]:
    """Weigh pairs by the mean of the judges' scores, and by the confidence in their region where it is known.

    Multi-agent relevance scores and confidence scores: MMedPO, arXiv:2412.06141, sec. 3.2 and 3.3. Pairs that
    no judge gives a usable reply on are left out. ``judges.json`` tells agreement and counts,
    ``judges.jsonl`` each pair's scores, ``judges.quarantine.jsonl`` the replies that could not be used. In a
    dry run nobody is asked and all pairs weigh the same.

    Raises:
        InputError: it may cost too much, an endpoint refuses, nothing usable came, or the file of confidences
            is faulty.
        RunError: an endpoint cannot be reached.
    """
    if context.dry:
        return [note_recipe(replace(pair, weight=1.0), f"{NAME} (dry)", context.seed) for pair in pairs]
    confidences = _read_confidences(settings.confidence_file)
    judged = [pair for pair in pairs if ResponseRole.REJECTED in pair.responses]
    askers = [LiveAsker(one) for one in settings.judges]
    verdicts = judge(
        judged,
        askers,
        lambda place, ident: seed_of(str(context.seed), NAME, str(place), ident),
        rounds=settings.rounds,
        tolerance=settings.tolerance,
        repairs=settings.repairs,
        advance=context.advance,
    )
    raw = {
        verdict.pair.id: _combine(verdict.score, confidences.get(verdict.pair.id), settings.confidence_share)
        for verdict in verdicts
        if verdict.score is not None
    }
    _leave_out(pairs, raw, context)
    _write_scores(verdicts, raw, confidences, context.folder)
    _report(verdicts, askers, raw, confidences, context.folder)
    if pairs and not raw:
        raise InputError(
            "no judge gave a reply that could be used",
            where=", ".join(one.model for one in settings.judges),
            remedy=f"See {context.folder / QUARANTINE}.",
        )
    kept = [pair for pair in pairs if pair.id in raw]
    # By id, so that the mean and the deviation do not depend on the order of the pairs, even by rounding.
    ordered = sorted(kept, key=lambda pair: pair.id)
    weighed = weigh(ordered, [raw[pair.id] for pair in ordered], settings, NAME, context.seed) if kept else []
    by_id = {pair.id: pair for pair in weighed}
    return [by_id[pair.id] for pair in kept]


def _combine(relevance: float, confidence: float | None, share: float) -> float:
    return relevance if confidence is None else (1 - share) * relevance + share * confidence


class Confidence(BaseModel):
    """How sure the source of a pair's region is of it, in [0, 1]."""

    model_config = ConfigDict(frozen=True, strict=True)

    id: str
    confidence: float = Field(ge=0, le=1)


def _read_confidences(path: Path | None) -> Mapping[str, float]:
    """Return the confidences by pair id. Raises `InputError` for a line that holds none, or an id again."""
    found: dict[str, float] = {}
    for number, row in read_jsonl(path) if path else ():
        where = f"{path}, line {number}"
        try:
            read = Confidence.model_validate(row)
        except ValidationError:
            raise InputError("the line needs an id and a confidence in [0, 1]", where=where) from None
        if read.id in found:
            raise InputError(f"the id {read.id!r} is that of an earlier line", where=where)
        found[read.id] = read.confidence
    return found


def _leave_out(pairs: Sequence[Pair], raw: Mapping[str, float], context: RecipeContext) -> None:
    for pair in pairs:
        if ResponseRole.REJECTED not in pair.responses:
            context.leave_out(pair, NAME, "there is no rejected response to judge")
        elif pair.id not in raw:
            context.leave_out(pair, NAME, "no judge gave a reply that could be used")


def _write_scores(
    verdicts: Sequence[Verdict], raw: Mapping[str, float], confidences: Mapping[str, float], folder: Path
) -> None:
    ordered = sorted(verdicts, key=lambda verdict: verdict.pair.id)
    write_jsonl(
        folder / SCORES,
        [
            {
                "id": verdict.pair.id,
                "rounds": [
                    {str(place): said.score for place, said in sorted(one.items())} for one in verdict.rounds
                ],
                "agreed": verdict.agreed,
                "relevance": verdict.score,
                "confidence": confidences.get(verdict.pair.id),
                "score": raw.get(verdict.pair.id),
            }
            for verdict in ordered
        ],
    )
    write_jsonl(
        folder / QUARANTINE,
        [
            {"id": verdict.pair.id, "round": number + 1, "judge": place, "reason": why, "replies": list(said)}
            for verdict in ordered
            for number, place, why, said in verdict.faults
        ],
    )


def _report(
    verdicts: Sequence[Verdict],
    askers: Sequence[Asker],
    raw: Mapping[str, float],
    confidences: Mapping[str, float],
    folder: Path,
) -> None:
    most = max((len(verdict.rounds) for verdict in verdicts), default=0)
    tables = [score_table(verdicts, len(askers), number) for number in range(most)]
    rounds = Counter(str(len(verdict.rounds)) for verdict in verdicts)
    faults = Counter(place for verdict in verdicts for _, place, *_ in verdict.faults)
    report: dict[str, Any] = {
        "prompts": version(),
        "pairs": len(verdicts),
        "agreed": sum(verdict.agreed for verdict in verdicts),
        "without_consensus": sum(not verdict.agreed and verdict.score is not None for verdict in verdicts),
        "unscored": len(verdicts) - len(raw),
        "with_confidence": len(raw.keys() & confidences.keys()),
        "rounds": dict(sorted(rounds.items())),
        "agreement_by_round": [
            {"krippendorff_alpha": krippendorff_alpha(table), "mean_difference": mean_difference(table)}
            for table in tables
        ],
        "judges": [
            {
                "model": asker.settings.model,
                "endpoint": asker.settings.endpoint,
                "quarantined": faults[place],
                "replies": asker.told(),
            }
            for place, asker in enumerate(askers)
        ],
    }
    write_json(folder / REPORT, report)


weight_recipes.add(
    NAME,
    Recipe("clinical relevance by language models that judge until they agree", JudgesSettings, by_judges),
)
