import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medpref.pairs.check import faults
from medpref.pairs.formats import RowError, parse_row
from medpref.pairs.pair import ImageRole, Pair, ResponseRole, Turn
from medpref.pairs.sample import read_samples, write_samples
from medpref.pairs.sources.files import as_samples
from medpref.pairs.store import read_pairs, write_pairs

ROOT = Path("/data")
CHOSEN, REJECTED = ResponseRole.CHOSEN, ResponseRole.REJECTED
HISTORY = (Turn("<image>\nWhere?", "Left."), Turn("How large?", "2 cm."))
SAID = ["<image>\nWhere?", "Left.", "How large?", "2 cm.", "Is it new?"]
WANTED = Pair(
    "a",
    "Is it new?",
    {ImageRole.CLEAN: (ROOT / "a.png",)},
    {CHOSEN: "Yes.", REJECTED: "No."},
    history=HISTORY,
)


def llava(*said: str) -> list[dict[str, str]]:
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(said)]


def chat(*said: str) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(said)]


def answer(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


SHAPES: dict[str, dict[str, Any]] = {
    "own": {
        "id": "a",
        "images": {"clean": ["a.png"]},
        "prompt": "Is it new?",
        "responses": {"chosen": "Yes.", "rejected": "No."},
        "history": [["<image>\nWhere?", "Left."], ["How large?", "2 cm."]],
    },
    "llava": {
        "id": "a",
        "image": "a.png",
        "conversations": llava(*SAID, "Yes."),
        "rejected_conversations": llava(*SAID, "No."),
    },
    "llava, the rejected answer alone": {
        "id": "a",
        "image": "a.png",
        "conversations": llava(*SAID, "Yes."),
        "rejected_conversations": [{"from": "gpt", "value": "No."}],
    },
    "trl": {
        "id": "a",
        "images": ["a.png"],
        "prompt": chat(*SAID),
        "chosen": answer("Yes."),
        "rejected": answer("No."),
    },
    "trl with answers as texts": {
        "id": "a",
        "images": ["a.png"],
        "prompt": chat(*SAID),
        "chosen": "Yes.",
        "rejected": "No.",
    },
    "trl, the prompt said again": {
        "id": "a",
        "images": ["a.png"],
        "prompt": chat(*SAID),
        "chosen": chat(*SAID, "Yes."),
        "rejected": chat(*SAID, "No."),
    },
    "trl without a prompt": {
        "id": "a",
        "images": ["a.png"],
        "chosen": chat(*SAID, "Yes."),
        "rejected": chat(*SAID, "No."),
    },
    "trl with image parts": {
        "id": "a",
        "images": ["a.png"],
        "prompt": [
            {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Where?"}]},
            *chat(*SAID)[1:],
        ],
        "chosen": answer("Yes."),
        "rejected": answer("No."),
    },
}


def same(pair: Pair) -> bool:
    """Tell whether a pair is the wanted one, wherever it comes from."""
    return (pair.id, pair.prompt, pair.images, pair.responses, pair.history) == (
        WANTED.id,
        WANTED.prompt,
        WANTED.images,
        WANTED.responses,
        WANTED.history,
    )


@pytest.mark.parametrize("row", SHAPES.values(), ids=list(SHAPES))
def test_every_shape_has_a_history(row: dict[str, Any]) -> None:
    pair = parse_row(row, ROOT, "line-1")
    assert same(pair), pair
    assert list(faults(pair, verify_images=False)) == []


def test_a_prompt_and_answers_that_say_it_again() -> None:
    # As UltraFeedback has it: the prompt as a text, the answers as whole conversations.
    row = {"prompt": "Why?", "chosen": chat("Why?", "Because."), "rejected": chat("Why?", "No idea.")}
    pair = parse_row(row, ROOT, "a")
    assert (pair.prompt, pair.history) == ("Why?", ())
    assert pair.responses == {CHOSEN: "Because.", REJECTED: "No idea."}


def test_blanks_around_a_repeated_turn_are_no_difference() -> None:
    row = {
        **SHAPES["llava"],
        "rejected_conversations": llava("<image>\nWhere? \n", *SAID[1:], "No."),
    }
    assert same(parse_row(row, ROOT, "a"))


def swapped(turns: list[dict[str, Any]], first: int, second: int) -> list[dict[str, Any]]:
    turns[first], turns[second] = turns[second], turns[first]
    return turns


BROKEN = [
    ({"conversations": llava("a", "b", "c")}, "3 turns: a question without its answer, or the reverse"),
    (
        {"conversations": swapped(llava("a", "b", "c", "d"), 0, 1)},
        "turn 1 of conversations is the assistant's where the user's should be",
    ),
    (
        {"conversations": [*llava("a", "b", "c"), {"from": "human", "value": "d"}]},
        "turn 4 of conversations is the user's where the assistant's should be",
    ),
    (
        {"conversations": [*llava("a"), *llava("b"), *llava("c", "d")]},
        "turn 2 of conversations is the user's where the assistant's should be",
    ),
    (
        {"conversations": [{"from": "system", "value": "Be brief."}, *llava("a", "b")]},
        "turn 1 of conversations is by 'system'",
    ),
    (
        {"conversations": llava("a", "b"), "rejected_conversations": llava("another", "c")},
        "turn 1 of rejected_conversations is not the prompt's",
    ),
    (
        {
            "conversations": llava("a", "b", "c", "d"),
            "rejected_conversations": llava("a", "other", "c", "e"),
        },
        "turn 2 of rejected_conversations is not the prompt's",
    ),
    (
        {"conversations": llava("a", "b", "c", "d"), "rejected_conversations": llava("a", "e")},
        "rejected_conversations has 1 turns before its answer, the prompt 3",
    ),
    (
        {"conversations": llava("a", "b"), "rejected_conversations": llava("a")},
        "rejected_conversations needs a question and an answer",
    ),
    ({"prompt": chat("a", "b"), "chosen": "x"}, "prompt has 2 turns and does not end with a question"),
    (
        {"prompt": [{"role": "system", "content": "s"}, *chat("a")], "chosen": "x"},
        "turn 1 of prompt is by 'system'",
    ),
    (
        {"prompt": chat("a"), "chosen": chat("b", "c"), "rejected": "x"},
        "turn 1 of chosen is not the prompt's",
    ),
    (
        {"chosen": chat("a", "b"), "rejected": chat("c", "d")},
        "turn 1 of rejected is not the prompt's",
    ),
    ({"chosen": "a", "rejected": "b"}, "chosen needs a question and an answer"),
    (
        {"prompt": "a", "responses": {"chosen": "b"}, "history": "text"},
        r"history must be a list of \[question, answer\], this is str",
    ),
    (
        {"prompt": "a", "responses": {"chosen": "b"}, "history": [["a", "b"], ["c"]]},
        "turn 2 of the history is no",
    ),
    (
        {"prompt": "a", "responses": {"chosen": "b"}, "history": [["a", None]]},
        "turn 1 of the history must be a text, this is NoneType",
    ),
]


@pytest.mark.parametrize(("row", "reason"), BROKEN, ids=[reason for _, reason in BROKEN])
def test_a_broken_conversation_says_why(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        parse_row(row, ROOT, "a")


def pair_with(history: tuple[Turn, ...], prompt: str = "Why?", images: int = 0) -> Pair:
    clean = {ImageRole.CLEAN: tuple(ROOT / f"{n}.png" for n in range(images))} if images else {}
    return Pair("a", prompt, clean, {CHOSEN: "x"}, history=history)


FAULTS = [
    (
        pair_with((Turn("<image>", "b"),), images=1),
        ["an earlier turn is empty: the history's question or answer 1"],
    ),
    (
        pair_with((Turn("a", "b"), Turn("c", "  "))),
        ["an earlier turn is empty: the history's question or answer 2"],
    ),
    (pair_with((Turn("<image> a", "b"),)), ["1 <image> in the conversation for 0 images"]),
    (pair_with((Turn("<image> a", "b"),), "<image> c", 1), ["2 <image> in the conversation for 1 images"]),
    (pair_with((Turn("<image> a", "b"),), "<image> c", 2), []),
    (
        pair_with((Turn("a", "\ud83e"),)),
        ["a text holds half of a character and cannot be written again"],
    ),
]


@pytest.mark.parametrize(("pair", "reasons"), FAULTS)
def test_the_whole_conversation_is_checked(pair: Pair, reasons: list[str]) -> None:
    assert list(faults(pair, verify_images=False)) == reasons


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_conversations_mix_with_single_questions(tmp_path: Path, suffix: str) -> None:
    pairs = [pair_with(()), Pair("b", "And?", {}, {CHOSEN: "y"}, history=(Turn("a", "b"), Turn("c", "d")))]
    write_pairs(tmp_path / f"pairs.{suffix}", pairs)
    assert list(read_pairs(tmp_path / f"pairs.{suffix}").pairs) == pairs


def test_a_parquet_file_of_chats(tmp_path: Path) -> None:
    rows = [{key: SHAPES["trl"][key] for key in ("id", "images", "prompt", "chosen", "rejected")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "chats.parquet")
    (pair,) = read_pairs(tmp_path / "chats.parquet", images=ROOT, verify_images=False).pairs
    assert same(pair)


def test_a_row_with_another_history_goes_to_quarantine(tmp_path: Path) -> None:
    bad = {"id": "b", "conversations": llava("a", "b"), "rejected_conversations": llava("c", "d")}
    good = {"id": "g", "conversations": llava("a", "b", "c", "d")}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (bad, good)))
    read = read_pairs(path)
    assert [pair.history for pair in read.pairs] == [(Turn("a", "b"),)]
    assert [(row.line, row.id) for row in read.quarantined] == [(1, "b")]


def test_a_question_of_a_test_file_keeps_its_history(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", [WANTED, replace(pair_with(()), id="b")])
    samples = as_samples(read_pairs(tmp_path / "pairs.jsonl", images=ROOT, verify_images=False))
    assert [sample.history for sample in samples] == [HISTORY, ()]
    write_samples(tmp_path / "samples.jsonl", samples)
    assert read_samples(tmp_path / "samples.jsonl") == samples


TEXT = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() and "<image>" not in text)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, min_size=2, max_size=8).filter(lambda said: len(said) % 2 == 0), TEXT)
def test_all_shapes_give_the_same_pair(tmp_path: Path, said: list[str], refused: str) -> None:
    *asked, chosen = said
    rows = [
        {"conversations": llava(*said), "rejected_conversations": llava(*asked, refused)},
        {"prompt": chat(*asked), "chosen": chosen, "rejected": refused},
        {"chosen": chat(*said), "rejected": chat(*asked, refused)},
    ]
    read = [parse_row({"id": "a", **row}, tmp_path, "a") for row in rows]
    write_pairs(tmp_path / "pairs.jsonl", read[:1])
    line = (tmp_path / "pairs.jsonl").read_text().rstrip("\n")
    read.append(parse_row(json.loads(line), tmp_path, "a"))
    for pair in read:
        flat = [text for turn in pair.history for text in turn]
        assert [*flat, pair.prompt, pair.responses[CHOSEN], pair.responses[REJECTED]] == [*said, refused]
