from typing import Any

import pytest
from pydantic import ValidationError
from tests.generation.servers import Body, Handler, Server, completion

from medpref.endpoints.endpoint import ConnectionSettings, Endpoint, RefusedError, retry_after, scrub
from medpref.endpoints.many import post_each
from medpref.errors import RunError

pytest.importorskip("httpx2")


def test_answers_are_given_before_the_error_that_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of things that are done at the same moment, what may be kept comes first."""
    from concurrent.futures import wait as wait_for

    # All are done before one is looked at.
    monkeypatch.setattr("medpref.endpoints.many.wait", lambda running, return_when: wait_for(running))

    async def ask(_: Any, number: int) -> int:
        if number % 2:
            raise RefusedError("no connection", transient=True, unreachable=True)
        return number

    endpoint = Endpoint("http://127.0.0.1:9", ConnectionSettings())
    got: list[Any] = []
    with pytest.raises(RunError, match="no connection"):
        got.extend(made for _, made in post_each(endpoint, range(20), ask, 20))
    assert sorted(got) == list(range(0, 20, 2))


def test_a_server_that_asks_for_no_wait_is_not_asked_at_once(server: Server) -> None:
    def busy(handler: Handler, body: Body) -> bool:
        if len(server.requests) > 2:
            handler.reply(200, completion("hello"))
        else:
            handler.reply(429, {}, retry_after="0")
        return True

    server.fault = busy
    endpoint = Endpoint(server.address, ConnectionSettings())

    async def ask(client: Any, text: str) -> dict[str, Any]:
        body = {"messages": [{"role": "user", "content": text}]}
        return await endpoint.post(client, "chat/completions", body)

    ((_, made),) = post_each(endpoint, ["hello"], ask, 1)
    assert not isinstance(made, RefusedError)
    first, second, third = server.times
    # Half a second and one second, each up to a half shorter.
    assert second - first >= 0.25
    assert third - second >= 0.5


def test_a_date_out_of_range_asks_for_nothing() -> None:
    assert retry_after("Mon, 01 Jan 0001 00:00:00 -0000") in (None, 0.0)


def test_half_a_surrogate_pair_does_not_spoil_a_reason() -> None:
    assert scrub("a \ud800 b", None).encode() == b"a ? b"


@pytest.mark.parametrize("name", ["sk-proj-8254", "x" * 60, "1KEY", "MY KEY", "", "MY_KEY\n"])
def test_a_key_is_no_variables_name(name: str) -> None:
    with pytest.raises(ValidationError, match="no environment variable's name") as caught:
        ConnectionSettings(key_variable=name)
    assert not name.strip() or name not in str(caught.value)
    assert ConnectionSettings(key_variable="_MY_KEY2").key_variable == "_MY_KEY2"
