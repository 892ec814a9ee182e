"""Examples: pairs drawn evenly over question kinds and recipes, as many as the page has room for."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from medpref.files import content_hash
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Change, ImageRole, Pair, ResponseRole, Turn
from medpref.report.images import Outline, Picture, read_outline, read_picture
from medpref.report.pairs.marks import Piece, Pieces, mark

EXAMPLES = 48
ROOM = 4_000_000
"""What the examples' images may take, in characters; a page of 5 MB still opens at once."""

_MOST_IMAGES = 2
_LONGEST_TEXT = 4_000
_MOST_COMPARED = 20_000
"""Characters: comparing takes time with the square of the length, and what lies behind is not shown."""

_LONG_TEXT = 160
_TITLES = {ImageRole.CLEAN: "image", ImageRole.REJECTED: "rejected image"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One image of an example, with what the page calls it."""

    title: str
    picture: Picture | None


@dataclass(frozen=True, slots=True)
class Example:
    """A pair as the page shows it.

    Attributes:
        pair: the pair.
        prompt: its question without placeholders.
        history: the earlier turns, likewise.
        shown: its images, the clean ones first.
        outline: the region of interest of its only image.
        chosen, rejected: its responses in pieces; empty where there is none.
    """

    pair: Pair
    prompt: str
    history: tuple[Turn, ...]
    shown: tuple[Shown, ...]
    outline: Outline | None
    chosen: Pieces
    rejected: Pieces

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of the page."""
        said = [self.prompt, *(text for turn in self.history for text in turn), *self.pair.responses.values()]
        return len(self.shown) > _MOST_IMAGES or max(map(len, said)) > _LONG_TEXT

    @property
    def changes(self) -> tuple[Change, ...]:
        """What the rejected response is known to have wrong."""
        return self.pair.changes

    @property
    def size(self) -> int:
        """How much room its images take, in characters."""
        return sum(len(image.picture.uri) for image in self.shown if image.picture)


def make_examples(pairs: Sequence[Pair], *, most: int = EXAMPLES, seed: int = 0) -> list[Example]:
    """Return up to `most` examples, fewer where their images would take more than `ROOM`.

    Kinds and recipes take turns. Which pairs come first is drawn by seed and id, so that the same pairs make
    the same page in any order.
    """
    examples: list[Example] = []
    room = ROOM
    for pair in spread(pairs, seed)[:most]:
        example = _example(pair)
        if example.size <= room:
            examples.append(example)
            room -= example.size
    return examples


def spread(pairs: Sequence[Pair], seed: int) -> list[Pair]:
    """Return all pairs in an order in which kinds and recipes take turns."""
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda one: content_hash(seed, one.id)):
        groups[pair.kind or "", pair.provenance.recipe or ""].append(pair)
    order = sorted(groups, key=lambda group: content_hash(seed, *group))
    return [pair for turn in zip_longest(*(groups[name] for name in order)) for pair in turn if pair]


def _example(pair: Pair) -> Example:
    clean = pair.images.get(ImageRole.CLEAN, ())
    shown = tuple(
        Shown(_TITLES[role] + (f" {number}" if len(paths) > 1 else ""), read_picture(path))
        for role, paths in sorted(pair.images.items(), key=lambda item: list(ImageRole).index(item[0]))
        for number, path in enumerate(paths[:_MOST_IMAGES], start=1)
    )
    said = {role: text[:_MOST_COMPARED] for role, text in pair.responses.items()}
    chosen, rejected = said.get(ResponseRole.CHOSEN, ""), said.get(ResponseRole.REJECTED, "")
    marked = mark(chosen, rejected, pair.changes) if rejected else mark(chosen, chosen)
    # A region belongs to the only image; which of several it would outline is not known.
    outline = read_outline(pair.region) if pair.region and len(clean) == 1 else None
    return Example(
        pair=pair,
        prompt=_clipped(_bare(pair.prompt)),
        history=tuple(Turn(_clipped(_bare(turn.user)), _clipped(turn.assistant)) for turn in pair.history),
        shown=shown,
        outline=outline,
        chosen=_cut(marked[0]),
        rejected=_cut(marked[1]) if rejected else (),
    )


def _cut(pieces: Pieces) -> Pieces:
    """Return what is shown of a response. Cut before it is compared, its end would differ."""
    room = _LONGEST_TEXT
    kept: list[Piece] = []
    for piece in pieces:
        if len(piece.text) > room:
            return (*kept, piece._replace(text=piece.text[:room] + "…"))
        kept.append(piece)
        room -= len(piece.text)
    return pieces


def _bare(text: str) -> str:
    return text.replace(IMAGE_PLACEHOLDER, "").strip()


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
