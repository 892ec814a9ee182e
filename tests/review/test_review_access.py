"""Tokens and sessions: hashed, renewed, revoked; and how often an address may ask."""

from pathlib import Path

import pytest

from medpref.errors import InputError
from medpref.review.access import _SESSIONS
from medpref.review.opening import FILE, Opened
from medpref.review.rate import RateLimit


def test_a_token_signs_its_reviewer_in_and_is_nowhere_on_the_disk(run: Path, opened: Opened) -> None:
    token = opened.access.add("Mary Jane")
    assert token is not None
    begun = opened.access.sign_in(token)
    assert begun is not None
    ident, session = begun
    assert session.reviewer == "Mary Jane"
    assert opened.access.session(ident) == session
    for file in (run / FILE).parent.iterdir():
        assert token.encode() not in file.read_bytes()
        assert ident.encode() not in file.read_bytes()
    assert opened.access.sign_in(token[:-1]) is None
    assert opened.access.session("") is None


def test_a_known_reviewer_gets_no_second_token_unasked(opened: Opened) -> None:
    assert opened.access.add("Ada") is None


@pytest.mark.parametrize("end", ["renew", "revoke"])
def test_renewing_and_revoking_end_the_token_and_all_sessions(opened: Opened, end: str) -> None:
    token = opened.access.renew("Ada")
    begun = opened.access.sign_in(token)
    assert begun is not None
    getattr(opened.access, end)("Ada")
    assert opened.access.sign_in(token) is None
    assert opened.access.session(begun[0]) is None
    assert "Ada" in opened.access.reviewers


def test_signing_out_ends_one_session_alone(opened: Opened) -> None:
    token = opened.access.renew("Ada")
    first, second = opened.access.sign_in(token), opened.access.sign_in(token)
    assert first is not None
    assert second is not None
    opened.access.sign_out(first[0])
    assert opened.access.session(first[0]) is None
    assert opened.access.session(second[0]) is not None


def test_sessions_do_not_pile_up(opened: Opened) -> None:
    token = opened.access.renew("Ada")
    begun = [opened.access.sign_in(token) for _ in range(_SESSIONS + 3)]
    there = [one for one in begun if one and opened.access.session(one[0])]
    assert there == begun[3:]


@pytest.mark.parametrize("name", ["", " x", "a/b", "x" * 41, "a\nb", "<b>"])
def test_names_are_plain(opened: Opened, name: str) -> None:
    with pytest.raises(InputError, match="no reviewer's name"):
        opened.access.add(name)
    with pytest.raises(InputError, match="there is no reviewer"):
        opened.access.renew(name)


def test_a_bucket_empties_fills_with_time_and_is_of_one_address() -> None:
    now = [0.0]
    limit = RateLimit(3, 0.5, lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 2]
    assert limit.wait("b") == 0
    now[0] = 1.0
    assert limit.wait("a") == 1
    now[0] = 2.0
    assert limit.wait("a") == 0
    now[0] = 1000.0
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 2]
