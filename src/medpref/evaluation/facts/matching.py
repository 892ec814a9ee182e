"""Which reply belongs to which sample: by the whole custom_id, else by one reading of all of them.

A custom_id that is no id may hold one, with signs or blanks around it: "task-17", "request_17", "17_0". Where
several ids stand in it ("17_0" beside a sample 0), the place decides, counted in parts from the front or from
the back, if there is a place

- at which every custom_id that holds an id at all has one, and
- at which no two custom_ids name the same sample;

and if all such places agree. Otherwise the custom_id is ambiguous, and its samples are unscored.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_PARTS = re.compile(r"[^\W_]+")
_FINE_PARTS = re.compile(r"[0-9]+|[^\W\d_]+")
_MOST_PARTS = 48

Place = tuple[str, int]
"""Where an id stands: ("front", parts before it) or ("back", parts behind it)."""


@dataclass(slots=True)
class Matches:
    """What was found.

    Attributes:
        owner: custom_id → the sample's id.
        ambiguous: custom_id → the ids that it may mean, where nothing decides.
        strange: custom_ids that hold no sample's id.
    """

    owner: dict[str, str] = field(default_factory=dict)
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def match_ids(ids: Collection[str], custom_ids: Iterable[str]) -> Matches:
    """Match `custom_ids` with `ids` as the module says; a sample whose id occurs whole takes no other."""
    known = set(ids)
    names = list(dict.fromkeys(custom_ids))
    found = Matches({name: name for name in names if name in known})
    open_ = known - set(found.owner)
    candidates: dict[str, dict[str, set[Place]]] = {}
    for name in names:
        if name not in known:
            held = _held(name, known)
            if held:
                candidates[name] = held
            else:
                found.strange.append(name)
    decided = _by_place(candidates)
    for name, held in candidates.items():
        choices = {decided[name]} if name in decided else set(held)
        if len(choices) > 1:
            found.ambiguous[name] = tuple(sorted(choices))
        elif choices <= open_:
            found.owner[name] = choices.pop()
        else:
            # The sample has a reply under its whole id.
            found.strange.append(name)
    return found


def _held(name: str, ids: set[str]) -> dict[str, set[Place]]:
    """Return the ids that stand in `name` between its signs, else between its letters and digits."""
    for pattern in (_PARTS, _FINE_PARTS):
        spans = [match.span() for match in pattern.finditer(name)][:_MOST_PARTS]
        found: dict[str, set[Place]] = defaultdict(set)
        for first, (start, _) in enumerate(spans):
            for last in range(first, len(spans)):
                ident = name[start : spans[last][1]]
                if ident in ids:
                    found[ident] |= {("front", first), ("back", len(spans) - 1 - last)}
        if found:
            return dict(found)
    return {}


def _by_place(candidates: Mapping[str, Mapping[str, set[Place]]]) -> dict[str, str]:
    """Return the reading of all custom_ids at the places that explain them all, where these agree."""
    readings: dict[Place, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, held in candidates.items():
        for ident, places in held.items():
            for place in places:
                readings[place][name].append(ident)
    whole = [reading for reading in readings.values() if _explains(reading, len(candidates))]
    chosen = [{name: idents[0] for name, idents in reading.items()} for reading in whole]
    return chosen[0] if chosen and all(reading == chosen[0] for reading in chosen) else {}


def _explains(reading: Mapping[str, Sequence[str]], count: int) -> bool:
    idents = [ident for found in reading.values() for ident in found]
    return len(reading) == count and len(idents) == count and len(set(idents)) == count
