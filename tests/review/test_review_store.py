"""Never a lost or a doubled judgement: retries, tabs, a killed process, a full disk, a clock that jumps."""

import signal
import sqlite3
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medpref.errors import InputError
from medpref.review import store as store_module
from medpref.review.database import Database, NotSavedError
from medpref.review.judgement import AnswerJudgement, Harm, Preference, Verdict
from medpref.review.opening import FILE, Opened, open_review
from medpref.review.plan import Item
from medpref.review.store import ConflictError

CORRECT = AnswerJudgement(verdict=Verdict.CORRECT)
WRONG = AnswerJudgement(verdict=Verdict.WRONG, errors=("symptom",), harm=Harm.MILD, comment="no such thing")


def name() -> str:
    return str(uuid.uuid4())


def revisions(opened: Opened) -> int:
    return int(str(opened.store.database.read("SELECT count(*) FROM revisions")[0][0]))


def test_what_was_saved_is_found_and_counts_once_complete(opened: Opened, answer: Item) -> None:
    saved = opened.store.save("Ada", answer, name(), 0, AnswerJudgement(comment="hm"))
    assert saved.revision == 1
    assert opened.store.complete("Ada") == set()
    opened.store.save("Ada", answer, name(), 1, WRONG)
    found = opened.store.find("Ada", answer)
    assert found is not None
    assert (found.revision, found.judgement) == (2, WRONG)
    assert opened.store.complete("Ada") == {answer.id}
    assert opened.store.find("Grace", answer) is None


def test_a_save_sent_twice_is_kept_once(opened: Opened, answer: Item) -> None:
    save = name()
    first = opened.store.save("Ada", answer, save, 0, WRONG)
    assert opened.store.save("Ada", answer, save, 0, WRONG) == first
    # Another tab that says the same has nothing to add.
    assert opened.store.save("Ada", answer, name(), 0, WRONG) == first
    assert revisions(opened) == 1


def test_a_stale_tab_overwrites_nothing_and_is_told_what_is_kept(opened: Opened, answer: Item) -> None:
    early = name()
    opened.store.save("Ada", answer, early, 0, CORRECT)
    kept = opened.store.save("Ada", answer, name(), 1, WRONG)
    for save, base, said in (
        (name(), 0, CORRECT),
        (name(), 1, CORRECT),
        (early, 0, CORRECT),
        (name(), 7, CORRECT),
    ):
        with pytest.raises(ConflictError) as caught:
            opened.store.save("Ada", answer, save, base, said)
        assert caught.value.current == kept
    assert opened.store.find("Ada", answer) == kept


def test_many_tabs_at_once_make_one_revision_each_time(opened: Opened, answer: Item) -> None:
    said = [AnswerJudgement(verdict=Verdict.WRONG, comment=str(number)) for number in range(24)]

    def send(judgement: AnswerJudgement) -> bool:
        try:
            opened.store.save("Ada", answer, name(), 0, judgement)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(send, said)) == 1
    assert revisions(opened) == 1


def test_two_processes_share_a_review(run: Path, opened: Opened, answer: Item) -> None:
    with open_review(run, {}) as other:
        other.store.save("Ada", answer, name(), 0, WRONG)
        with pytest.raises(ConflictError):
            opened.store.save("Ada", answer, name(), 0, CORRECT)


def test_what_was_acknowledged_outlives_a_killed_process(run: Path, opened: Opened) -> None:
    script = """
import os, signal, sys, uuid
from pathlib import Path
from medpref.review.judgement import AnswerJudgement
from medpref.review.opening import open_review
with open_review(Path(sys.argv[1]), {}) as (store, _):
    items = [item for item in store.plan.items if item.kind == "answer"][:5]
    for number, item in enumerate(items):
        store.save("Ada", item, str(uuid.uuid4()), 0, AnswerJudgement(verdict="wrong", comment=str(number)))
    # In the midst of a sixth.
    store.database._connection.execute("BEGIN IMMEDIATE")
    store.database._connection.execute("DELETE FROM revisions")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script, str(run)], check=False)
    assert done.returncode == -signal.SIGKILL
    with open_review(run, {}) as again:
        comments = sorted(saved.judgement.comment for saved in again.store.all())
    assert comments == ["0", "1", "2", "3", "4"]


def test_a_full_disk_saves_nothing_loses_nothing_and_says_so(opened: Opened, answer: Item) -> None:
    kept = opened.store.save("Ada", answer, name(), 0, CORRECT)
    connection = opened.store.database._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    save, long = name(), AnswerJudgement(verdict=Verdict.WRONG, comment="x" * 4000)

    def fill() -> None:
        for base in range(1, 9):
            said = long.model_copy(update={"comment": f"{base}" * 4000})
            opened.store.save("Ada", answer, name(), base, said)

    with pytest.raises(NotSavedError, match="full"):
        fill()
    before = opened.store.find("Ada", answer)
    assert before is not None
    assert before.revision >= kept.revision
    connection.execute("PRAGMA max_page_count = 100000")
    assert opened.store.save("Ada", answer, save, before.revision, long).revision == before.revision + 1


def test_a_clock_that_jumps_changes_no_order(
    opened: Opened, answer: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["2031-01-01T00:00:00+00:00", "1970-01-01T00:00:00+00:00"])
    monkeypatch.setattr(store_module, "_now", lambda: next(times))
    opened.store.save("Ada", answer, name(), 0, CORRECT)
    opened.store.save("Ada", answer, name(), 1, WRONG)
    found = opened.store.find("Ada", answer)
    assert found is not None
    assert found.judgement == WRONG
    assert found.saved_at.startswith("1970")


def test_a_preference_is_of_answers_and_not_of_sides(opened: Opened, comparison: Item) -> None:
    said = Preference(preferred=comparison.answers[1].key)
    opened.store.save("Ada", comparison, name(), 0, said)
    found = opened.store.find("Ada", comparison)
    assert found is not None
    assert found.judgement == said


def test_errors_and_harm_belong_to_faulty_answers() -> None:
    with pytest.raises(ValueError, match="partly or wholly wrong"):
        AnswerJudgement(verdict=Verdict.CORRECT, errors=("symptom",))
    with pytest.raises(ValueError, match="no kinds of errors: odd"):
        AnswerJudgement(verdict=Verdict.WRONG, errors=("odd",))
    assert AnswerJudgement(verdict=Verdict.WRONG, errors=("symptom", "anatomical", "symptom")).errors == (
        "anatomical",
        "symptom",
    )


def test_another_programs_database_and_a_broken_one_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite3"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(InputError, match="another program's"):
        Database(path)
    path.write_bytes(b"not a database at all, but long enough to look at" * 100)
    with pytest.raises(InputError, match="no review, or it is damaged"):
        Database(path)


def test_the_file_is_its_owners_alone(run: Path, opened: Opened) -> None:
    assert (run / FILE).stat().st_mode & 0o077 == 0
    assert (run / FILE).parent.stat().st_mode & 0o077 == 0
