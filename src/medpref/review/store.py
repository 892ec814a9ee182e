"""Judgements on disk: every revision is kept, a repeated save counts once, a stale one changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from medpref.errors import InputError
from medpref.review.database import Database
from medpref.review.judgement import JUDGEMENTS, Judgement
from medpref.review.plan import Item, Plan

PLAN, SETTINGS = "plan", "settings"
"""What a review's file knows about itself: the plan's fingerprint, and the settings it was drawn by."""
_COLUMNS = "reviewer, item, revision, content, saved_at"
_CURRENT = f"SELECT {_COLUMNS} FROM judgements WHERE reviewer = ? AND item = ?"
_USED = "SELECT 1 FROM revisions WHERE reviewer = ? AND save = ?"


class Saved(NamedTuple):
    """A judgement as it is kept; `revision` counts its versions from 1.

    `saved_at` is for people: nothing is decided by clocks, which jump.
    """

    reviewer: str
    item: str
    revision: int
    judgement: Judgement
    saved_at: str


class ConflictError(Exception):
    """The judgement was changed elsewhere since the sender saw it.

    Attributes:
        current: what is kept, None where nothing is.
    """

    def __init__(self, current: Saved | None) -> None:
        super().__init__("changed elsewhere")
        self.current = current


@dataclass(frozen=True, slots=True)
class Store:
    """The judgements on one plan's items.

    Raises, when made:
        InputError: the file holds judgements on other answers.
    """

    database: Database
    plan: Plan

    def __post_init__(self) -> None:
        with self.database.transaction() as connection:
            for key, value in (
                (PLAN, self.plan.fingerprint),
                (SETTINGS, self.plan.settings.model_dump_json()),
            ):
                connection.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
            known = connection.execute("SELECT value FROM about WHERE key = ?", (PLAN,)).fetchone()[0]
        if known != self.plan.fingerprint:
            raise InputError(
                "the answers of this run, or what is drawn of them, have changed since the review began",
                where=str(self.database.path),
                remedy="Move this folder away to begin another review; what was exported is in logs/review.",
            )

    def save(self, reviewer: str, item: Item, save: str, base: int, judgement: Judgement) -> Saved:
        """Keep a judgement.

        Args:
            reviewer: who judges.
            item: what is judged.
            save: the sender's own name for this save: sent again, it is kept once.
            base: the revision that the sender has seen, 0 for none.
            judgement: what is said.

        Returns:
            What is kept.

        Raises:
            ConflictError: the kept revision is another than `base` and says something else, or `save`
                was used before.
            NotSavedError: the disk is full; nothing has changed.
        """
        content = judgement.model_dump_json()
        with self.database.transaction() as connection:
            row = connection.execute(_CURRENT, (reviewer, item.id)).fetchone()
            current = self._saved(row) if row else None
            if current and current.judgement == judgement:
                # Sent again, or said alike in two tabs.
                return current
            used = connection.execute(_USED, (reviewer, save)).fetchone()
            revision = current.revision if current else 0
            if used or revision != base:
                raise ConflictError(current)
            saved = Saved(reviewer, item.id, revision + 1, judgement, _now())
            connection.execute(
                "INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?, ?)",
                (reviewer, item.id, saved.revision, save, content, judgement.complete, saved.saved_at),
            )
        return saved

    def find(self, reviewer: str, item: Item) -> Saved | None:
        """Return a reviewer's judgement of an item, None where there is none."""
        rows = self.database.read(_CURRENT, reviewer, item.id)
        return self._saved(rows[0]) if rows else None

    def complete(self, reviewer: str) -> set[str]:
        """Return the ids of the items that a reviewer has judged."""
        rows = self.database.read("SELECT item FROM judgements WHERE reviewer = ? AND complete", reviewer)
        return {str(row[0]) for row in rows} & set(self.plan.by_id)

    def all(self) -> Iterator[Saved]:
        """Yield what every reviewer said last of each item, by reviewer and item."""
        rows = self.database.read(f"SELECT {_COLUMNS} FROM judgements ORDER BY reviewer, item")
        return (self._saved(row) for row in rows if row[1] in self.plan.by_id)

    def _saved(self, row: tuple[object, ...]) -> Saved:
        reviewer, item, revision, content, saved_at = row
        kind = JUDGEMENTS[self.plan.by_id[str(item)].kind]
        judgement = kind.model_validate_json(str(content))
        return Saved(str(reviewer), str(item), int(str(revision)), judgement, str(saved_at))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
