"""What is told and refused before a model is asked, and what its replies are kept as."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.generation.servers import Body, Server, completion
from tests.pairs.writers import swap, talking

from medpref.errors import InputError
from medpref.files import read_json, read_jsonl
from medpref.pairs.llm.cache import ReplyCache
from medpref.pairs.llm.cost import Estimate, FollowUps, with_follow_ups
from medpref.pairs.llm.replies import FaultyReplyError, Judged, read_reply
from medpref.pairs.llm.request import Reply
from medpref.pairs.llm.settings import ModelSettings, Prices
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes, weight_recipes
from medpref.pairs.recipes.written import QUARANTINE, REPORT

pytest.importorskip("httpx2")

PRICES = {"input": 0, "output": 1000.0}
KEY = "sk-very-secret-8254"


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def server(server: Server) -> Server:
    talking(server, swap)
    return server


def pairs(count: int) -> list[Pair]:
    responses = {ResponseRole.CHOSEN: "In the left lung", ResponseRole.REJECTED: "In the heart"}
    return [Pair(f"p{n}", f"Where is lesion {n}?", {}, responses, kind="position") for n in range(count)]


def model(server: Server, folder: Path, **settings: Any) -> dict[str, Any]:
    return {"endpoint": server.address, "model": "tiny", "cache": folder / "cache", "retries": 0, **settings}


def write(server: Server, folder: Path, count: int = 6, **settings: Any) -> list[Pair]:
    own = model(server, folder, **settings)
    return response_recipes["llm-write"].run(pairs(count), own, RecipeContext(0, folder))


def judge(server: Server, folder: Path, *judges: dict[str, Any], **settings: Any) -> list[Pair]:
    given = {"judges": [model(server, folder, **one) for one in judges], "normalise": "raw", **settings}
    return weight_recipes["judges"].run(pairs(3), given, RecipeContext(0, folder))


def test_repairs_are_told_before_anything_is_asked(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match=r"6 requests may cost 0\.3"):
        write(server, tmp_path, prices=PRICES, max_tokens=50, max_cost=0, repairs=2)
    first, more = capsys.readouterr().err.splitlines()
    assert first.startswith("tiny at http://127.0.0.1:")
    assert first.endswith("at most 300 written: at most 0.3 USD")
    assert "18 requests" in more
    assert more.endswith("at most 900 written: at most 0.9 USD")
    assert server.requests == []


def test_an_estimate_is_told_once(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(server, tmp_path)
    assert capsys.readouterr().err.count("6 requests") == 1


def test_follow_ups_repeat_what_was_said() -> None:
    settings = ModelSettings(endpoint="http://127.0.0.1:1", model="m", max_tokens=100)
    first = Estimate(2, 0, 20, 200, Prices(input=1, output=2))
    # Each asking after the first adds a reply and two opinions of 100 tokens, 60 of instruction, 2 · 4 for
    # two messages: 368. Of two requests the second askings read 10 + 368 each, the third 10 + 736.
    most = with_follow_ups(first, FollowUps(2, 2), settings)
    assert (most.requests, most.prompt_tokens, most.tokens) == (6, 20 + 2 * 378 + 2 * 746, 600)
    assert most.cost == pytest.approx((most.prompt_tokens + 2 * 600) / 1e6)


def test_no_judge_is_asked_where_another_costs_too_much(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="dear: 3 requests may cost"):
        judge(server, tmp_path, {"model": "cheap"}, {"model": "dear", "prices": PRICES, "max_cost": 0.01})
    assert server.requests == []
    told = capsys.readouterr().err
    # Five rounds of one reply and one repair.
    assert told.count("3 requests") == 2
    assert told.count("30 requests") == 2


def test_a_run_ends_where_replies_cost_more_than_was_estimated(server: Server, tmp_path: Path) -> None:
    talking(server, swap, prompt_tokens=10_000, completion_tokens=5)
    prices = {"input": 1000.0, "output": 0}
    with pytest.raises(InputError, match="more than was estimated: 10 are spent, max_cost is 9"):
        write(server, tmp_path, prices=prices, max_cost=9, concurrency=1)
    # Another one may have been on its way.
    assert len(server.requests) <= 2
    server.requests.clear()
    write(server, tmp_path, prices=prices)
    assert 4 <= len(server.requests) <= 5


def test_a_reply_that_a_filter_stopped_is_put_aside_and_paid(server: Server, tmp_path: Path) -> None:
    def filtered(handler: Any, body: Body) -> bool:
        stopped = "lesion 1" in json.dumps(body)
        finish = "content_filter" if stopped else "stop"
        text = "I must \ud800 not" if stopped else swap(body)
        handler.reply(200, completion(text, finish, usage={"prompt_tokens": 0, "completion_tokens": 10}))
        return True

    server.fault = filtered
    assert len(write(server, tmp_path, prices=PRICES)) == 5
    (row,) = (row for _, row in read_jsonl(tmp_path / QUARANTINE))
    assert "content_filter" in row["reason"]
    assert row["replies"] == ["I must \ufffd not"]
    assert read_json(tmp_path / REPORT)["replies"]["cost"] == pytest.approx(6 * 10 * 1000 / 1e6)


def test_every_request_gets_a_pair_or_a_place_in_the_quarantine(server: Server, tmp_path: Path) -> None:
    talking(server, lambda body: swap(body) if "lesion 1" in json.dumps(body) else "no")
    made = write(server, tmp_path, repairs=0)
    report = read_json(tmp_path / REPORT)
    rows = [row["id"] for _, row in read_jsonl(tmp_path / QUARANTINE)]
    assert rows == ["p0", "p2", "p3", "p4", "p5"]
    assert (len(made), report["quarantined"], report["replies"]["asked"]) == (1, 5, 6)


def test_replies_are_kept_for_this_user_alone(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "a" / "replies")
    cache.put("0123456789abcdef", Reply("In the left lung", "stop"))
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert cache.get("0123456789abcdef") == Reply("In the left lung", "stop")


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "[]",
        '{"text": "a"}',
        '{"text": 1, "finish": "stop"}',
        '{"text": "a", "finish": "stop", "tokens": "1"}',
    ],
)
def test_a_damaged_reply_counts_as_none(tmp_path: Path, damaged: str) -> None:
    cache = ReplyCache(tmp_path)
    cache.put("0123456789abcdef", Reply("a", "stop", 1, 1))
    (file,) = tmp_path.rglob("*.json")
    file.write_text(damaged)
    assert cache.get("0123456789abcdef") is None


@pytest.mark.parametrize(
    "text",
    [
        'Here it is:\n{"score": 0.5}',
        '<think>0.4? no</think>\n{"score": 0.5}',
        'Sure.\n```json\n{"score": 0.5}\n```\nAnything else?',
        '{"score": "0.5"}',
    ],
)
def test_words_around_an_object_are_no_matter(text: str) -> None:
    assert read_reply(text, "stop", Judged).score == 0.5


@pytest.mark.parametrize(
    "text", ["} {", '{"score": 0.5} or {"score": 0.6}', '{"score": true}', '{"score": 0.5']
)
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(FaultyReplyError):
        read_reply(text, "stop", Judged)


def test_half_a_surrogate_pair_is_a_fault(server: Server, tmp_path: Path) -> None:
    """JSON within a reply can hold one, and no file of pairs could."""

    def odd(body: Body) -> str:
        made = json.loads(swap(body))
        if "lesion 2" in json.dumps(body):
            made["rejected"] += " \ud83d"
        return json.dumps(made)

    talking(server, odd)
    assert {pair.id for pair in write(server, tmp_path)} == {"p0", "p1", "p3", "p4", "p5"}
    (row,) = (row for _, row in read_jsonl(tmp_path / QUARANTINE))
    assert row["reason"].startswith("rejected: ")


@pytest.mark.parametrize("wrong", [{"api_key": KEY}, {"key_variable": KEY}])
def test_a_key_in_the_wrong_place_is_not_repeated(
    server: Server, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    for run in (
        lambda: write(server, tmp_path, **wrong),
        lambda: judge(server, tmp_path, {}, wrong),
    ):
        with pytest.raises(ValidationError) as caught:
            run()
        assert KEY not in str(caught.value)
    assert server.requests == []
