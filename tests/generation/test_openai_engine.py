import base64
import io
import os
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tests.conftest import ImageMaker
from tests.generation.engines import make_questions
from tests.generation.servers import Body, Fault, Handler, Server, completion, last_text, serving

from medpref.backbones.sampling import GREEDY, Sampling
from medpref.endpoints import endpoint
from medpref.endpoints.endpoint import check_address, retry_after, scrub
from medpref.errors import InputError, RunError
from medpref.generation.engine import Engine, engines
from medpref.generation.question import Answer, Failure, Question, question_seed
from medpref.generation.run import failed_path, generate_answers
from medpref.pairs.images import open_image
from medpref.pairs.pair import Turn

pytest.importorskip("httpx2")

KEY = "sk-very-secret-7391"
TEXTS = [Question(f"q{number}", f"Question {number}?") for number in range(12)]


pytestmark = pytest.mark.usefixtures("short_waits")


@pytest.fixture
def image(make_image: ImageMaker) -> Path:
    return make_image("a.png", 1)


def make(server: Server | str, **settings: Any) -> Engine:
    address = server if isinstance(server, str) else server.address
    return engines["openai"].make(address, {"model": "tiny", "retries": 2, **settings})


def ask(
    engine: Engine, questions: list[Question] = TEXTS, sampling: Sampling = GREEDY
) -> dict[str, Answer | Failure]:
    made = list(engine.answer(questions, sampling))
    assert len({each.id for each in made}) == len(made) == len(questions)
    return {each.id: each for each in made}


def once(fault: Fault, text: str = "Question 3?") -> Fault:
    """Let the first request with this text go wrong, and all others be answered."""
    seen = threading.Event()

    def only(handler: Handler, body: Body) -> bool:
        if last_text(body) != text or seen.is_set():
            return False
        seen.set()
        return fault(handler, body)

    return only


def always(fault: Fault, text: str = "Question 3?") -> Fault:
    return lambda handler, body: last_text(body) == text and fault(handler, body)


def status(code: int, value: Any = None, **headers: str) -> Fault:
    def fault(handler: Handler, _: Body) -> bool:
        handler.reply(code, {"error": {"message": "busy"}} if value is None else value, **headers)
        return True

    return fault


def cut(handler: Handler, _: Body) -> bool:
    handler.cut()
    return True


def test_all_questions_are_answered(server: Server) -> None:
    made = ask(make(server))
    assert made == {q.id: Answer(q.id, q.prompt[::-1], "stop", 5) for q in TEXTS}


def test_the_request_says_what_was_asked_for(server: Server) -> None:
    sampling = Sampling(max_new_tokens=9, temperature=0.7, top_p=0.9, top_k=5, seed=3)
    extra = {"repetition_penalty": 1.0}
    ask(make(server, extra=extra), TEXTS[:1], sampling)
    assert server.requests == [
        {
            "model": "tiny",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Question 0?"}]}],
            "max_tokens": 9,
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "seed": question_seed(sampling, TEXTS[0]) % 2**31,
            "repetition_penalty": 1.0,
        }
    ]


def test_a_greedy_request_says_no_more_than_it_has_to(server: Server) -> None:
    ask(make(server, limit_name="max_completion_tokens"), TEXTS[:1])
    assert server.requests[0].keys() == {"model", "messages", "max_completion_tokens", "temperature"}
    assert server.requests[0]["temperature"] == 0


def test_each_question_has_its_own_seed(server: Server) -> None:
    ask(make(server), sampling=Sampling(temperature=1.0))
    assert len({request["seed"] for request in server.requests}) == len(TEXTS)


def test_no_more_questions_are_asked_at_a_time_than_the_settings_say(server: Server) -> None:
    server.pause = 0.05
    ask(make(server, batch=3))
    assert 1 < server.most <= 3


def pixels(url: str) -> Any:
    kind, _, data = url.partition(";base64,")
    assert kind == "data:image/png"
    opened = Image.open(io.BytesIO(base64.b64decode(data)))
    assert not opened.info, "metadata stays at home"
    return np.asarray(opened)


def test_images_stand_where_their_placeholders_do(server: Server, make_image: ImageMaker) -> None:
    first, second = make_image("1.png", 1), make_image("2.jpg", 2)
    history = (Turn("<image>\nBefore?", "Yes."),)
    asked = Question("q", "Is <image>\nlike this?", (first, second), history)
    ask(make(server, allow_images=True), [asked])
    before, said, now = server.requests[0]["messages"]
    assert [part["type"] for part in before["content"]] == ["image_url", "text"]
    assert before["content"][1]["text"] == "Before?"
    assert said == {"role": "assistant", "content": "Yes."}
    assert [part["type"] for part in now["content"]] == ["text", "image_url", "text"]
    assert now["content"][2]["text"] == "like this?"
    shown = [before["content"][0], now["content"][1]]
    for part, path in zip(shown, (first, second), strict=True):
        assert (pixels(part["image_url"]["url"]) == np.asarray(open_image(path))).all()


def test_what_an_image_file_says_beside_its_pixels_is_not_sent(server: Server, tmp_path: Path) -> None:
    note = PngInfo()
    note.add_text("PatientName", "Doe")
    Image.new("L", (8, 8), 77).save(tmp_path / "a.png", pnginfo=note)
    exif = Image.Exif()
    exif[0x010E] = "Doe"
    Image.new("RGB", (8, 8), 9).save(tmp_path / "b.jpg", exif=exif)
    questions = [Question(name, "<image>\nWhere?", (tmp_path / name,)) for name in ("a.png", "b.jpg")]
    ask(make(server, allow_images=True), questions)
    for request in server.requests:
        url = request["messages"][0]["content"][0]["image_url"]["url"]
        assert pixels(url).shape[:2] == (8, 8)
        assert b"Doe" not in base64.b64decode(url.partition(";base64,")[2])


def test_no_image_is_sent_unless_the_user_says_so(server: Server, image: Path) -> None:
    with pytest.raises(InputError, match="allow-images"):
        ask(make(server), [*TEXTS, Question("i", "<image>\nWhere?", (image,))])
    assert server.requests == []


def test_a_bad_question_fails_by_itself(server: Server, tmp_path: Path) -> None:
    bad = [Question("none", "<image>\nWhere?", (tmp_path / "none.png",)), Question("two", "<image>\nWhere?")]
    made = ask(make(server, allow_images=True), [*bad, *TEXTS])
    assert isinstance(made["none"], Failure)
    assert "missing" in made["none"].reason
    assert made["two"] == Failure("two", "1 <image> in the prompt for 0 images")
    assert len(server.requests) == len(TEXTS)


@pytest.mark.parametrize(
    "fault",
    [
        status(429),
        status(500),
        status(502, b"<html>Bad gateway</html>"),
        status(503, b""),
        status(408),
        status(200, b'{"choices": [{"mess'),
        status(200, b"\xff\xfe"),
        cut,
    ],
)
def test_what_waiting_may_mend_is_asked_again(server: Server, fault: Fault) -> None:
    server.fault = once(fault)
    made = ask(make(server))
    assert made["q3"] == Answer("q3", "?3 noitseuQ", "stop", 5)
    assert len(server.requests) == len(TEXTS) + 1
    again = [request for request in server.requests if last_text(request) == "Question 3?"]
    assert again[0] == again[1]


@pytest.mark.parametrize(
    ("fault", "told"),
    [(status(500), "status 500"), (status(429), "status 429"), (cut, "the connection broke")],
)
def test_what_stays_wrong_is_a_failure_after_all_retries(server: Server, fault: Fault, told: str) -> None:
    server.fault = always(fault)
    made = ask(make(server))
    failure = made.pop("q3")
    assert isinstance(failure, Failure)
    assert told in failure.reason
    assert all(isinstance(answer, Answer) for answer in made.values())
    assert len(server.requests) == len(TEXTS) + 2


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (status(400, {"error": {"message": "this prompt is too long"}}), "this prompt is too long"),
        (status(413), "status 413"),
        (status(422), "status 422"),
        (status(200, []), "no JSON object"),
        (status(200, {}), "no choices"),
        (status(200, {"choices": []}), "0 choices"),
        (status(200, {"choices": [1]}), "choices"),
        (status(200, {"choices": completion("a")["choices"] * 2}), "2 choices"),
        (status(200, completion(None)), "no text"),
        (status(200, completion(["a"])), "no text"),
        (status(200, completion("a", "content_filter")), "content_filter"),
        (status(200, completion("a", None)), "None"),
        (status(200, {"choices": [{"message": "a", "finish_reason": "stop"}]}), "no text"),
    ],
)
def test_what_waiting_does_not_mend_fails_at_once(server: Server, fault: Fault, told: str) -> None:
    server.fault = always(fault)
    failure = ask(make(server))["q3"]
    assert isinstance(failure, Failure)
    assert told in failure.reason
    assert len(server.requests) == len(TEXTS)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (completion(" Left. \n", "length"), Answer("q", "Left.", "length", 5)),
        (completion("", usage=None), Answer("q", "", "stop", None)),
        (completion("a", usage={"completion_tokens": "many"}), Answer("q", "a", "stop", None)),
        (completion("half \ud83d of one"), Answer("q", "half \ufffd of one", "stop", 5)),
    ],
)
def test_odd_but_sound_responses(server: Server, body: Body, expected: Answer, tmp_path: Path) -> None:
    server.fault = status(200, body)
    path = tmp_path / "answers.jsonl"
    outcome = generate_answers(make(server), [Question("q", "What?")], path, GREEDY)
    assert outcome.answers == {"q": expected}
    assert generate_answers(make(server), [Question("q", "What?")], path, GREEDY) == outcome


def test_retry_after_is_honoured(server: Server) -> None:
    server.fault = once(status(429, retry_after="0.4"))
    ask(make(server))
    first, second = (
        moment
        for moment, request in zip(server.times, server.requests, strict=True)
        if last_text(request) == "Question 3?"
    )
    assert second - first >= 0.4


def test_an_endpoint_that_asks_for_too_long_a_wait_is_not_waited_for(server: Server) -> None:
    server.fault = once(status(503, retry_after="3600"))
    failure = ask(make(server))["q3"]
    assert isinstance(failure, Failure)
    assert "asked to wait 3600 s" in failure.reason
    assert len(server.requests) == len(TEXTS)


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    seconds = retry_after(later)
    assert seconds is not None
    assert 90 < seconds <= 100
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert retry_after("7") == 7
    assert [retry_after(odd) for odd in (None, "", "soon", "nan", "inf")] == [None] * 5
    assert retry_after("-3") == 0


def test_an_answer_that_takes_too_long_is_given_up(server: Server) -> None:
    over = threading.Event()

    def slow(handler: Handler, body: Body) -> bool:
        over.wait(20)
        return True

    server.fault = always(slow)
    try:
        made = ask(make(server, timeout=0.2, retries=1))
    finally:
        over.set()
    assert made.pop("q3") == Failure("q3", "no answer within 0.2 s")
    assert all(isinstance(answer, Answer) for answer in made.values())
    assert len(server.requests) == len(TEXTS) + 1


def test_an_endpoint_that_is_not_there_ends_the_run() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(RunError, match=r"no connection to 127\.0\.0\.1"):
        ask(make(address))


def test_an_endpoint_that_always_fails_is_soon_left_alone(server: Server) -> None:
    server.fault = status(500)
    many = [Question(f"q{number}", "Why?") for number in range(100)]
    with pytest.raises(RunError, match="status 500"):
        ask(make(server, batch=2, retries=0), many)
    assert 10 <= len(server.requests) <= 12


def test_an_endpoint_that_goes_away_leaves_what_it_answered(server: Server, tmp_path: Path) -> None:
    def fault(handler: Handler, body: Body) -> bool:
        return len(server.requests) > 5 and status(401)(handler, body)

    server.fault = fault
    path = tmp_path / "answers.jsonl"
    with pytest.raises(InputError, match="status 401"):
        generate_answers(make(server, batch=1), TEXTS, path, GREEDY)
    assert len(path.read_text().splitlines()) == 1 + 5
    server.fault = lambda *_: False
    outcome = generate_answers(make(server), TEXTS, path, GREEDY)
    assert len(outcome.answers) == len(TEXTS)
    assert len(server.requests) == 6 + 7
    assert not failed_path(path).exists()


@pytest.mark.parametrize("code", [401, 403, 404])
def test_what_no_question_can_mend_ends_the_run(server: Server, code: int) -> None:
    server.fault = status(code)
    with pytest.raises(InputError, match=f"status {code}"):
        ask(make(server, batch=1))
    assert len(server.requests) == 1


def test_a_redirect_is_refused(server: Server, image: Path) -> None:
    with serving() as other:
        for code in (301, 302, 307, 308):
            server.fault = status(code, b"", location=f"{other.address}/chat/completions?token=x")
            with pytest.raises(InputError, match="another address") as caught:
                ask(make(server, allow_images=True), [Question("i", "<image>\nWhere?", (image,))])
            assert "token" not in str(caught.value)
        assert other.requests == []


def test_the_key_is_sent_and_told_nowhere(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, image: Path
) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)

    def echo(handler: Handler, body: Body) -> bool:
        # As servers do that repeat the request in their errors.
        said = {"detail": [{"input": body, "authorization": handler.headers["authorization"]}]}
        return status(422, said)(handler, body)

    server.fault = always(echo, "Where?")
    path = tmp_path / "answers.jsonl"
    engine = make(server, key_variable="SOME_KEY", allow_images=True)
    questions = [*TEXTS, Question("i", "<image>\nWhere?", (image,))]
    outcome = generate_answers(engine, questions, path, GREEDY)
    assert all(headers["authorization"] == f"Bearer {KEY}" for headers in server.headers)
    (failure,) = outcome.failures
    assert "status 422" in failure.reason
    assert len(failure.reason) < 400
    written = path.read_text() + failed_path(path).read_text() + repr(engine) + repr(vars(engine))
    assert KEY not in written
    assert base64.b64encode(image.read_bytes()).decode()[:60] not in written
    assert "base64" not in written


def test_no_key_is_sent_unless_it_is_named(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(make(server))
    assert not any("authorization" in headers for headers in server.headers)


@pytest.mark.parametrize("value", [None, "", "  ", "a\nb", "ключ"])
def test_a_key_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("SOME_KEY", value)
    with pytest.raises(InputError, match="SOME_KEY"):
        make("http://127.0.0.1:1/v1", key_variable="SOME_KEY")


def test_proxies_of_the_environment_are_used_on_request_alone(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    ask(make(server))
    with pytest.raises(RunError, match="no connection"):
        ask(make(server, trust_env=True, retries=0))


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:8000",
        "ftp://host/v1",
        "http://",
        "http://[::1",
        "http://host:port/v1",
        f"http://user:{KEY}@host/v1",
        f"http://{KEY}@host/v1",
        f"http://host/v1?key={KEY}",
        f"http://host/v1#{KEY}",
    ],
)
def test_addresses_that_are_none_or_hold_secrets_are_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        make(address)
    assert KEY not in str(caught.value)


def test_a_slash_at_the_end_of_an_address_does_not_matter() -> None:
    assert check_address("https://host/v1/") == "https://host/v1"


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": None}, "model"),
        ({"modle": "a"}, "Did you mean 'model'"),
        ({"extra": {"temperature": 1, "seed": 2}}, "medpref sets seed, temperature itself"),
        ({"batch": 0}, "batch"),
        ({"key": KEY}, "no setting 'key'"),
        ({"timeout": KEY}, "timeout"),
    ],
)
def test_wrong_settings_are_named_and_not_repeated(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        engines["openai"].make("http://127.0.0.1:1/v1", {"model": "tiny", **settings})
    assert KEY not in str(caught.value)


def test_a_model_must_be_named() -> None:
    with pytest.raises(InputError, match="'model' is missing"):
        engines["openai"].make("http://127.0.0.1:1/v1", {})


def test_a_missing_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(endpoint, "import_module", missing)
    with pytest.raises(InputError, match=r"medpref\[openai\]"):
        make("http://127.0.0.1:1/v1")


def test_scrubbed_words_hold_neither_key_nor_data() -> None:
    data = base64.b64encode(os.urandom(900)).decode()
    text = f"bad url data:image/png;base64,{data}\n\n with {KEY} and {data}"
    assert scrub(text, KEY) == "bad url (an image) with *** and (data)"
    assert len(scrub("word " * 1000, None)) == 301


def test_a_run_that_is_given_up_ends_its_requests(server: Server) -> None:
    over = threading.Event()
    server.fault = lambda handler, body: last_text(body) != "Question 0?" and not over.wait(20)
    try:
        running = make(server, batch=4).answer(TEXTS, GREEDY)
        assert next(running).id == "q0"
        assert isinstance(running, Iterator)
        running.close()  # type: ignore[attr-defined]
    finally:
        over.set()
    assert len(server.requests) <= 5


def test_mixed_questions_come_back_under_their_own_ids(server: Server, make_image: ImageMaker) -> None:
    questions = make_questions([make_image("a.png", 1), make_image("b.png", 2)])
    made = ask(make(server, allow_images=True, batch=5), questions)
    for question in questions:
        text = question.prompt.replace("<image>\n", "")
        assert made[question.id] == Answer(question.id, text[::-1], "stop", 5)
