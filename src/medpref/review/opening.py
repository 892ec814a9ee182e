"""Begin a review of a run, or go on with the one that was begun."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from medpref.errors import InputError
from medpref.review.access import Access
from medpref.review.database import Database
from medpref.review.plan import ReviewSettings, make_plan
from medpref.review.store import SETTINGS, Store
from medpref.study.explain import explain

FILE = Path("review") / "review.sqlite3"
"""Where a run keeps its judgements, below its folder."""


class Opened(NamedTuple):
    """A review's judgements and reviewers."""

    store: Store
    access: Access


@contextmanager
def open_review(run: Path, said: Mapping[str, Any], *, begin: bool = True) -> Iterator[Opened]:
    """Open a run's review, with the settings that it began with.

    Args:
        run: the run folder.
        said: settings of a new review; of one that was begun they may only be the same.
        begin: whether to begin one where there is none.

    Raises:
        InputError: a setting is wrong or differs, the run has no answers, or nobody has reviewed it.
        RunError: the file cannot be written.
    """
    file = run / FILE
    if not file.is_file():
        if not begin:
            raise InputError("nobody has reviewed this run", where=str(run))
        # What is wrong with the settings has to show before a file is made.
        plan = make_plan(run, read_review_settings(said))
        database = Database(file)
    else:
        database = Database(file)
        try:
            plan = make_plan(run, _settings(database, said))
        except BaseException:
            database.close()
            raise
    try:
        yield Opened(Store(database, plan), Access(database))
    finally:
        database.close()


def read_review_settings(said: Mapping[str, Any]) -> ReviewSettings:
    """Return the settings of a review. Raises `InputError` for a wrong one."""
    try:
        return ReviewSettings.model_validate(dict(said))
    except ValidationError as error:
        found = explain(error, ReviewSettings)
        known = ", ".join(ReviewSettings.model_fields)
        raise InputError(found.what, where="--set", remedy=f"The settings are {known}.") from None


def _settings(database: Database, said: Mapping[str, Any]) -> ReviewSettings:
    rows = database.read("SELECT value FROM about WHERE key = ?", SETTINGS)
    if not rows:
        return read_review_settings(said)
    kept = ReviewSettings.model_validate_json(str(rows[0][0]))
    new = read_review_settings(said)
    for name in said:
        if getattr(new, name) != getattr(kept, name):
            raise InputError(
                f"the review was begun with {name}={getattr(kept, name)!r}",
                where=f"--set {name}",
                remedy=f"Leave it out to go on, or move {database.path.parent} away to begin another.",
            )
    return kept
