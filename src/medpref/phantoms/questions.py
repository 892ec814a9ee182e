"""Questions about a phantom, their answers, and its caption.

The wording never gives the answer away: questions speak of "the finding" however many lesions there are.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from medpref.phantoms.facts import (
    COUNTS,
    EXAMINATIONS,
    INTENSITIES,
    MODALITIES,
    PLANES,
    SIDED_PLANES,
    SIDES,
    SITES,
    SIZES,
    UPRIGHT_PLANES,
    VERTICALS,
    Facts,
    pick,
)

KINDS: tuple[str, ...] = (
    "modality",
    "plane",
    "organ",
    "presence",
    "side",
    "vertical",
    "count",
    "size",
    "intensity",
)
"""The kinds of questions."""

VISUAL_KINDS: tuple[str, ...] = ("presence", "side", "vertical", "count", "size", "intensity")
"""The kinds whose answer has to be read off the lesions."""

CLOSED_KINDS: frozenset[str] = frozenset({"presence"})
"""The kinds answered by yes or no."""

NUMERALS: Mapping[int, str] = {1: "one", 2: "two", 3: "three"}

CHOICES: Mapping[str, tuple[str, ...]] = {
    "modality": MODALITIES,
    "plane": PLANES,
    "organ": SITES,
    "presence": ("yes", "no"),
    "side": SIDES,
    "vertical": VERTICALS,
    "count": tuple(NUMERALS[count] for count in COUNTS),
    "size": SIZES,
    "intensity": INTENSITIES,
}
"""All answers of each kind."""

PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "modality": ("what is the modality?", "which modality is shown?", "how was the image acquired?"),
    "plane": ("what is the plane?", "which plane is shown?", "in which plane was the image acquired?"),
    "organ": ("which organ is shown?", "what body region is shown?", "which part of the body is this?"),
    "presence": ("is there a lesion?", "does the image show a lesion?", "can a lesion be seen?"),
    "side": ("on which side is the finding?", "which side is affected?", "is the finding left or right?"),
    "vertical": (
        "is the finding upper or lower?",
        "in which half is the finding, upper or lower?",
        "which vertical part is affected?",
    ),
    "count": (
        "how many lesions are there?",
        "what is the number of lesions?",
        "how many lesions can be seen?",
    ),
    "size": (
        "what is the size of the finding?",
        "is the finding small or large?",
        "how large is the finding?",
    ),
    "intensity": (
        "is the finding bright or dark?",
        "what is the intensity of the finding?",
        "how does the finding appear, bright or dark?",
    ),
    "caption": ("describe the image.", "what does the image show?", "write a caption of the image."),
}
"""The wordings of each kind of question, the request for a caption included."""


@dataclass(frozen=True)
class Question:
    """A question with its answer."""

    kind: str
    prompt: str
    answer: str
    choices: tuple[str, ...]
    """All answers to questions of this kind; empty for a caption."""
    closed: bool
    """Whether the answer is yes or no."""


def answers(facts: Facts) -> dict[str, str]:
    """Return the answer to every kind of question that applies to the facts."""
    known: dict[str, str | None] = {
        "modality": facts.modality,
        "plane": facts.plane,
        "organ": facts.site,
        "presence": "yes" if facts.count else "no",
        "side": facts.side,
        "vertical": facts.vertical,
        "count": NUMERALS.get(facts.count),
        "size": facts.size,
        "intensity": facts.intensity,
    }
    return {kind: answer for kind, answer in known.items() if answer is not None}


def ask(facts: Facts, rng: np.random.Generator) -> tuple[Question, ...]:
    """Ask one question of every kind that applies, in wordings drawn at random."""
    return tuple(
        Question(
            kind=kind,
            prompt=pick(rng, PHRASINGS[kind]),
            answer=answer,
            choices=CHOICES[kind],
            closed=kind in CLOSED_KINDS,
        )
        for kind, answer in answers(facts).items()
    )


def describe(facts: Facts) -> str:
    """State all the facts in one sentence."""
    view = f"{facts.plane} {facts.modality} of the {facts.site}"
    if facts.count == 0:
        return f"{view} without a lesion."
    noun = "lesion" if facts.count == 1 else "lesions"
    place = " ".join(word for word in (facts.side, facts.vertical) if word is not None)
    return f"{view} with {NUMERALS[facts.count]} {facts.size} {facts.intensity} {noun} in the {place} part."


def report(facts: Facts) -> str:
    """State all the facts as a report does, one by one."""
    view = f"This is a {facts.plane} {facts.modality} of the {facts.site}."
    if facts.count == 0:
        return f"{view} There is no lesion."
    one = facts.count == 1
    subject = "The lesion is" if one else "The lesions are"
    said = [
        "There is one lesion." if one else f"There are {NUMERALS[facts.count]} lesions.",
        f"{subject} {facts.size}.",
        f"{subject} {facts.intensity}.",
        f"{subject} on the {facts.side} side." if facts.side else "",
        f"{subject} in the {facts.vertical} part." if facts.vertical else "",
    ]
    return " ".join([view, *filter(None, said)])


def caption(facts: Facts, rng: np.random.Generator) -> Question:
    """Ask for a description of the image, in a wording drawn at random."""
    return Question(
        kind="caption",
        prompt=pick(rng, PHRASINGS["caption"]),
        answer=describe(facts),
        choices=(),
        closed=False,
    )


def all_facts() -> Iterator[Facts]:
    """Enumerate everything that can be true of a phantom."""
    for site in SITES:
        for modality, planes in EXAMINATIONS[site].items():
            for plane in planes:
                yield Facts(site, modality, plane, 0, None, None, None, None)
                sides = SIDES if plane in SIDED_PLANES else (None,)
                verticals = VERTICALS if plane in UPRIGHT_PLANES else (None,)
                for attributes in product(COUNTS, SIZES, sides, verticals, INTENSITIES):
                    yield Facts(site, modality, plane, *attributes)


def vocabulary() -> list[str]:
    """Return every string that a question or a caption can hold, sorted and without repetition."""
    strings = {prompt for prompts in PHRASINGS.values() for prompt in prompts}
    strings |= {answer for choices in CHOICES.values() for answer in choices}
    strings |= {describe(facts) for facts in all_facts()}
    return sorted(strings)
