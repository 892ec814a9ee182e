"""The server: nothing without a token, nothing across sites, nothing beyond the plan, nothing as HTML."""

import json
import re
import socket
import sys
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient
from typer.testing import CliRunner

from medpref.cli import app as command_line
from medpref.errors import InputError, RunError
from medpref.review.app import PAGE, Review, make_app
from medpref.review.guard import LARGEST_BODY, Guard
from medpref.review.opening import Opened
from medpref.review.plan import Item
from medpref.review.rate import RateLimit
from medpref.review.serve import ServerSettings, check_binding, hosts, listen, require_server

HOST = "127.0.0.1:8765"
WRONG = {"verdict": "wrong", "errors": ["symptom"], "harm": "mild", "comment": "", "opened": []}


def client_of(run: Path, opened: Opened, *, burst: int = 10_000, secure: bool = False) -> TestClient:
    review = Review(run, *opened, "session", secure, RateLimit(5, 0.001))
    guard = Guard(make_app(review, lambda: None), [HOST], "http", RateLimit(burst, 0.001))
    return TestClient(guard, base_url=f"http://{HOST}", raise_server_exceptions=False)


@pytest.fixture
def client(run: Path, opened: Opened) -> Iterator[TestClient]:
    """A browser that nobody is signed in with."""
    with client_of(run, opened) as found:
        yield found


@pytest.fixture
def ada(client: TestClient, opened: Opened) -> TestClient:
    """A browser that Ada is signed in with."""
    answer = client.post("/api/session", json={"token": opened.access.renew("Ada")})
    assert answer.status_code == 200
    client.headers["x-csrf-token"] = answer.json()["csrf"]
    return client


def saving(judgement: dict[str, Any], base: int = 0) -> dict[str, Any]:
    return {"save": str(uuid.uuid4()), "base": base, "judgement": judgement}


def paths(item: Item) -> list[tuple[str, str]]:
    base = f"/api/items/{item.id}"
    reads = [("GET", base + end) for end in ("", "/images/0", "/region", "/reference")]
    return [*reads, ("PUT", f"{base}/judgement"), ("GET", "/api/session"), ("DELETE", "/api/session")]


def test_without_a_token_there_is_the_page_and_nothing_of_the_study(
    client: TestClient, opened: Opened, answer: Item
) -> None:
    for path in PAGE:
        assert client.get(path).status_code == 200
    for method, path in paths(answer):
        assert client.request(method, path, json=saving(WRONG)).status_code == 401, path
    assert client.post("/api/session", json={"token": "guess"}).status_code == 401
    client.cookies.set("session", "guess")
    assert client.get("/api/session").status_code == 401
    for path in ("/docs", "/openapi.json", "/review.sqlite3", "/api/items"):
        assert client.get(path).status_code == 404


def test_the_session_cookie_is_for_the_server_alone(run: Path, opened: Opened) -> None:
    for secure in (False, True):
        with client_of(run, opened, secure=secure) as client:
            answer = client.post("/api/session", json={"token": opened.access.renew("Ada")})
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert ("secure" in cookie) == secure
        assert "max-age" not in cookie


def test_reviewers_see_nothing_that_tells_methods_samples_or_files(ada: TestClient, opened: Opened) -> None:
    about = ada.get("/api/session").text
    said = about + "".join(ada.get(f"/api/items/{one['id']}").text for one in json.loads(about)["items"])
    for question in opened.store.plan.questions:
        assert question.sample not in said
        assert question.images[0] not in said
    for word in ("sft", "dpo", "tiny", "gold", "stages", ".png"):
        assert word not in said


def test_a_change_needs_the_sessions_own_word(ada: TestClient, answer: Item) -> None:
    path = f"/api/items/{answer.id}/judgement"
    for word in ("", "another"):
        refused = ada.put(path, json=saving(WRONG), headers={"x-csrf-token": word})
        assert refused.status_code == 403
    assert ada.put(path, json=saving(WRONG)).json()["revision"] == 1
    assert ada.delete("/api/session", headers={"x-csrf-token": ""}).status_code == 403
    assert ada.delete("/api/session").status_code == 204
    assert ada.get("/api/session").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1:1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
    ],
)
def test_other_sites_and_other_names_are_refused(ada: TestClient, headers: dict[str, str]) -> None:
    assert ada.get("/api/session", headers=headers).status_code in (403, 421)
    assert ada.get("/", headers=headers).status_code in (403, 421)


def test_a_link_from_elsewhere_leads_to_the_page_and_no_further(ada: TestClient) -> None:
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert ada.get("/", headers=visit).status_code == 200
    assert ada.get("/api/session", headers=visit).status_code == 403


def test_every_answer_forbids_scripts_frames_and_caches(ada: TestClient, answer: Item) -> None:
    for path in ("/", "/main.js", f"/api/items/{answer.id}/images/0", "/nothing"):
        headers = ada.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    page = ada.get("/").text
    assert "<script>" not in page
    assert "http" not in page


def test_only_the_plans_images_are_served_and_without_what_files_tell_beside_pixels(
    ada: TestClient, run: Path, answer: Item
) -> None:
    path = run / answer.question.images[0]
    pixels = np.asarray(Image.open(path).convert("RGB"))
    note = PngImagePlugin.PngInfo()
    note.add_text("PatientName", "Doe^Jane")
    Image.fromarray(pixels).save(path, pnginfo=note)
    served = ada.get(f"/api/items/{answer.id}/images/0")
    assert served.headers["content-type"] == "image/png"
    assert b"Doe" not in served.content
    shown = np.asarray(Image.open(BytesIO(served.content)).convert("RGB"))
    assert np.array_equal(shown, pixels)
    for number in ("1", "-1", "..%2f..%2frun.json", "0.png", "99999999999999999999"):
        assert ada.get(f"/api/items/{answer.id}/images/{number}").status_code in (404, 422), number
    for ident in ("..", "%2e%2e", "a" * 5000, "..%2f..%2frun.json", "'"):
        assert ada.get(f"/api/items/{ident}/images/0").status_code in (404, 405), ident
    path.unlink()


def test_a_missing_image_is_told_without_its_path(ada: TestClient, run: Path, comparison: Item) -> None:
    (run / comparison.question.images[0]).write_bytes(b"broken")
    answer = ada.get(f"/api/items/{comparison.id}/images/0")
    assert answer.status_code == 404
    assert str(run) not in answer.text


def test_region_and_reference_come_on_demand(run: Path, ada: TestClient, opened: Opened) -> None:
    items = opened.store.plan.items
    withs = next(item for item in items if item.question.region)
    outline = ada.get(f"/api/items/{withs.id}/region").json()
    assert outline["path"].startswith("M")
    without = next(item for item in items if not item.question.region)
    assert ada.get(f"/api/items/{without.id}/region").status_code == 404
    assert ada.get(f"/api/items/{withs.id}/reference").json() == {"text": withs.question.gold}


def test_a_stale_tab_gets_what_is_kept(ada: TestClient, answer: Item) -> None:
    path = f"/api/items/{answer.id}/judgement"
    ada.put(path, json=saving(WRONG))
    correct = {**WRONG, "verdict": "correct", "errors": [], "harm": None}
    refused = ada.put(path, json=saving(correct))
    assert refused.status_code == 409
    assert refused.json()["current"] == {"revision": 1, "judgement": WRONG, "complete": True}
    assert ada.get(f"/api/items/{answer.id}").json()["judgement"] == WRONG


@pytest.mark.parametrize(
    "judgement",
    [
        {"verdict": "maybe"},
        {"verdict": "correct", "harm": "mild"},
        {"verdict": "wrong", "comment": "x" * 4001},
        {"verdict": "wrong", "extra": 1},
        {"preferred": "tie"},
        {"verdict": "wrong", "comment": "\ud800"},
    ],
)
def test_what_is_no_judgement_is_refused(ada: TestClient, answer: Item, judgement: dict[str, Any]) -> None:
    content = json.dumps(saving(judgement)).encode()
    refused = ada.put(
        f"/api/items/{answer.id}/judgement", content=content, headers={"content-type": "application/json"}
    )
    assert refused.status_code == 422
    assert ada.get(f"/api/items/{answer.id}").json()["revision"] == 0


def test_only_the_two_answers_that_are_shown_can_be_preferred(ada: TestClient, comparison: Item) -> None:
    path = f"/api/items/{comparison.id}/judgement"
    assert ada.put(path, json=saving({"preferred": "0" * 16})).status_code == 422
    for base, key in enumerate((comparison.answers[0].key, "tie", "cannot-tell")):
        assert ada.put(path, json=saving({"preferred": key}, base)).json()["revision"] == base + 1


def test_a_full_disk_is_told_and_nothing_is_claimed(ada: TestClient, opened: Opened, answer: Item) -> None:
    connection = opened.store.database._connection
    connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
    path, base = f"/api/items/{answer.id}/judgement", 0
    while (last := ada.put(path, json=saving({**WRONG, "comment": f"{base}" * 3000}, base))).is_success:
        base += 1
        assert base < 9
    assert last.status_code == 507
    assert "full" in last.json()["detail"]
    assert ada.get(f"/api/items/{answer.id}").json()["revision"] == base


def test_what_is_too_large_or_too_often_is_refused(run: Path, opened: Opened, ada: TestClient) -> None:
    large = b"x" * (LARGEST_BODY + 1)
    json_type = {"content-type": "application/json"}
    assert ada.post("/api/session", content=large, headers=json_type).status_code == 413
    assert ada.post("/api/session", content=iter([large]), headers=json_type).status_code in (400, 413)
    with client_of(run, opened, burst=3) as client:
        assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]
        assert int(client.get("/").headers["retry-after"]) > 0


def test_tokens_cannot_be_guessed_fast(client: TestClient) -> None:
    tried = [client.post("/api/session", json={"token": str(n)}).status_code for n in range(7)]
    assert tried == [401] * 5 + [429] * 2


def test_only_loopback_is_served_without_tls_or_a_word(tmp_path: Path) -> None:
    for host in ("127.0.0.1", "::1", "localhost", "127.3.2.1"):
        check_binding(ServerSettings(host=host))
    for host in ("0.0.0.0", "::", "192.168.1.5", "reviews.example.org", ""):
        with pytest.raises(InputError, match="without TLS anybody"):
            check_binding(ServerSettings(host=host))
        check_binding(ServerSettings(host=host, without_tls=True))
    pem = tmp_path / "c.pem"
    with pytest.raises(InputError, match="belong together"):
        check_binding(ServerSettings(certificate=pem))
    with pytest.raises(InputError, match="no such file"):
        check_binding(ServerSettings(host="0.0.0.0", certificate=pem, key=pem))
    pem.touch()
    check_binding(ServerSettings(host="0.0.0.0", certificate=pem, key=pem))


def test_the_server_answers_to_its_own_names_alone() -> None:
    assert hosts(ServerSettings(), 8765) == ["127.0.0.1:8765", "localhost:8765", "[::1]:8765"]
    assert hosts(ServerSettings(host="0.0.0.0", names=("r.example",)), 80)[0] == "r.example"
    assert "0.0.0.0:9" not in hosts(ServerSettings(host="0.0.0.0"), 9)


def test_a_reviewer_can_be_added_while_another_process_serves(run: Path, opened: Opened) -> None:
    result = CliRunner().invoke(command_line, ["review", str(run), "--reviewer", "Mary", "--status"])
    assert result.exit_code == 0, result.exception
    (token,) = re.findall(r"Mary: http://127.0.0.1:8765/#token=(\S+)", result.output)
    begun = opened.access.sign_in(token)
    assert begun is not None
    assert begun[1].reviewer == "Mary"
    assert f"Mary: 0 of {len(opened.store.plan.items)} judged" in result.output


def test_a_taken_port_uses_up_no_token(run: Path, opened: Opened) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(command_line, ["review", str(run), "--reviewer", "Mary", "--port", port])
    assert isinstance(result.exception, RunError)
    assert "Mary" not in opened.access.reviewers


def test_missing_packages_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(InputError, match=r"needs fastapi\n.*pip install 'medpref\[review\]'"):
        require_server()


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(RunError, match="cannot listen"):
            listen(ServerSettings(port=taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0", "--reviewer", "Ada"], "not loopback"),
        ([], "nobody may review yet"),
        (["--set", "questions=0", "--reviewer", "Ada"], "questions"),
        (["--status"], "nobody has reviewed"),
    ],
)
def test_the_command_refuses_before_it_serves(run: Path, options: list[str], words: str) -> None:
    result = CliRunner().invoke(command_line, ["review", str(run), "--port", "0", *options])
    assert isinstance(result.exception, InputError)
    assert words in str(result.exception)
