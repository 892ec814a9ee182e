"""What experts said of a run's answers, as pairs: ``medpref review`` backwards."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, Literal, NamedTuple

from medpref.errors import InputError
from medpref.files import UserPath, file_hash, read_json
from medpref.pairs.check import faults
from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole
from medpref.pairs.sources.base import Advance, DataSet, Source, SourceSettings, sources
from medpref.pairs.store import PairFile, Quarantined
from medpref.review.export import JUDGEMENTS, LOGS
from medpref.review.judgement import CANNOT_TELL, TIE, Verdict
from medpref.review.log import ReviewLog, Said, read_review
from medpref.review.plan import Answer, Question


class ReviewSettings(SourceSettings):
    """Which review, and how sure it has to be.

    Attributes:
        run: the run folder that was reviewed.
        agree: whether more than half of an item's reviewers have to say the same, or all of them.
        reference: whether the data's own answer is chosen over answers judged wrong, where no answer was
            judged correct.
    """

    run: UserPath
    agree: Literal["majority", "all"] = "majority"
    reference: bool = False


class Texts(NamedTuple):
    """The two responses of a pair."""

    chosen: str
    rejected: str


def load(settings: ReviewSettings, folder: Path, fatal: bool, advance: Advance) -> DataSet:
    """Read the review. A question that gives no pair is put aside with the reason."""
    review = _read(settings)
    facts = {"source": f"expert review of {review.study}", "licence": _licence(settings.run)}
    pairs: dict[tuple[Hashable, ...], Pair] = {}
    aside: list[Quarantined] = []
    judged = _Judged(review, settings.agree)
    for number, question in enumerate(review.questions.values(), start=1):
        texts, reason = _texts(question, judged, settings.reference)
        for place, said in enumerate(texts):
            pair = _pair(settings.run, question, said, place, facts)
            found = list(faults(pair))
            if found:
                aside.append(Quarantined(number, question.sample, "; ".join(found), question.prompt))
                continue
            # Two backbones may give the same two answers to one question.
            pairs.setdefault((question.task, question.sample, said), pair)
        if not texts:
            aside.append(Quarantined(number, question.sample, reason, question.prompt))
    if fatal and aside:
        raise InputError(aside[0].reason, where=f"{settings.run}, question {aside[0].id}")
    splits = ", ".join(sorted({question.split for question in review.questions.values()}))
    note = (
        f"The questions are of the split {splits}: what is trained on them cannot be measured on it any more."
    )
    file = PairFile(settings.run / LOGS / JUDGEMENTS, tuple(pairs.values()), tuple(aside))
    # Chosen sides can also be learned by supervision.
    return DataSet(file.pairs, file.pairs, {}, {**facts, "notes": [note]}, (file,))


def _read(settings: ReviewSettings) -> ReviewLog:
    review = read_review(settings.run)
    if review is None:
        raise InputError(
            "this run has no reviewed answers",
            where=str(settings.run),
            remedy=f"Review it, or write the judgements to its logs: medpref review {settings.run} --export.",
        )
    return review


def _licence(run: Path) -> str:
    path = run / "logs" / "data.json"
    return str(read_json(path).get("licence", "not stated")) if path.is_file() else "not stated"


class _Judged:
    """What the reviewers say together."""

    def __init__(self, review: ReviewLog, agree: str) -> None:
        self._enough: Callable[[int, int], bool] = _ENOUGH[agree]
        self._verdicts = _grouped(review.said, lambda one: one.answers[0] if one.verdict else None)
        self._preferences = _grouped(review.said, lambda one: one.question if one.preferred else None)

    def verdict(self, answer: Answer) -> str | None:
        """Return the verdict on an answer, None where there is none or reviewers disagree."""
        return self._common([str(one.verdict) for one in self._verdicts.get(answer.key, ())])

    def preferences(self, question: Question) -> Iterator[tuple[str, str]]:
        """Yield (better, worse) answer's key wherever one is preferred."""
        by_item = _grouped(self._preferences.get(question.key, ()), lambda one: one.item)
        for said in by_item.values():
            better = self._common([str(one.preferred) for one in said])
            if better not in (None, TIE, CANNOT_TELL):
                yield str(better), next(key for key in said[0].answers if key != better)

    def _common(self, said: list[str]) -> str | None:
        if not said:
            return None
        found, count = Counter(said).most_common(1)[0]
        return found if self._enough(count, len(said)) else None


_ENOUGH: Mapping[str, Callable[[int, int], bool]] = {
    "majority": lambda count, n: 2 * count > n,
    "all": lambda count, n: count == n,
}


def _grouped(said: Iterable[Said], key: Callable[[Said], str | None]) -> dict[str, list[Said]]:
    found: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        if (name := key(one)) is not None:
            found[name].append(one)
    return found


def _texts(question: Question, judged: _Judged, reference: bool) -> tuple[list[Texts], str]:
    """Return the pairs of a question, or why there are none."""
    verdicts = {answer.key: judged.verdict(answer) for answer in question.answers}
    text = {answer.key: answer.text for answer in question.answers}
    correct = [text[key] for key, verdict in verdicts.items() if verdict == Verdict.CORRECT]
    wrong = [text[key] for key, verdict in verdicts.items() if verdict == Verdict.WRONG]
    found = [Texts(*both) for both in product(correct, wrong)]
    refused = ""
    for better, worse in judged.preferences(question):
        refused = _contradiction(verdicts[better], verdicts[worse])
        if not refused:
            found.append(Texts(text[better], text[worse]))
    if not found and reference:
        found = [Texts(question.gold, answer) for answer in wrong if answer.strip() != question.gold.strip()]
    return list(dict.fromkeys(found)), refused or _reason(verdicts, correct, wrong)


def _contradiction(better: str | None, worse: str | None) -> str:
    """Return why a preferred answer may not be chosen, or nothing."""
    if better == Verdict.WRONG:
        return "the preferred answer was judged wrong"
    if worse == Verdict.CORRECT and better != Verdict.CORRECT:
        return "the answer that was not preferred was judged correct, the other was not"
    return ""


def _reason(verdicts: Mapping[str, str | None], correct: list[str], wrong: list[str]) -> str:
    if not any(verdicts.values()):
        return "no answer has a verdict that reviewers share"
    if not correct:
        return "no answer was judged correct"
    return "no answer was judged wrong" if not wrong else "no two answers differ"


def _pair(run: Path, question: Question, texts: Texts, place: int, facts: Mapping[str, Any]) -> Pair:
    return Pair(
        id=f"{question.backbone}-{question.task}-{question.sample}-{place}",
        prompt=question.prompt,
        images={ImageRole.CLEAN: tuple(run / name for name in question.images)} if question.images else {},
        responses={ResponseRole.CHOSEN: texts.chosen, ResponseRole.REJECTED: texts.rejected},
        kind=question.kind,
        region=run / question.region if question.region else None,
        provenance=Provenance(source=facts["source"], licence=facts["licence"]),
    )


def texts(settings: ReviewSettings) -> list[str]:
    """Return the prompts and answers."""
    questions = _read(settings).questions.values()
    return [text for q in questions for text in (q.prompt, *(answer.text for answer in q.answers))]


def digest(settings: ReviewSettings) -> list[str]:
    """Return the hashes of the review's files."""
    return [file_hash(path) for path in sorted((settings.run / LOGS).glob("*.json*"))]


sources.add(
    "review",
    Source(
        summary="what experts said of a run's answers in `medpref review`",
        settings=ReviewSettings,
        tasks=(),
        load=load,
        texts=texts,
        digest=digest,
    ),
)
