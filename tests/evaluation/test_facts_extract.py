import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from medpref.cli import app
from medpref.evaluation.facts.extract import split_facts
from medpref.files import read_json

runner = CliRunner()


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("The heart is enlarged. Lungs are clear.", ["The heart is enlarged.", "Lungs are clear."]),
        (
            "No pleural effusion, pneumothorax, or fracture.",
            ["No pleural effusion.", "No pneumothorax.", "No fracture."],
        ),
        (
            "There is no evidence of mass or cyst.",
            ["There is no evidence of mass.", "There is no evidence of cyst."],
        ),
        ("No effusion or mass is seen.", ["No effusion is seen.", "No mass is seen."]),
        ("No mass in the left lung.", ["No mass in the left lung."]),
        ("The nodule measures 2.5 cm.", ["The nodule measures 2.5 cm."]),
        ("FINDINGS: 1. Effusion.\n2. Effusion.", ["Effusion."]),
        ("Large heart, but clear lungs", ["Large heart.", "Clear lungs."]),
        ("", []),
        (" .\n- ;", []),
        ("4", ["4."]),
        ("T2", ["T2."]),
    ],
)
def test_texts_are_split_by_rules(text: str, facts: list[str]) -> None:
    assert split_facts(text) == facts


@given(st.text())
def test_any_text_is_split_into_facts_that_stand_once(text: str) -> None:
    facts = split_facts(text)
    assert len(set(facts)) == len(facts)
    assert all(fact.strip() for fact in facts)


def run(*words: object) -> str:
    result = runner.invoke(app, ["facts", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def test_both_directions_from_texts_to_f1(tmp_path: Path) -> None:
    gold, responses = tmp_path / "gold.jsonl", tmp_path / "responses.jsonl"
    gold.write_text(
        json.dumps({"id": 1, "report": "The heart is enlarged. There is a left pleural effusion."})
    )
    said = "The heart is enlarged. There is a right pleural effusion. There is a fracture of the femur."
    responses.write_text(json.dumps({"id": 1, "response": said}))
    names = ["facts.json", "replies.jsonl", "reverse.json", "reverse.jsonl", "out.json"]
    facts, replies, back, back_replies, out = (tmp_path / name for name in names)
    run("extract", "--texts", gold, "--out", facts)
    run("judge", "--facts", facts, "--responses", responses, "--out", replies)
    run("extract", "--responses", "--texts", responses, "--out", back)
    run("judge", "--reverse", "--facts", back, "--gold", gold, "--out", back_replies)
    pairs = [
        "--facts",
        facts,
        "--replies",
        replies,
        "--reverse-facts",
        back,
        "--reverse-replies",
        back_replies,
    ]
    printed = run("score", *pairs, "--out", out)
    document = read_json(out)
    # Of the two gold facts one is said and one contradicted; of the three that are said one is right.
    assert (document["comp"], document["hall"]) == (0.5, 0.5)
    assert document["precision"] == pytest.approx(1 / 3)
    assert document["f1"] == pytest.approx(2 * (1 / 3) * 0.5 / (1 / 3 + 0.5))
    assert "f1: 0.4000" in printed
