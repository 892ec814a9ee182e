"""The SQLite file that holds judgements and reviewers: opened, checked, and written in whole transactions."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medpref.errors import InputError, RunError
from medpref.files import disk_errors

VERSION = 1
# "mpRV": other programs' databases are not ours to change.
_APPLICATION = 0x6D705256
_BUSY_MS = 5000

_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE reviewers (name TEXT PRIMARY KEY, token_hash TEXT UNIQUE) WITHOUT ROWID;
CREATE TABLE sessions (
    id_hash TEXT PRIMARY KEY, reviewer TEXT NOT NULL REFERENCES reviewers(name), csrf TEXT NOT NULL
);
CREATE TABLE revisions (
    reviewer TEXT NOT NULL REFERENCES reviewers(name),
    item TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision > 0),
    save TEXT NOT NULL,
    content TEXT NOT NULL,
    complete INTEGER NOT NULL,
    saved_at TEXT NOT NULL,
    PRIMARY KEY (reviewer, item, revision),
    UNIQUE (reviewer, save)
) WITHOUT ROWID;
CREATE VIEW judgements AS
    SELECT reviewer, item, max(revision) AS revision, save, content, complete, saved_at
    FROM revisions GROUP BY reviewer, item;
"""


class NotSavedError(RunError):
    """The disk did not take what was to be written; nothing of it is kept."""


class Database:
    """One connection, used by one thread at a time; each change is on the disk before it is acknowledged.

    Args:
        path: the file; it and its folder are made, readable by their owner alone.

    Raises:
        InputError: the file is no review, is damaged, or of another version.
        RunError: it cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with disk_errors(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
        try:
            # Transactions are begun by hand: the module's own begin too late for a check before a write.
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.OperationalError as error:
            raise RunError(f"the review cannot be opened: {error}", where=str(path)) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"this is no review, or it is damaged: {error}",
                where=str(path),
                remedy="Put a copy back, or move the file away; what was exported is in logs/review.",
            ) from error

    def _prepare(self) -> None:
        for pragma in (
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        ):
            self._connection.execute(f"PRAGMA {pragma}")
        with self.transaction() as connection:
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            empty = not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if empty:
                for statement in _SCHEMA.split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
            elif application != _APPLICATION:
                raise InputError("this is another program's database", where=str(self.path))
        found = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if found != VERSION:
            raise InputError(
                f"a review of version {found}, this medpref reads {VERSION}", where=str(self.path)
            )
        fault = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise sqlite3.DatabaseError(fault)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run statements that are all kept, or, after any exception, none of them.

        Raises:
            NotSavedError: the disk is full or failed, or another process kept the file busy.
        """
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield self._connection
                    self._connection.execute("COMMIT")
                except BaseException:
                    # A full disk may have ended the transaction by itself.
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.OperationalError as error:
                raise NotSavedError(
                    f"not saved: {error}",
                    where=str(self.path),
                    remedy="Make room on the disk: what was saved before is kept.",
                ) from error

    def read(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """Return the rows of one query.

        Raises:
            NotSavedError: the file cannot be read now.
        """
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.OperationalError as error:
                raise NotSavedError(f"the review cannot be read: {error}", where=str(self.path)) from error

    def close(self) -> None:
        """Close the file; the log beside it is folded in."""
        with self._lock:
            self._connection.close()
