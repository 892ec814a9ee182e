import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.generation.servers import Body, Handler, Server, completion
from tests.pairs.writers import asked_of, swap, talking, user_text

from medpref.errors import InputError, RunError
from medpref.files import read_json, read_jsonl
from medpref.pairs.llm.prompts import error_kinds
from medpref.pairs.llm.replies import FaultyReplyError, Task, Written, find_change, read_written
from medpref.pairs.pair import Change, ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, response_recipes
from medpref.pairs.recipes.written import QUARANTINE, REPORT, choose_error

pytest.importorskip("httpx2")

RECIPE = response_recipes["llm-write"]
KEY = "sk-very-secret-8254"


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def server(server: Server) -> Server:
    talking(server, swap, prompt_tokens=100, completion_tokens=20)
    return server


def bare(number: int, chosen: str = "In the left lung", kind: str | None = "position") -> Pair:
    return Pair(f"p{number}", f"Where is lesion {number}?", {}, {ResponseRole.CHOSEN: chosen}, kind=kind)


PAIRS = [bare(number) for number in range(6)]


class Maker:
    """Runs the recipe against a server, with a folder and a cache of its own."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.context = RecipeContext(0, folder)

    def settings(self, **settings: Any) -> dict[str, Any]:
        own = {"endpoint": self.server.address, "model": "tiny", "cache": self.folder / "cache", "retries": 1}
        return {**own, **settings}

    def __call__(self, pairs: list[Pair] = PAIRS, seed: int = 0, **settings: Any) -> list[Pair]:
        self.context = RecipeContext(seed, self.folder)
        return RECIPE.run(pairs, self.settings(**settings), self.context)


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Maker:
    return Maker(server, tmp_path)


def rejected(pairs: list[Pair]) -> dict[str, str]:
    return {pair.id: pair.responses[ResponseRole.REJECTED] for pair in pairs}


def test_what_the_model_wrote_is_rejected_and_its_error_is_known(make: Maker) -> None:
    made = make()
    assert rejected(made) == {pair.id: "In the left unlung" for pair in PAIRS}
    for pair in made:
        (change,) = pair.changes
        assert change == Change(change.error, 12, 18, "lung", "unlung")
        assert pair.provenance.recipe == f"llm-write (error: {change.error}; tiny, prompts 1)"
    report = read_json(make.folder / REPORT)
    assert report["replies"] == {"asked": 6, "kept": 0}
    assert sum(report["written"].values()) == report["with_known_span"] == 6
    assert make.context.left_out == []


def test_the_request_says_what_is_asked_and_no_more(make: Maker, server: Server) -> None:
    make(temperature=0.5, max_tokens=99, extra={"response_format": {"type": "json_object"}})
    body = next(body for body in server.requests if "lesion 3" in user_text(body))
    assert asked_of(user_text(body))[1:] == ("Where is lesion 3?", "In the left lung")
    assert [message["role"] for message in body.pop("messages")] == ["system", "user"]
    assert isinstance(body.pop("seed"), int)
    assert body == {
        "model": "tiny",
        "temperature": 0.5,
        "max_tokens": 99,
        "response_format": {"type": "json_object"},
    }


def test_the_seed_decides_and_the_order_is_no_matter(make: Maker, server: Server) -> None:
    def seeds(pairs: list[Pair], seed: int) -> dict[str, int]:
        server.requests.clear()
        make(pairs, seed, cache=make.folder / f"other-{len(list(make.folder.iterdir()))}")
        return {asked_of(user_text(body))[1]: body["seed"] for body in server.requests}

    first = seeds(PAIRS, 1)
    assert len(set(first.values())) == len(PAIRS)
    assert seeds(PAIRS[::-1], 1) == first
    assert seeds(PAIRS, 2) != first


def test_a_second_run_asks_nothing_and_gives_the_same(make: Maker, server: Server) -> None:
    first = make()
    server.requests.clear()
    assert make(PAIRS[::-1]) == first[::-1]
    assert server.requests == []
    assert read_json(make.folder / REPORT)["replies"] == {"asked": 0, "kept": 6}
    make(model="other")
    assert len(server.requests) == 6


def test_a_run_that_broke_goes_on_where_it_was(make: Maker, server: Server) -> None:
    good = server.fault

    def broken(handler: Handler, body: Body) -> bool:
        if len(server.requests) <= 4:
            return good(handler, body)
        handler.reply(401, {"error": {"message": "no more"}})
        return True

    server.fault = broken
    with pytest.raises(InputError, match="no more"):
        make(concurrency=1)
    server.fault = good
    server.requests.clear()
    assert len(make()) == 6
    assert len(server.requests) == 2


def test_transient_faults_are_waited_out(make: Maker, server: Server) -> None:
    good = server.fault

    def busy(handler: Handler, body: Body) -> bool:
        if server.requests.count(body) > 1:
            return good(handler, body)
        handler.reply(429, {"error": {"message": "slow down"}}, retry_after="0.01")
        return True

    server.fault = busy
    assert len(make()) == 6
    assert len(server.requests) == 12


def test_no_more_requests_are_in_flight_than_the_settings_say(make: Maker, server: Server) -> None:
    good = server.fault

    def slow(handler: Handler, body: Body) -> bool:
        import time

        time.sleep(0.05)
        return good(handler, body)

    server.fault = slow
    make(concurrency=2)
    assert server.most == 2


def test_a_faulty_reply_is_asked_for_again_with_its_fault(make: Maker, server: Server) -> None:
    talking(server, lambda body: "Sure! I did it." if len(body["messages"]) == 2 else swap(body))
    assert len(make()) == 6
    assert len(server.requests) == 12
    again = next(body for body in server.requests if len(body["messages"]) == 4)
    assert again["messages"][2] == {"role": "assistant", "content": "Sure! I did it."}
    assert "it is no JSON object" in again["messages"][3]["content"]
    assert read_json(make.folder / REPORT)["repaired"] == 6


def test_what_stays_faulty_is_put_aside_raw(make: Maker, server: Server) -> None:
    def stubborn(body: Body) -> str:
        return "never" if "lesion 2" in user_text(body) else swap(body)

    talking(server, stubborn)
    made = make()
    assert "p2" not in rejected(made)
    assert [(left.id, left.recipe, left.reason) for left in make.context.left_out] == [
        ("p2", "llm-write", "it is no JSON object")
    ]
    (row,) = (row for _, row in read_jsonl(make.folder / QUARANTINE))
    assert (row["id"], row["replies"]) == ("p2", ["never", "never"])
    assert read_json(make.folder / REPORT)["quarantined"] == 1


def test_a_request_that_the_endpoint_refuses_is_left_out(make: Maker, server: Server) -> None:
    good = server.fault

    def choosy(handler: Handler, body: Body) -> bool:
        if "lesion 1" not in user_text(body):
            return good(handler, body)
        handler.reply(400, {"error": {"message": "content policy"}})
        return True

    server.fault = choosy
    assert set(rejected(make())) == {"p0", "p2", "p3", "p4", "p5"}
    assert "content policy" in make.context.left_out[0].reason


def test_nothing_usable_at_all_is_an_error(make: Maker, server: Server) -> None:
    talking(server, lambda _: "no")
    with pytest.raises(InputError, match="no reply could be used; the first: it is no JSON object"):
        make()


def test_an_endpoint_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = {"endpoint": "http://127.0.0.1:9/v1", "model": "m", "cache": tmp_path, "retries": 0}
    with pytest.raises(RunError, match="no connection"):
        RECIPE.run(PAIRS, settings, RecipeContext(0, tmp_path))


def test_images_are_sent_on_the_users_word_alone(make: Maker, server: Server, make_image, make_pair) -> None:
    pair = make_pair("one", (make_image("a.png", 1),), refused=None, kind="presence", chosen="Yes it is")
    make([pair])
    assert "image_url" not in json.dumps(server.requests[0])
    assert "image is shown" not in user_text(server.requests[0])
    make([pair], allow_images=True)
    parts = server.requests[1]["messages"][1]["content"]
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "the image is shown" in parts[1]["text"]
    # Another image under the same name is another request.
    make_image("a.png", 2)
    make([pair], allow_images=True)
    assert len(server.requests) == 3
    assert pair.images[ImageRole.CLEAN][0].name not in json.dumps(server.requests)


def test_the_key_is_sent_and_written_nowhere(
    make: Maker, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WRITER_KEY", KEY)
    make(key_variable="WRITER_KEY")
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    files = [path for path in make.folder.rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in "".join(capsys.readouterr())
    monkeypatch.delenv("WRITER_KEY")
    # What is kept needs no key; what is not does.
    assert len(make(key_variable="WRITER_KEY")) == 6
    with pytest.raises(InputError, match="WRITER_KEY"):
        make(key_variable="WRITER_KEY", temperature=0.1)


def test_the_estimate_is_told_and_the_limit_is_kept(
    make: Maker, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = {"input": 0, "output": 1000.0, "currency": "EUR"}
    # Six replies of at most 50 tokens at 1,000 a million: 0.3.
    with pytest.raises(InputError, match=r"6 requests may cost 0\.3, more than max_cost \(0\.29\)"):
        make(prices=prices, max_tokens=50, max_cost=0.29)
    assert server.requests == []
    assert "6 requests" in capsys.readouterr().err
    make(prices=prices, max_tokens=50, max_cost=0.31)
    assert "at most 300 written: at most 0.3 EUR" in capsys.readouterr().err
    # What it did cost is counted by the endpoint: 20 tokens each.
    assert read_json(make.folder / REPORT)["replies"]["cost"] == pytest.approx(6 * 20 * 1000 / 1e6)


def test_repairs_count_towards_the_limit(make: Maker, server: Server) -> None:
    talking(server, lambda _: "no", completion_tokens=50)
    prices = {"input": 0, "output": 1000.0}
    with pytest.raises(InputError, match=r"may cost 0\.3 beside 0\.3 already spent"):
        make(prices=prices, max_tokens=50, max_cost=0.5)
    assert len(server.requests) == 6


class Batch:
    """Sends a batch file to the server's model, as a batch service would."""

    def __init__(self, make: Maker) -> None:
        self.make = make
        self.file = make.folder / "batch.jsonl"

    def run(self, *results: Path) -> list[Pair]:
        return self.make(mode="batch", batch_file=self.file, results_file=results)

    def rows(self) -> list[dict[str, Any]]:
        return [row for _, row in read_jsonl(self.file)]

    def results(self, name: str, say: Any = swap) -> Path:
        path = self.make.folder / name
        lines = [
            {
                "id": f"batch-{number}",
                "custom_id": row["custom_id"],
                "response": {"status_code": 200, "body": completion(say(row["body"]))},
                "error": None,
            }
            for number, row in enumerate(self.rows())
        ]
        # In any order, as the services say.
        path.write_text("".join(json.dumps(line) + "\n" for line in lines[::-1]))
        return path


@pytest.fixture
def batch(make: Maker) -> Batch:
    made = Batch(make)
    with pytest.raises(RunError, match="6 requests are written here"):
        made.run()
    return made


def test_a_batch_gives_what_a_live_run_gives(batch: Batch, make: Maker, server: Server) -> None:
    rows = batch.rows()
    assert {(row["method"], row["url"]) for row in rows} == {("POST", "/v1/chat/completions")}
    assert len({row["custom_id"] for row in rows}) == 6
    made = batch.run(batch.results("results.jsonl"))
    assert server.requests == []
    assert made == make(cache=make.folder / "another")
    bodies = sorted(server.requests, key=lambda body: body["seed"])
    assert bodies == sorted((row["body"] for row in rows), key=lambda body: body["seed"])


def test_faulty_results_go_into_another_batch(batch: Batch) -> None:
    def say(body: Body) -> str:
        return "no" if "lesion 2" in user_text(body) else swap(body)

    first = batch.results("first.jsonl", say)
    with pytest.raises(RunError, match="1 requests are written here"):
        batch.run(first)
    (row,) = batch.rows()
    assert "it is no JSON object" in row["body"]["messages"][-1]["content"]
    assert len(batch.run(first, batch.results("second.jsonl"))) == 6


def test_results_are_matched_by_the_whole_id(batch: Batch) -> None:
    path = batch.results("results.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["custom_id"] += "0"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = "1 requests are written here.*; 1 results belong to none of our requests"
    with pytest.raises(RunError, match=told):
        batch.run(path)


def test_expired_requests_are_asked_again_and_refused_ones_left_out(batch: Batch, make: Maker) -> None:
    path = batch.results("results.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"response": None, "error": {"code": "batch_expired", "message": "too late"}}
    rows[1] |= {"response": {"status_code": 400, "body": {"error": {"message": "content policy"}}}}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(RunError, match="1 requests are written here"):
        batch.run(path)
    assert [row["custom_id"] for row in batch.rows()] == [rows[0]["custom_id"]]
    assert len(batch.run(path, batch.results("late.jsonl"))) == 5
    assert "content policy" in make.context.left_out[0].reason


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda lines: [*lines, lines[0]], "two results have the custom_id"),
        (lambda lines: [*lines, '{"id": "x"}'], "the line is no result of a batch: it has no custom_id"),
        (lambda lines: [*lines, '{"custom_id": "x", '], "the line is no JSON"),
    ],
)
def test_faulty_results_files_are_named(batch: Batch, spoil: Any, told: str) -> None:
    path = batch.results("results.jsonl")
    path.write_text("\n".join(spoil(path.read_text().splitlines())))
    with pytest.raises(InputError, match=rf"results\.jsonl, line 7: {told}"):
        batch.run(path)


def test_a_dry_run_asks_nobody(make: Maker, server: Server) -> None:
    pairs = [bare(n, f"answer {n}") for n in range(3)]
    made = RECIPE.run(pairs, make.settings(), RecipeContext(0, make.folder, dry=True))
    assert server.requests == []
    assert rejected(made) == {"p0": "answer 1", "p1": "answer 2", "p2": "answer 0"}


@pytest.mark.parametrize(
    "settings",
    [
        {"max_cost": 1},
        {"errors": ["sidee"]},
        {"mode": "batch"},
        {"batch_file": "a.jsonl"},
        {"results_file": "a.jsonl"},
        {"length_ratio": (1.5, 2)},
        {"extra": {"seed": 1}},
        {"endpoint": "127.0.0.1"},
        {"api_key": KEY},
    ],
)
def test_wrong_settings_fail_and_are_not_repeated(make: Maker, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        make(**settings)
    assert KEY not in str(caught.value)


TASK = Task(
    "Where is it?", "In the left upper lobe.", "side", "Write the answer again with one fact wrong", (0.5, 2)
)
GOOD = {
    "rejected": "In the right upper lobe.",
    "changed_from": "left",
    "changed_to": "right",
    "error": "side",
}


def test_a_sound_reply_passes_with_a_code_fence_too() -> None:
    for text in (json.dumps(GOOD), f"```json\n{json.dumps(GOOD, indent=1)}\n```"):
        assert read_written(text, "stop", TASK).rejected == "In the right upper lobe."


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rejected": "in the LEFT upper lobe", "changed_to": "upper"}, "says the same"),
        ({"rejected": "  "}, "rejected is empty"),
        ({"rejected": 3}, "rejected: Input should be a valid string"),
        ({"error": "size"}, "error is not 'side'"),
        ({"changed_from": "middle"}, "changed_from does not stand"),
        ({"changed_from": "lef"}, "changed_from does not stand"),
        ({"changed_to": "lower"}, "changed_to does not stand"),
        ({"changed_from": "upper", "changed_to": "Upper."}, "are the same"),
        ({"rejected": "right " * 13}, "far more"),
        ({"rejected": "<image> In the right upper lobe."}, "rejected holds <image>"),
        ({"rejected": "Right. The wrong answer."}, "repeats the instruction: 'wrong answer'"),
        (
            {"rejected": "right, write the answer again with one fact wrong"},
            "repeats the instruction: 'write the answer again with one fact'",
        ),
    ],
)
def test_faulty_replies_are_named(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(FaultyReplyError, match=told):
        read_written(json.dumps({**GOOD, **changes}), "stop", TASK)


@pytest.mark.parametrize(
    ("text", "finish", "told"),
    [
        ('{"rejected": "In', "length", "cut short"),
        ("[]", "stop", "the object"),
        ("{}", "stop", "rejected: Field required"),
        ("[" * 100_000, "stop", "no JSON"),
    ],
)
def test_replies_of_another_form_are_named(text: str, finish: str, told: str) -> None:
    with pytest.raises(FaultyReplyError, match=told):
        read_written(text, finish, TASK)


def test_far_too_short_a_response_is_named() -> None:
    task = TASK._replace(chosen="There is a mass in the left upper lobe with spiculated margins")
    reply = {"rejected": "right", "changed_from": "left", "changed_to": "right", "error": "side"}
    with pytest.raises(FaultyReplyError, match="far fewer"):
        read_written(json.dumps(reply), "stop", task)


def test_words_of_the_question_are_no_leak() -> None:
    task = TASK._replace(question="Which is the wrong answer?")
    reply = {**GOOD, "rejected": "In the right lobe, wrong answer."}
    assert read_written(json.dumps(reply), "stop", task).changed_to == "right"


def written(chosen_words: str, rejected_text: str, rejected_words: str) -> Written:
    return Written(rejected=rejected_text, changed_from=chosen_words, changed_to=rejected_words, error="side")


def test_a_change_is_found_by_what_stands_before_it() -> None:
    made = written("left", "In the right lobe, right of the hilum", "right")
    change = find_change("In the left lobe, right of the hilum", made)
    assert change == Change("side", 7, 12, "left", "right")


def test_a_change_that_may_be_at_several_places_is_not_guessed() -> None:
    made = written("left", "Right, that is the right lobe", "right")
    assert find_change("It is the left lobe", made) is None


def test_a_change_keeps_the_words_as_they_stand() -> None:
    made = written("no  EFFUSION.", "There is an Effusion", "an effusion")
    assert find_change("There is no effusion", made) == Change("side", 9, 20, "no effusion", "an Effusion")


@pytest.mark.parametrize("name", list(error_kinds()))
def test_the_examples_in_the_prompts_pass_our_own_checks(name: str) -> None:
    kind = error_kinds()[name]
    example = dict(kind.example)
    task = Task(example.pop("question"), example.pop("chosen"), name, "", (0.5, 2.0))
    made = read_written(json.dumps({**example, "error": name}), "stop", task)
    change = find_change(task.chosen, made)
    assert change is not None
    assert made.rejected[change.start : change.end] == change.now


@pytest.mark.parametrize(
    ("kind", "question", "chosen", "expected"),
    [
        ("pos", "Where?", "left lung", {"side"}),
        ("position", "Where?", "in the hilum", {"side", "position"}),
        ("presence", "Is there a mass?", "Yes", {"presence"}),
        ("color", "What?", "white", {"colour"}),
        (None, "How large is it?", "2 cm", {"size", "count"}),
        ("attrib", "How severe?", "mild", {"severity"}),
        ("unheard of", "Is the tube in place?", "unsure", {"device"}),
    ],
)
def test_the_error_follows_the_question(
    kind: str | None, question: str, chosen: str, expected: set[str]
) -> None:
    pairs = [Pair(f"p{n}", question, {}, {ResponseRole.CHOSEN: chosen}, kind=kind) for n in range(40)]
    assert {choose_error(pair, tuple(error_kinds()), 0) for pair in pairs} == expected


def test_errors_may_be_limited(make: Maker) -> None:
    made = make(errors=["size"])
    assert {change.error for pair in made for change in pair.changes} == {"size"}
