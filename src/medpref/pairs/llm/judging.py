"""Several judges score pairs in rounds, each told what the others said, until they agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from medpref.pairs.llm.asker import Asker
from medpref.pairs.llm.checked import ask_checked
from medpref.pairs.llm.cost import FollowUps
from medpref.pairs.llm.prompts import Opinion, again_messages, judge_messages
from medpref.pairs.llm.replies import Judged, read_reply
from medpref.pairs.llm.request import Message, Reply, Request
from medpref.pairs.pair import ImageRole, Pair

ROUNDING = 1e-9
"""What 0.3 − 0.2 is away from 0.1 does not count."""

Seed = Callable[[int, str], int]
"""``seed(judge, pair id)`` is the seed of a judge's replies on a pair."""


@dataclass(slots=True)
class Verdict:
    """What the judges say of one pair.

    Attributes:
        pair: the pair.
        rounds: each round's opinions by the judge's number; a judge without a usable reply has none.
        faults: the replies that could not be used: round, judge, reason and what was said.
        agreed: whether the last scores lie within the tolerance; one judge of several alone never agrees.
    """

    pair: Pair
    rounds: list[dict[int, Judged]] = field(default_factory=list)
    faults: list[tuple[int, int, str, tuple[str, ...]]] = field(default_factory=list)
    agreed: bool = False

    @property
    def last(self) -> Mapping[int, Judged]:
        """The last opinion of each judge that gave one."""
        return {judge: said for opinions in self.rounds for judge, said in opinions.items()}

    @property
    def score(self) -> float | None:
        """The mean of the judges' last scores, or None where no judge gave one."""
        scores = [said.score for said in self.last.values()]
        return sum(scores) / len(scores) if scores else None


@dataclass(slots=True)
class _Talk:
    """One judge's conversation about one pair."""

    messages: tuple[Message, ...]
    reply: str = "(no usable reply)"


def judge(
    pairs: Sequence[Pair],
    askers: Sequence[Asker],
    seed: Seed,
    *,
    rounds: int,
    tolerance: float,
    repairs: int,
    advance: Callable[[int], None] = lambda _: None,
) -> list[Verdict]:
    """Return the judges' verdicts on pairs, in order.

    In the first round the judges know nothing of each other. Pairs whose scores differ by more than
    `tolerance` are judged again, each judge being told all opinions, for at most `rounds` rounds. What it
    will cost is told, and held against the limits, for all judges before the first of them is asked.

    Args:
        pairs: with chosen and rejected responses.
        askers: one for each judge.
        seed: of each judge's replies on each pair.
        rounds: the most there are.
        tolerance: the largest difference of two scores in [0, 1] that is agreement.
        repairs: how often a faulty reply is asked for again, its fault named.
        advance: called with the number of pairs done.

    Raises:
        InputError, RunError: as `Asker.ask` does.
    """
    verdicts = [Verdict(pair) for pair in pairs]
    talks = [{pair.id: _Talk(_first(asker, pair)) for pair in pairs} for asker in askers]
    _foresee(verdicts, talks, askers, seed, rounds, repairs)
    open_ = verdicts
    for number in range(rounds):
        for verdict in open_:
            verdict.rounds.append({})
        for place, asker in enumerate(askers):
            if number:
                _tell(open_, talks[place], place)
            _ask_one(asker, place, number, open_, talks[place], seed, repairs)
        for verdict in open_:
            scores = [said.score for said in verdict.rounds[-1].values()]
            enough = len(scores) >= min(2, len(askers))
            verdict.agreed = enough and max(scores) - min(scores) <= tolerance + ROUNDING
        # Nobody to talk with: a judge that is alone would hear its own opinion.
        ended = [verdict for verdict in open_ if verdict.agreed or len(verdict.last) < 2]
        advance(len(ended))
        open_ = [verdict for verdict in open_ if not (verdict.agreed or len(verdict.last) < 2)]
        if not open_:
            break
    advance(len(open_))
    return verdicts


def score_table(verdicts: Sequence[Verdict], judges: int, number: int) -> Float[np.ndarray, "judges pairs"]:
    """Return the scores of a round, NaN where a judge gave none; pairs that ended earlier keep their last."""
    table = np.full((judges, len(verdicts)), np.nan)
    for column, verdict in enumerate(verdicts):
        for opinions in verdict.rounds[: number + 1]:
            for place, said in opinions.items():
                table[place, column] = said.score
    return table


def _first(asker: Asker, pair: Pair) -> tuple[Message, ...]:
    return judge_messages(pair, shown=bool(_images(asker, pair)))


def _images(asker: Asker, pair: Pair) -> tuple[Path, ...]:
    return pair.images.get(ImageRole.CLEAN, ()) if asker.settings.allow_images else ()


def _foresee(
    verdicts: Sequence[Verdict],
    talks: Sequence[Mapping[str, _Talk]],
    askers: Sequence[Asker],
    seed: Seed,
    rounds: int,
    repairs: int,
) -> None:
    """Tell what the first round will cost, and what it all may become; nobody is asked."""
    alone = len(askers) == 1
    more = FollowUps((1 if alone else rounds) * (1 + repairs) - 1, 0 if alone else len(askers))
    for place, asker in enumerate(askers):
        asker.foresee(_requests(asker, place, verdicts, talks[place], seed), more)


def _requests(
    asker: Asker, place: int, open_: Sequence[Verdict], talks: Mapping[str, _Talk], seed: Seed
) -> list[Request]:
    return [
        Request(
            verdict.pair.id,
            talks[verdict.pair.id].messages,
            _images(asker, verdict.pair),
            seed(place, verdict.pair.id),
        )
        for verdict in open_
    ]


def _tell(open_: Sequence[Verdict], talks: Mapping[str, _Talk], place: int) -> None:
    """Add the opinions of the round before to one judge's conversations."""
    for verdict in open_:
        talk = talks[verdict.pair.id]
        before = verdict.rounds[-2]
        opinions = [Opinion(said.score, said.reason, who == place) for who, said in sorted(before.items())]
        talk.messages = again_messages(talk.messages, talk.reply, opinions)


def _ask_one(
    asker: Asker,
    place: int,
    number: int,
    open_: Sequence[Verdict],
    talks: Mapping[str, _Talk],
    seed: Seed,
    repairs: int,
) -> None:
    """Ask one judge about all open pairs and note what it says."""

    def read(_: int, reply: Reply) -> Judged:
        return read_reply(reply.text, reply.finish, Judged)

    requests = _requests(asker, place, open_, talks, seed)
    for verdict, outcome in zip(open_, ask_checked(asker, requests, read, repairs), strict=True):
        if outcome.value is None:
            verdict.faults.append((number, place, outcome.reason, outcome.replies))
        else:
            verdict.rounds[-1][place] = outcome.value
            talks[verdict.pair.id].reply = outcome.replies[-1]
