import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tests.generation.servers import Body, Handler, Server
from tests.pairs.writers import talking, user_text

from medpref.errors import InputError
from medpref.files import read_json, read_jsonl
from medpref.pairs.llm.agreement import krippendorff_alpha, mean_difference
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, weight_recipes
from medpref.pairs.recipes.judged import QUARANTINE, REPORT, SCORES
from medpref.pairs.recipes.weights import standardise

pytest.importorskip("httpx2")

NAN = float("nan")


pytestmark = pytest.mark.usefixtures("short_waits")


def pair(ident: str, rejected: str | None = "wrong") -> Pair:
    responses = {ResponseRole.CHOSEN: "right"}
    if rejected is not None:
        responses[ResponseRole.REJECTED] = rejected
    return Pair(ident, f"Question {ident}?", {}, responses, kind="size")


PAIRS = [pair("a"), pair("b"), pair("c")]
Say = Callable[[str, str, int], Any]
"""``say(model, pair id, round from 0)`` is a score, or a whole reply."""


def ident_of(body: Body) -> str:
    return user_text(body).split("Question: Question ")[1].split("?")[0]


def round_of(body: Body) -> int:
    told = [m["content"] for m in body["messages"] if m["role"] == "user"]
    return sum("do not agree yet" in text for text in told)


class Panel:
    """Runs the recipe with two judges, ``kind`` and ``strict``, behind one server."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.context = RecipeContext(0, folder)
        self.concurrency = 4

    def says(self, say: Say) -> None:
        def reply(body: Body) -> str:
            said = say(body["model"], ident_of(body), round_of(body))
            return said if isinstance(said, str) else json.dumps({"score": said, "reason": f"{said} it is"})

        talking(self.server, reply)

    def judge(self, model: str) -> dict[str, Any]:
        return {
            "endpoint": self.server.address,
            "model": model,
            "cache": self.folder / "cache",
            "concurrency": self.concurrency,
            "retries": 0,
        }

    def __call__(
        self, pairs: list[Pair] = PAIRS, models: tuple[str, ...] = ("kind", "strict"), **settings: Any
    ) -> list[Pair]:
        self.context = RecipeContext(0, self.folder)
        given = {"judges": [self.judge(model) for model in models], "normalise": "raw", **settings}
        return weight_recipes["judges"].run(pairs, given, self.context)

    @property
    def report(self) -> dict[str, Any]:
        return read_json(self.folder / REPORT)

    @property
    def scores(self) -> dict[str, dict[str, Any]]:
        return {row["id"]: row for _, row in read_jsonl(self.folder / SCORES)}


@pytest.fixture
def panel(server: Server, tmp_path: Path) -> Panel:
    return Panel(server, tmp_path)


def weights(pairs: list[Pair]) -> dict[str, float | None]:
    return {pair.id: pair.weight for pair in pairs}


SCORE = {"a": 0.2, "b": 0.5, "c": 0.9}


def test_judges_that_agree_are_asked_once(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, _: SCORE[ident] + (0.1 if model == "strict" else 0))
    made = panel()
    assert weights(made) == pytest.approx({"a": 0.25, "b": 0.55, "c": 0.95})
    assert len(server.requests) == 6
    assert {made.provenance.recipe for made in made} == {"judges (raw)"}
    report = panel.report
    assert (report["agreed"], report["without_consensus"], report["rounds"]) == (3, 0, {"1": 3})
    assert report["agreement_by_round"][0]["mean_difference"] == pytest.approx(0.1)
    assert "Wrong answer: wrong" in user_text(server.requests[0])
    assert {body["temperature"] for body in server.requests} == {0.0}


def test_weights_are_standardised_by_default(panel: Panel) -> None:
    panel.says(lambda model, ident, _: SCORE[ident])
    made = panel(normalise="standardise")
    np.testing.assert_allclose([pair.weight for pair in made], standardise(np.array([0.2, 0.5, 0.9])))


def test_judges_talk_until_they_agree(panel: Panel, server: Server) -> None:
    # The strict one comes down by 0.3 a round: 1, 0.7, 0.4 against 0.4.
    panel.says(lambda model, ident, number: 1 - 0.3 * number if (model, ident) == ("strict", "b") else 0.4)
    assert weights(panel()) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.4})
    assert len(server.requests) == 6 + 2 + 2
    assert panel.report["rounds"] == {"1": 2, "3": 1}
    assert panel.scores["b"]["rounds"] == [{"0": 0.4, "1": pytest.approx(score)} for score in (1.0, 0.7, 0.4)]
    last = server.requests[-1]
    assert last["model"] == "strict"
    told = last["messages"][-1]["content"]
    assert "You gave 0.7: 0.7 it is" in told
    assert "Another judge gave 0.4: 0.4 it is" in told
    assert [message["role"] for message in last["messages"]] == ["system", *["user", "assistant"] * 2, "user"]


def test_without_consensus_the_mean_is_taken(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, _: 1.0 if model == "strict" else 0.2)
    assert weights(panel(rounds=3)) == pytest.approx(dict.fromkeys("abc", 0.6))
    assert len(server.requests) == 3 * 6
    report = panel.report
    assert (report["agreed"], report["without_consensus"], report["rounds"]) == (0, 3, {"3": 3})
    assert [each["mean_difference"] for each in report["agreement_by_round"]] == pytest.approx([0.8] * 3)
    assert all(not row["agreed"] for row in panel.scores.values())


def test_rounding_is_no_disagreement(panel: Panel, server: Server) -> None:
    panel.says(lambda model, *_: 0.3 if model == "strict" else 0.4)
    panel()
    assert 0.4 - 0.3 > 0.1
    assert len(server.requests) == 6


def test_one_judge_alone_judges_once(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, _: SCORE[ident])
    assert weights(panel(models=("kind",))) == SCORE
    assert len(server.requests) == 3
    assert panel.report["agreement_by_round"] == [{"krippendorff_alpha": None, "mean_difference": None}]


def test_a_reply_that_stays_faulty_is_put_aside_and_counted(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, _: "high" if (model, ident) == ("strict", "b") else SCORE[ident])
    assert weights(panel()) == SCORE
    assert [judge["quarantined"] for judge in panel.report["judges"]] == [0, 1]
    (row,) = (row for _, row in read_jsonl(panel.folder / QUARANTINE))
    assert row == {
        "id": "b",
        "round": 1,
        "judge": 1,
        "reason": "it is no JSON object",
        "replies": ["high", "high"],
    }
    assert panel.scores["b"]["agreed"] is False


@pytest.mark.parametrize("reply", ['{"score": 1.1}', '{"score": NaN}', '{"reason": "x"}', '{"score": null}'])
def test_scores_out_of_range_are_faulty(panel: Panel, reply: str) -> None:
    panel.says(lambda model, ident, _: reply if ident == "b" else 0.5)
    assert weights(panel()) == {"a": 0.5, "c": 0.5}
    assert [(left.id, left.recipe, left.reason) for left in panel.context.left_out] == [
        ("b", "judges", "no judge gave a reply that could be used")
    ]
    assert panel.report["unscored"] == 1


def test_pairs_without_a_rejected_response_are_left_out(panel: Panel) -> None:
    panel.says(lambda *_: 0.5)
    assert weights(panel([*PAIRS, pair("d", None)])) == dict.fromkeys("abc", 0.5)
    assert [left.id for left in panel.context.left_out] == ["d"]


def test_no_usable_reply_at_all_is_an_error(panel: Panel) -> None:
    panel.says(lambda *_: "who knows")
    with pytest.raises(InputError, match="no judge gave a reply"):
        panel()


def test_a_second_run_asks_nothing_and_the_order_is_no_matter(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, number: SCORE[ident] if model == "kind" else 0.5)
    first = panel(normalise="standardise", rounds=2)
    server.requests.clear()
    again = panel(PAIRS[::-1], normalise="standardise", rounds=2)
    assert again == first[::-1]
    assert server.requests == []
    assert [judge["replies"]["asked"] for judge in panel.report["judges"]] == [0, 0]


def test_a_run_that_broke_goes_on_where_it_was(panel: Panel, server: Server) -> None:
    panel.says(lambda model, ident, _: SCORE[ident])
    good = server.fault

    def broken(handler: Handler, body: Body) -> bool:
        if body["model"] == "kind":
            return good(handler, body)
        handler.reply(404, {"error": {"message": "no such model"}})
        return True

    server.fault = broken
    # One at a time: what was under way beside the last one could reach the server late, and be counted below.
    panel.concurrency = 1
    with pytest.raises(InputError, match="no such model"):
        panel()
    server.fault = good
    server.requests.clear()
    assert weights(panel()) == SCORE
    assert [body["model"] for body in server.requests] == ["strict"] * 3


def test_confidence_in_the_region_has_its_share(panel: Panel) -> None:
    panel.says(lambda *_: 0.4)
    file = panel.folder / "confidence.jsonl"
    file.write_text('{"id": "a", "confidence": 1}\n{"id": "other", "confidence": 0.5}\n')
    made = panel(confidence_file=file, confidence_share=0.25)
    assert weights(made) == pytest.approx({"a": 0.75 * 0.4 + 0.25, "b": 0.4, "c": 0.4})
    assert panel.report["with_confidence"] == 1
    assert panel.scores["a"]["relevance"] == 0.4


@pytest.mark.parametrize(
    "line", ['{"id": "a", "confidence": 1.5}', '{"id": "a"}', "[]", '{"id": "b", "confidence": 0}']
)
def test_faulty_confidences_are_named(panel: Panel, line: str) -> None:
    file = panel.folder / "confidence.jsonl"
    file.write_text(f'{{"id": "b", "confidence": 1}}\n{line}\n')
    with pytest.raises(InputError, match=r"confidence\.jsonl, line 2"):
        panel(confidence_file=file)


def test_images_go_to_the_judges_that_are_allowed_them(
    panel: Panel, server: Server, make_image: Callable[..., Path]
) -> None:
    panel.says(lambda *_: 0.5)
    image = {ImageRole.CLEAN: (make_image("a.png"),)}
    shown = replace(PAIRS[0], prompt="<image>\nQuestion a?", images=image)
    judges = [{**panel.judge("kind"), "allow_images": True}, panel.judge("strict")]
    panel([shown], judges=judges)
    sent = {body["model"]: "image_url" in json.dumps(body) for body in server.requests}
    assert sent == {"kind": True, "strict": False}


def test_a_dry_run_asks_nobody(panel: Panel, server: Server) -> None:
    context = RecipeContext(0, panel.folder, dry=True)
    made = weight_recipes["judges"].run(PAIRS, {"judges": [panel.judge("kind")]}, context)
    assert weights(made) == dict.fromkeys("abc", 1.0)
    assert server.requests == []


def test_there_must_be_a_judge(panel: Panel) -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        panel(models=())


def test_alpha_by_hand() -> None:
    # Three pairs; differences 0, 1, 0. Observed: 2 · 1² / 6 values = 1/3. The values 0, 0, 0, 1, 1, 1 have
    # 2 · 9 ordered pairs that differ by 1, of 6 · 5: expected 18/30 = 3/5. α = 1 − (1/3) / (3/5) = 4/9.
    scores = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    assert krippendorff_alpha(scores) == pytest.approx(4 / 9)
    # A pair with one score does not count, whatever it is.
    more = np.array([[0.0, 0.0, 1.0, NAN], [0.0, 1.0, 1.0, 0.7]])
    assert krippendorff_alpha(more) == pytest.approx(4 / 9)
    assert mean_difference(more) == pytest.approx(1 / 3)


def test_alpha_of_three_judges_with_a_gap() -> None:
    # Units (1, 1, 2) and (3, 3). Within: Σ over ordered pairs 2 · (0 + 1 + 1) / (3 − 1) = 2, then 0; observed
    # 2/5. Values 1, 1, 2, 3, 3: ordered squares 2 · (0+1+4+4 + 1+4+4 + 1+1 + 0) = 40, of 5 · 4: expected 2.
    scores = np.array([[1.0, 3.0], [1.0, 3.0], [2.0, NAN]])
    assert krippendorff_alpha(scores) == pytest.approx(1 - 0.4 / 2)
    # |1 − 1|, |1 − 2|, |1 − 2|, |3 − 3|.
    assert mean_difference(scores) == pytest.approx(2 / 4)


def test_full_agreement_is_one_and_equal_scores_tell_nothing() -> None:
    assert krippendorff_alpha(np.array([[0.1, 0.9], [0.1, 0.9]])) == pytest.approx(1)
    assert krippendorff_alpha(np.full((2, 3), 0.1)) is None
    assert krippendorff_alpha(np.array([[0.1, 0.9]])) is None
    assert mean_difference(np.array([[0.1, 0.9]])) is None
