"""The lists that question kinds are told by: read from YAML, checked, joined and made into patterns."""

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medpref.errors import InputError, did_you_mean
from medpref.pairs.kinds.words import Typos, plural

KINDS = (
    "modality",
    "plane",
    "organ",
    "abnormality",
    "presence",
    "position",
    "size",
    "colour",
    "count",
    "attribute",
    "other",
)
"""The eleven kinds."""

ASKING = (
    r"(?:what|which|where|who|whose|why|how|when|is|are|was|were|does|do|did|can|could|has|have|if|whether)\b"
)
"""Words that a question proper begins with."""

BUNDLED = Path(__file__).with_name("kinds.yaml")

NOT = "!"
"""Before a word that a list does not hold, though an ending in it would fit."""

_NAME = re.compile(r"\{([a-z_]+)\}")
_GROUP = re.compile(r"(?<!\\)\((?!\?)")
# What ".." stands for is captured, so that it can be told from the words that were looked for.
_GAP = re.compile(r" \.\. ")
_GAP_PATTERN = r"((?: [\\w.]+){0,8}? )"


class Lists(BaseModel):
    """Word lists and patterns, as ``kinds.yaml`` explains them.

    Attributes:
        extends: whether the bundled lists are used too.
        keep: a kind is told if its score is at least this share of the best kind's.
        spelling: parts of words and what to write for them.
        leave: words that are no slips of others.
        openings: patterns of what stands before a question and does not ask.
        words: lists of words by name; ``{name}`` in a pattern or in a list stands for any word of the list.
        kinds: patterns by kind and score, which lies between 0 and 1.
        answers: patterns of answers by kind and score.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    extends: bool = True
    keep: float | None = Field(default=None, gt=0, le=1)
    spelling: dict[str, str] = {}
    leave: tuple[str, ...] = ()
    openings: tuple[str, ...] = ()
    words: dict[str, tuple[str, ...]] = {}
    kinds: dict[str, dict[float, tuple[str, ...]]] = {}
    answers: dict[str, dict[float, tuple[str, ...]]] = {}

    def joined(self, more: "Lists") -> "Lists":
        """Return these lists with those of `more` behind them; its spelling and `keep` win."""
        return Lists(
            keep=more.keep if more.keep is not None else self.keep,
            spelling={**self.spelling, **more.spelling},
            leave=(*self.leave, *more.leave),
            openings=(*self.openings, *more.openings),
            words={
                name: (*self.words.get(name, ()), *more.words.get(name, ()))
                for name in {**self.words, **more.words}
            },
            kinds=_joined(self.kinds, more.kinds),
            answers=_joined(self.answers, more.answers),
        )

    def patterns(self, part: str) -> Iterator[tuple[str, float, re.Pattern[str]]]:
        """Yield (kind, score, pattern) of a part, ``kinds`` or ``answers``.

        Raises:
            InputError: a pattern is no regular expression, or names a list that is not there.
        """
        table: dict[str, dict[float, tuple[str, ...]]] = getattr(self, part)
        for kind, by_score in table.items():
            for score, texts in by_score.items():
                for text in texts:
                    yield kind, score, self._compiled(text)

    def opening(self) -> re.Pattern[str] | None:
        """Return a pattern of what opens a question and does not ask, where a word that asks follows."""
        if not self.openings:
            return None
        any_of = "|".join(self._groups(text) for text in self.openings)
        return _regular(rf"^(?:{any_of})+(?={ASKING})", any_of)

    @cached_property
    def typos(self) -> Typos:
        """What puts slips right: every word of the lists and patterns may be meant."""
        listed = [word for words in self.words.values() for word in words]
        texts = [word for word in listed if not word.startswith(NOT)]
        texts += [text for table in self.kinds.values() for by in table.values() for text in by]
        literal = [re.sub(r"\w+[*?+]|\{\w+\}|\\\w", " ", re.sub(r"(\w)\?", "", text)) for text in texts]
        whole = re.compile(r"(?<![\w*)?])[a-z]+(?![\w*(?+])")
        leave = (*self.leave, *(word.removeprefix(NOT) for word in listed if word.startswith(NOT)))
        return Typos((word for text in literal for word in whole.findall(text)), leave)

    def _groups(self, text: str) -> str:
        """Return `text` with the lists put in place, and groups that capture nothing."""
        return _GROUP.sub("(?:", self._filled(text, ()))

    def _compiled(self, text: str) -> re.Pattern[str]:
        return _regular(r"(?<!\w)(?:" + _GAP.sub(_GAP_PATTERN, self._groups(text)) + r")(?!\w)", text)

    def _filled(self, text: str, inside: tuple[str, ...]) -> str:
        """Return `text` with the lists put in place of their names."""
        return _NAME.sub(lambda match: self._any_of(match[1], inside), text)

    def _any_of(self, name: str, inside: tuple[str, ...]) -> str:
        if name not in self.words:
            raise InputError(
                f"there is no list of words called {name!r}",
                where="the lists of question kinds",
                remedy=did_you_mean(name, self.words),
            )
        if name in inside:
            raise InputError(f"the list {name!r} names itself", where="the lists of question kinds")
        # The longest first: of "small bowel" and "small" the whole name is the evidence.
        words = sorted(dict.fromkeys(self.words[name]), key=lambda word: (-len(word), word))
        parts = [
            self._filled(word, (*inside, name)) if _NAME.search(word) else plural(word)
            for word in words
            if not word.startswith(NOT)
        ]
        others = [plural(word.removeprefix(NOT)) for word in words if word.startswith(NOT)]
        but = rf"(?!(?:{'|'.join(others)})(?!\w))" if others else ""
        return rf"(?<!\w){but}(?:{'|'.join(parts)})(?!\w)"


def _regular(pattern: str, written: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"this is no regular expression: {written!r} ({error})", where="the lists of question kinds"
        ) from None


def _joined(
    first: dict[str, dict[float, tuple[str, ...]]], second: dict[str, dict[float, tuple[str, ...]]]
) -> dict[str, dict[float, tuple[str, ...]]]:
    table = {kind: dict(by_score) for kind, by_score in first.items()}
    for kind, by_score in second.items():
        mine = table.setdefault(kind, {})
        for score, texts in by_score.items():
            mine[score] = (*mine.get(score, ()), *texts)
    return table


def read_lists(path: Path | None = None) -> Lists:
    """Read the bundled lists, and a user's file of the same form behind them.

    Args:
        path: the user's file; with ``extends: false`` in it, the bundled lists are left out.

    Raises:
        InputError: the file is missing or not of this form; the message names the key.
    """
    bundled = _read(BUNDLED)
    if path is None:
        return bundled
    more = _read(path)
    return bundled.joined(more) if more.extends else more


def _read(path: Path) -> Lists:
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"this is no valid YAML: {error}", where=str(path)) from None
    try:
        lists = Lists.model_validate(content or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{key}: {first['msg']}", where=str(path)) from None
    _check(lists, path)
    return lists


def _check(lists: Lists, path: Path) -> None:
    for table in (lists.kinds, lists.answers):
        for kind, by_score in table.items():
            if kind not in KINDS:
                raise InputError(
                    f"there is no question kind called {kind!r}",
                    where=str(path),
                    remedy=did_you_mean(kind, KINDS),
                )
            for score in by_score:
                if not 0 < score <= 1:
                    raise InputError(
                        f"the score {score} of {kind} does not lie between 0 and 1", where=str(path)
                    )
