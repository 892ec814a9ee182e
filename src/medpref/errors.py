"""The errors medpref raises on purpose, written for the person who has to act on them."""

from collections.abc import Iterable
from difflib import get_close_matches


class MedprefError(Exception):
    """Something a person can put right: what was wrong, where, and what to do.

    Args:
        what: what was wrong, in one sentence.
        where: the file, line, key or pair id it was found at.
        remedy: what to do about it.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        """Return place, fault and remedy on one line each."""
        first = f"{self.where}: {self.what}" if self.where else self.what
        return f"{first}\n  {self.remedy}" if self.remedy else first

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle with the keyword arguments, so that a worker's error reaches the main process whole."""
        return (_rebuild, (type(self), self.what, self.where, self.remedy))


class InputError(MedprefError):
    """What the user gave cannot be used: a wrong key, a missing file, a broken row."""

    exit_code = 2


class RunError(MedprefError):
    """The input was fine, the run was not: a full disk, a folder in use, a loss that is not a number."""


def _rebuild(kind: type[MedprefError], what: str, where: str | None, remedy: str | None) -> MedprefError:
    return kind(what, where=where, remedy=remedy)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the nearest of `known`, or lists them all when nothing is near."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.55)
    if near:
        return f"Did you mean {near[0]!r}?"
    return "Known: " + ", ".join(names) + "." if names else "Nothing is known here."
