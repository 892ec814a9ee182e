import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.generation.servers import Body, Server, serving
from tests.pairs.writers import talking, user_text

from medpref.endpoints import endpoint
from medpref.errors import InputError
from medpref.evaluation.agreement import cohen_kappa
from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.looking import (
    ERROR_KINDS,
    ErrorJudgeSettings,
    WrongAnswer,
    error_kinds,
    error_rows,
    judge_errors,
    looking_rows,
    wrong_answers,
)
from medpref.evaluation.looking.error_judge import QUARANTINE, REPORT, SYSTEM
from medpref.files import read_json, read_jsonl
from medpref.pairs.llm.asker import LiveAsker

CASES = yaml.safe_load((Path(__file__).parent / "error_cases.yaml").read_text("utf-8"))["cases"]


def test_the_rules_agree_with_labels_by_hand() -> None:
    assert len(CASES) >= 60
    assert {kind for *_, kinds in CASES for kind in kinds} == set(ERROR_KINDS)
    found = [error_kinds(question, gold, answer) for question, gold, answer, _ in CASES]
    main = [kinds[0] for *_, kinds in CASES]
    kappa = cohen_kappa(main, [kinds[0] for kinds in found])
    # 0.92 when written; 0.90 the first time the rules saw them.
    assert kappa is not None
    assert kappa >= 0.9
    whole = sum(set(kinds) == set(own) for (*_, kinds), own in zip(CASES, found, strict=True))
    assert whole / len(CASES) >= 0.9


@pytest.mark.parametrize(
    ("question", "gold", "answer", "kinds"),
    [
        # Longer answers, as models give them.
        (
            "<image>\nWhere is the lesion?",
            "Left kidney",
            "It is in the left adrenal gland.",
            ("anatomical",),
        ),
        ("Can the liver be seen?", "Yes", "No, the liver cannot be seen in this image.", ("symptom",)),
        ("Are there septations?", "Yes, the scan shows multiple septations.", "no", ("symptom",)),
        ("What is abnormal?", "hydropneumothorax", "The lungs are clear, I'm sorry.", ("context",)),
        ("What is your differential diagnosis?", "metastases", "a healthy brain", ("knowledge",)),
    ],
)
def test_rules_by_hand(question: str, gold: str, answer: str, kinds: tuple[str, ...]) -> None:
    assert error_kinds(question, gold, answer) == kinds


SIDE = ("<image>\nWhich side is affected?", "left", "right")
THERE = ("<image>\nIs there a pneumothorax?", "no", "yes")
BOTH = ("Describe.", "A 3 cm mass in the left lung.", "A 5 cm mass in the right lung.")


def record(number: int, wrong: tuple[str, str, str], right: bool, metric: str = "accuracy") -> Record:
    question, gold, answer = wrong
    said = gold if right else answer
    scores = {metric: float(right)}
    return Record(f"r{number}", question, (), f"c{number}", said, gold, (), False, scores)


def log(records: list[Record], seed: int = 0, method: str = "m") -> EvaluationLog:
    return EvaluationLog(LogHeader("s", "b", method, seed, "t", 1, "normal", "test"), tuple(records))


def errors(seed: int = 0) -> EvaluationLog:
    wrong = [SIDE, SIDE, THERE, BOTH]
    records = [record(number, one, False) for number, one in enumerate(wrong)]
    records += [record(number, SIDE, True, "exact_match") for number in range(4, 8)]
    records.append(Record("r9", "?", (), "c9", "", "", (), False, {}, "no reference"))
    return log(records, seed)


def test_shares_by_hand() -> None:
    rows = error_rows([errors(), log([record(0, SIDE, False)], method="baseline:majority")])
    assert {row["method"] for row in rows} == {"m"}
    value = {(row["kind"], row["measure"]): (row["count"], row["value"], row["n"]) for row in rows}
    assert value["anatomical", "of_errors"] == (3, 0.75, 4)
    assert value["anatomical", "of_answers"] == (3, 0.375, 8)
    assert value["symptom", "of_errors"] == (1, 0.25, 4)
    assert value["measurement", "of_answers"] == (1, 0.125, 8)
    # The last has two visual kinds, and counts once among the visual ones.
    assert value["visual", "of_errors"] == (4, 1.0, 4)
    assert value["knowledge", "of_errors"] == (0, 0.0, 4)
    assert {row["by"] for row in rows} == {"rules"}
    assert {row["kind"] for row in rows} == {*ERROR_KINDS, "visual"}
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in rows)


def test_seeds_are_pooled_and_a_run_without_errors_has_no_share() -> None:
    perfect = log([record(number, SIDE, True) for number in range(4)], 1)
    rows = error_rows([errors(0), perfect])
    shown = {
        (r["seed"], r["measure"]): (r["count"], r["value"], r["n"]) for r in rows if r["kind"] == "visual"
    }
    assert shown[0, "of_errors"] == (4, 1.0, 4)
    assert shown[1, "of_errors"] == (0, None, 0)
    assert shown["all", "of_answers"][0] == 4


def test_a_judge_s_kinds_take_the_place_of_the_rules() -> None:
    judged = {WrongAnswer(*SIDE): ("context", "knowledge")}
    rows = [row for row in looking_rows([errors()], judged)["errors"] if row["by"] == "judge"]
    counts = {row["kind"]: row["count"] for row in rows if row["measure"] == "of_errors"}
    assert counts["context"] == counts["knowledge"] == counts["unknown"] == 2
    assert counts["visual"] == 0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    pytest.importorskip("httpx2")
    monkeypatch.setattr(endpoint, "FIRST_WAIT", 0.01)
    with serving() as running:
        yield running


def asker(server: Server, folder: Path) -> LiveAsker:
    return LiveAsker(ErrorJudgeSettings(endpoint=server.address, model="judge", cache=folder / "kept"))


def test_a_judge_reads_texts_alone_and_faulty_replies_are_put_aside(server: Server, tmp_path: Path) -> None:
    def say(body: Body) -> str:
        text = user_text(body)
        if "pneumothorax" in text:
            return '{"kinds": ["nonsense"]}'
        kinds = ["measurement", "anatomical"] if "cm" in text else ["anatomical"]
        return json.dumps({"kinds": kinds, "reason": "it is"})

    talking(server, say)
    wrong = wrong_answers([errors()])
    assert wrong == sorted({WrongAnswer(*one) for one in (SIDE, THERE, BOTH)})
    made = judge_errors(wrong, asker(server, tmp_path), repairs=1)
    assert made.kinds == {
        WrongAnswer(*SIDE): ("anatomical",),
        WrongAnswer(*BOTH): ("measurement", "anatomical"),
    }
    (fault,) = made.faults
    assert fault["answer"] == "yes"
    assert len(fault["replies"]) == 2
    ours = [error_kinds(*one)[0] for one in (BOTH, SIDE)]
    theirs = ["measurement", "anatomical"]
    assert made.report["kappa_with_rules"] == cohen_kappa(ours, theirs)
    assert made.report["main_kinds"] == dict(Counter(theirs))
    assert (made.report["judged"], made.report["quarantined"]) == (2, 1)
    for body in server.requests:
        assert body["messages"][0] == {"role": "system", "content": SYSTEM}
        assert all(isinstance(message["content"], str) for message in body["messages"])
        assert "<image>" not in user_text(body)
    made.write(tmp_path)
    assert read_json(tmp_path / REPORT) == made.report
    assert [row for _, row in read_jsonl(tmp_path / QUARANTINE)] == [fault]


def test_what_was_judged_is_not_asked_again(server: Server, tmp_path: Path) -> None:
    talking(server, lambda _: '{"kinds": ["symptom"]}')
    wrong = wrong_answers([errors()])
    before = judge_errors(wrong, asker(server, tmp_path))
    count = len(server.requests)
    again = judge_errors(wrong, asker(server, tmp_path))
    assert again.kinds == before.kinds
    assert len(server.requests) == count == 3


def test_a_judge_without_a_usable_reply_is_told(server: Server, tmp_path: Path) -> None:
    talking(server, lambda _: "no idea")
    with pytest.raises(InputError, match="no reply that could be used"):
        judge_errors(wrong_answers([errors()]), asker(server, tmp_path), repairs=0)
