"""What licences allow: which is the strictest of a set of pairs, and whether it may be passed on."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from medpref.pairs.pair import Pair


class Licence(NamedTuple):
    """A kind of licence.

    Attributes:
        name: what it is called here.
        identifier: its name in Hugging Face's data cards.
        shareable: whether pairs made from such data may be passed on.
        pattern: how licences of the kind are written.
    """

    name: str
    identifier: str
    shareable: bool
    pattern: re.Pattern[str]


def _licence(name: str, identifier: str, shareable: bool, pattern: str) -> Licence:
    return Licence(name, identifier, shareable, re.compile(pattern, re.IGNORECASE))


_BY = r"\bcc[ -]?by[ -]?"
STRICTEST_FIRST = (
    _licence(
        "data use agreement",
        "other",
        False,
        r"\bDUA\b|data use agreement|credentialed|physionet|(?<![a-z])mimic|chexpert",
    ),
    _licence("all rights reserved", "other", False, r"all rights reserved|proprietary|confidential"),
    _licence(
        "not verified",
        "unknown",
        False,
        r"\bnot (?:verified|stated|known|clear)|\bunknown\b|\bunverified\b|^$",
    ),
    _licence("CC BY-NC-ND", "cc-by-nc-nd-4.0", False, _BY + r"nc[ -]?nd\b"),
    _licence("CC BY-ND", "cc-by-nd-4.0", False, _BY + r"nd\b"),
    _licence("CC BY-NC-SA", "cc-by-nc-sa-4.0", True, _BY + r"nc[ -]?sa\b"),
    _licence("CC BY-NC", "cc-by-nc-4.0", True, _BY + r"nc\b"),
    _licence("CC BY-SA", "cc-by-sa-4.0", True, _BY + r"sa\b"),
    _licence("CC BY 3.0", "cc-by-3.0", True, _BY + r"3\.0\b"),
    _licence("CC BY", "cc-by-4.0", True, _BY.removesuffix("[ -]?") + r"\b"),
    _licence("Apache-2.0", "apache-2.0", True, r"\bapache\b"),
    _licence("BSD-3-Clause", "bsd-3-clause", True, r"\bbsd\b"),
    _licence("MIT", "mit", True, r"\bMIT\b"),
    _licence("CC0-1.0", "cc0-1.0", True, r"\bcc[ -]?0\b|public domain|^generated\b"),
)
"""A licence that two kinds fit is of the stricter one."""

_UNVERIFIED = next(kind for kind in STRICTEST_FIRST if kind.name == "not verified")


def read_licence(text: str | None) -> Licence:
    """Return the kind of a licence as people write it; of several, parted by semicolons, the strictest.

    What is not recognised counts as not verified.
    """
    return strictest(_one(part.strip()) for part in (text or "").split(";"))


def _one(text: str) -> Licence:
    return next((kind for kind in STRICTEST_FIRST if kind.pattern.search(text)), _UNVERIFIED)


def strictest(licences: Iterable[Licence]) -> Licence:
    """Return the strictest of some licences; none at all are not verified."""
    return min(licences, key=STRICTEST_FIRST.index, default=_UNVERIFIED)


def pair_licence(pair: Pair) -> Licence:
    """Return a pair's licence; an agreement that its source is known for holds whatever the file says."""
    own = read_licence(pair.provenance.licence)
    source = next((kind for kind in STRICTEST_FIRST[:1] if kind.pattern.search(pair.provenance.source)), own)
    return strictest((own, source))
