"""What a check found, and checks that are run one by one whatever happens in them."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from medpref.errors import MedprefError

Status = Literal["ok", "note", "fail"]


class Finding(NamedTuple):
    """What a check found.

    Attributes:
        name: what was looked at.
        status: ok; note: it works, but one should know; fail: it will not work.
        told: what was seen.
        remedy: what to do about it.
    """

    name: str
    status: Status
    told: str
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def run_checks(checks: Iterable[tuple[str, Check]]) -> Iterator[Finding]:
    """Run checks; one that raises has failed, and the others are run all the same.

    Args:
        checks: each with the name that its failure is told under.
    """
    for name, check in checks:
        try:
            yield from check()
        except MedprefError as error:
            place = f"{error.where}: " if error.where else ""
            yield Finding(name, "fail", f"{place}{error.what}", error.remedy or "")
        # A check looks at what may be broken in any way, and has to tell so rather than break itself.
        except Exception as error:
            yield Finding(name, "fail", f"{type(error).__name__}: {error}")
