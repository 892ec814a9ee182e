import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.generation.servers import Body, Handler, Server, completion, serving
from typer.testing import CliRunner, Result

from medpref.cli import app
from medpref.errors import InputError, RunError
from medpref.files import read_json, read_jsonl, write_json, write_jsonl

pytest.importorskip("httpx2")
runner = CliRunner()
KEY = "sk-very-secret-5521"


pytestmark = pytest.mark.usefixtures("short_waits")


def labels_for(body: Body, label: str = "Entailment") -> str:
    """Return a good reply: a label for each fact that the request lists."""
    user = body["messages"][1]["content"]
    count = int(re.search(r"(\d+) facts:", user)[1])  # type: ignore[index]
    return json.dumps({"labels": [f"{n}. {label}" for n in range(1, count + 1)]})


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:

        def say(handler: Handler, body: Body) -> bool:
            handler.reply(200, completion(labels_for(body)))
            return True

        running.fault = say
        yield running


class Desk:
    """A folder with facts and responses, and the commands on them."""

    def __init__(self, folder: Path, count: int = 6) -> None:
        self.folder = folder
        self.facts = folder / "facts.json"
        self.replies = folder / "replies.jsonl"
        write_json(self.facts, [{"id": n, "atomic_facts": ["a", "b"]} for n in range(count)])
        write_jsonl(folder / "responses.jsonl", [{"id": n, "response": f"Text {n}."} for n in range(count)])

    def judge(self, address: str, *more: str) -> Result:
        return runner.invoke(
            app,
            [
                *("facts", "judge", "--judge", "openai", "--model", "tiny", "--endpoint", address),
                *("--facts", str(self.facts), "--responses", str(self.folder / "responses.jsonl")),
                *(
                    "--out",
                    str(self.replies),
                    "--set",
                    f"cache={self.folder / 'cache'}",
                    "--set",
                    "retries=1",
                ),
                *more,
            ],
        )

    def score(self) -> dict[str, Any]:
        out = self.folder / "out.json"
        files = ["--facts", str(self.facts), "--replies", str(self.replies), "--out", str(out)]
        assert runner.invoke(app, ["facts", "score", *files]).exit_code == 0
        document: dict[str, Any] = read_json(out)
        return document


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_endpoint_judges_and_the_replies_are_scored(server: Server, desk: Desk) -> None:
    result = desk.judge(server.address)
    assert result.exit_code == 0, result.output
    assert "6 of 6 samples have labels" in result.output
    rows = [row for _, row in read_jsonl(desk.replies)]
    assert [row["custom_id"] for row in rows] == [str(n) for n in range(6)]
    # Whatever form the model chose: the file has the study's.
    content = rows[0]["response"]["body"]["choices"][0]["message"]["content"]
    assert content == '["1. Entailment", "2. Entailment"]'
    document = desk.score()
    assert (document["comp"], document["hall"], document["n"], document["unscored"]) == (1, 0, 6, 0)


def test_text_alone_is_sent_greedily(server: Server, desk: Desk) -> None:
    desk.judge(server.address)
    request = server.requests[0]
    assert request["temperature"] == 0
    assert all(isinstance(message["content"], str) for message in request["messages"])
    assert "image_url" not in json.dumps(server.requests)


def test_a_model_without_a_system_role_is_told_by_the_user(server: Server, desk: Desk) -> None:
    server.fault = lambda handler, body: handler.reply(200, completion('["Entailment", "Neutral"]')) is None
    assert desk.judge(server.address, "--set", "system_role=false").exit_code == 0
    (message,) = server.requests[0]["messages"]
    assert message["role"] == "user"
    assert "Contradiction:" in message["content"]
    assert "2 facts:" in message["content"]


def test_replies_are_cached_beyond_the_file(server: Server, desk: Desk) -> None:
    desk.judge(server.address)
    before = desk.replies.read_bytes()
    desk.replies.unlink()
    desk.judge(server.address)
    assert len(server.requests) == 6
    assert desk.replies.read_bytes() == before


def test_an_unreadable_reply_is_asked_for_again_with_its_fault(server: Server, desk: Desk) -> None:
    def sloppy(handler: Handler, body: Body) -> bool:
        first = len(body["messages"]) == 2
        handler.reply(200, completion('["1. Entailment"]' if first else labels_for(body, "Neutral")))
        return True

    server.fault = sloppy
    assert desk.judge(server.address).exit_code == 0
    assert len(server.requests) == 12
    assert "1 labels for 2 facts" in server.requests[-1]["messages"][-1]["content"]
    assert desk.score()["comp"] == 0


def test_what_stays_unreadable_is_unscored_and_counted(server: Server, desk: Desk) -> None:
    def mute(handler: Handler, body: Body) -> bool:
        good = "Text 0." in body["messages"][1]["content"]
        handler.reply(200, completion(labels_for(body) if good else "I would rather not."))
        return True

    server.fault = mute
    result = desk.judge(server.address, "--set", "repairs=1")
    assert result.exit_code == 1
    assert "1 of 6 samples have labels" in result.output
    document = desk.score()
    assert (document["comp"], document["n"], document["unscored"]) == (1, 1, 5)


def test_a_server_that_breaks_down_costs_nothing_that_came(server: Server, desk: Desk) -> None:
    good = server.fault

    def dying(handler: Handler, body: Body) -> bool:
        if len(server.requests) > 3:
            handler.reply(500, {"error": {"message": "down"}})
            return True
        return good(handler, body)

    server.fault = dying
    result = desk.judge(server.address, "--set", "concurrency=1", "--set", "retries=0")
    assert result.exit_code == 1
    came = len([row for _, row in read_jsonl(desk.replies) if row["response"]])
    assert came == 3
    server.fault = good
    asked = len(server.requests)
    assert desk.judge(server.address).exit_code == 0
    assert len(server.requests) == asked + 3


def test_the_key_is_in_no_file(server: Server, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    desk.judge(server.address, "--set", "key_variable=JUDGE_KEY")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    for path in desk.folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def answers(batch: Path, results: Path, keep: Callable[[int], bool], code: str = "batch_expired") -> None:
    rows = []
    for number, (_, request) in enumerate(read_jsonl(batch)):
        body = completion(labels_for(request["body"]))
        done = {
            "custom_id": request["custom_id"],
            "response": {"status_code": 200, "body": body},
            "error": None,
        }
        expired = {"custom_id": request["custom_id"], "response": None, "error": {"code": code}}
        rows.append(done if keep(number) else expired)
    write_jsonl(results, reversed(rows))


def test_an_interrupted_batch_is_resumed(desk: Desk) -> None:
    address = "http://127.0.0.1:9/v1"  # Nothing is sent there.
    batch, first, second = (desk.folder / name for name in ("batch.jsonl", "r1.jsonl", "r2.jsonl"))
    waiting = desk.judge(address, "--batch-file", str(batch))
    assert isinstance(waiting.exception, RunError)
    assert "6 requests are written" in str(waiting.exception)
    answers(batch, first, lambda number: number < 2)
    waiting = desk.judge(address, "--batch-file", str(batch), "--results-file", str(first))
    assert "4 requests are written" in str(waiting.exception)
    assert len(list(read_jsonl(batch))) == 4
    # What came stands in the replies already.
    assert len(list(read_jsonl(desk.replies))) == 2
    assert desk.score()["unscored"] == 4
    answers(batch, second, lambda _: True)
    more = ["--batch-file", str(batch), "--results-file", str(first), "--results-file", str(second)]
    assert desk.judge(address, *more).exit_code == 0
    assert (desk.score()["n"], desk.score()["unscored"]) == (6, 0)


def test_facts_are_extracted_by_a_model_with_the_rules_behind_it(server: Server, tmp_path: Path) -> None:
    def split(handler: Handler, body: Body) -> bool:
        good = "enlarged" in body["messages"][1]["content"]
        handler.reply(200, completion('{"facts": ["The heart is enlarged.", " "]}' if good else "No."))
        return True

    server.fault = split
    texts, out = tmp_path / "gold.jsonl", tmp_path / "facts.json"
    write_jsonl(
        texts,
        [{"id": 1, "report": "Enlarged heart: enlarged."}, {"id": 2, "report": "No mass, cyst or clot."}],
    )
    command = [
        *("facts", "extract", "--by", "openai", "--texts", str(texts), "--out", str(out), "--model", "tiny"),
        *("--endpoint", server.address, "--set", f"cache={tmp_path / 'cache'}", "--set", "repairs=0"),
    ]
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert [row["atomic_facts"] for row in read_json(out)] == [["The heart is enlarged."], []]
    assert runner.invoke(app, [*command, "--set", "fallback=true"]).exit_code == 0
    rows = read_json(out)
    assert rows[1]["atomic_facts"] == ["No mass.", "No cyst.", "No clot."]
    assert (rows[0]["by"], rows[1]["by"]) == ("tiny", "rules")


def test_a_judge_without_an_address_says_so(desk: Desk) -> None:
    result = runner.invoke(
        app,
        [
            *("facts", "judge", "--judge", "openai", "--facts", str(desk.facts)),
            *("--responses", str(desk.folder / "responses.jsonl"), "--out", str(desk.replies)),
        ],
    )
    assert isinstance(result.exception, InputError)
    assert "'endpoint' is missing" in str(result.exception)


@pytest.fixture
def real_server(tmp_path: Path, make_backbone: Callable[..., Any]) -> Iterator[tuple[str, str]]:
    """``transformers serve`` on loopback, with a tiny model of random weights."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("openai")
    folder = tmp_path / "model"
    make_backbone("qwen2", max_length=2048).save(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1"]
    log = (tmp_path / "serve.log").open("w")
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu"],
        stdout=log,
        stderr=subprocess.STDOUT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", process, tmp_path / "serve.log")
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait_for(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.mark.slow
def test_a_real_server_with_a_random_model_leaves_samples_unscored(
    real_server: tuple[str, str], tmp_path: Path
) -> None:
    address, model = real_server
    desk = Desk(tmp_path, 3)
    more = ["--set", "max_tokens=12", "--set", "repairs=0", "--model", model, "--set", "system_role=false"]
    result = desk.judge(address, *more)
    assert result.exit_code == 1, result.output
    assert "0 of 3 samples have labels" in result.output
    # The server did answer: what it said is in the file, and gives no labels.
    contents = [
        row["response"]["body"]["choices"][0]["message"]["content"] for _, row in read_jsonl(desk.replies)
    ]
    assert len(contents) == 3
    document = desk.score()
    assert (document["comp"], document["n"], document["unscored"]) == (None, 0, 3)
    before = desk.replies.read_bytes()
    again = desk.judge(address, *more)
    assert "asked 0, kept 3" in again.output
    assert desk.replies.read_bytes() == before
