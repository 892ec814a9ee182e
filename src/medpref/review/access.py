"""Who may judge: reviewers by name, their tokens, and the sessions of their browsers."""

import hashlib
import re
import secrets
from typing import NamedTuple

from medpref.errors import InputError, did_you_mean
from medpref.review.database import Database

_NAME = re.compile(r"\w[\w .-]{0,39}")
_SESSIONS = 50
"""How many browsers one reviewer may be signed in with; beyond that any older ones are signed out."""


class Session(NamedTuple):
    """One browser that a reviewer is signed in with; `csrf` has to come with every change."""

    reviewer: str
    csrf: str


def hashed(secret: str) -> str:
    """Return the SHA-256 of a random secret of 256 bits, which needs neither salt nor stretching."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Access:
    """Reviewers, tokens and sessions of a review. Only hashes of tokens and of session ids are kept.

    Sessions have no end by the clock, which may jump: a browser forgets its own when it is closed, and a
    new token or `revoke` ends all.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def reviewers(self) -> list[str]:
        """All reviewers' names, in alphabetical order, those without a token too."""
        return [str(row[0]) for row in self._database.read("SELECT name FROM reviewers ORDER BY name")]

    def add(self, name: str) -> str | None:
        """Add a reviewer and return the token, which is not kept; None where the reviewer is known.

        Raises:
            InputError: the name is empty, longer than 40 characters, or has others than letters, digits,
                spaces, dots and hyphens.
        """
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{name!r} is no reviewer's name",
                remedy="Take up to 40 letters, digits, spaces, dots and hyphens.",
            )
        return None if name in self.reviewers else self._give_token(name)

    def renew(self, name: str) -> str:
        """Give a reviewer a new token and return it; the old one and all sessions end.

        Raises:
            InputError: there is no such reviewer.
        """
        self._check(name)
        return self._give_token(name)

    def revoke(self, name: str) -> None:
        """Take a reviewer's token and end all sessions; what was judged stays. Raises as `renew` does."""
        self._check(name)
        with self._database.transaction() as connection:
            connection.execute("UPDATE reviewers SET token_hash = NULL WHERE name = ?", (name,))
            connection.execute("DELETE FROM sessions WHERE reviewer = ?", (name,))

    def _check(self, name: str) -> None:
        if name not in self.reviewers:
            raise InputError(f"there is no reviewer {name!r}", remedy=did_you_mean(name, self.reviewers))

    def _give_token(self, name: str) -> str:
        token = secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO reviewers VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET token_hash = excluded.token_hash",
                (name, hashed(token)),
            )
            connection.execute("DELETE FROM sessions WHERE reviewer = ?", (name,))
        return token

    def sign_in(self, token: str) -> tuple[str, Session] | None:
        """Begin a session; return its id, which is not kept, or None for an unknown token."""
        ident, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self._database.transaction() as connection:
            row = connection.execute(
                "SELECT name FROM reviewers WHERE token_hash = ?", (hashed(token),)
            ).fetchone()
            if row is None:
                return None
            (name,) = row
            connection.execute(
                "DELETE FROM sessions WHERE reviewer = ? AND rowid NOT IN"
                " (SELECT rowid FROM sessions WHERE reviewer = ? ORDER BY rowid DESC LIMIT ?)",
                (name, name, _SESSIONS - 1),
            )
            connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", (hashed(ident), name, csrf))
        return ident, Session(name, csrf)

    def session(self, ident: str) -> Session | None:
        """Return the session with an id, None where there is none."""
        rows = self._database.read("SELECT reviewer, csrf FROM sessions WHERE id_hash = ?", hashed(ident))
        return Session(*map(str, rows[0])) if rows else None

    def sign_out(self, ident: str) -> None:
        """End a session."""
        with self._database.transaction() as connection:
            connection.execute("DELETE FROM sessions WHERE id_hash = ?", (hashed(ident),))
