"""OpenAI's batch files: requests that are written to be sent by hand, and results that are read back.

The formats are those of OpenAI's Batch API: a request a line with ``custom_id``, ``method``, ``url`` and
``body``; a result a line with ``custom_id``, ``response`` and ``error``, in any order.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.endpoints.chat import read_completion
from medpref.endpoints.endpoint import RefusedError, scrub
from medpref.errors import InputError, RunError
from medpref.files import read_jsonl, write_jsonl
from medpref.pairs.llm.asker import Asker, Made
from medpref.pairs.llm.request import Refusal, Reply, Request
from medpref.pairs.llm.settings import ModelSettings

URL = "/v1/chat/completions"
SUCCESS = range(200, 300)
# What another batch may mend: the request was not answered, not refused.
PASSING = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))
EXPIRED = frozenset({"batch_expired", "batch_cancelled"})


class BatchAsker(Asker):
    """Reads replies from results files; what has none is written to a batch file.

    Args:
        settings: the model and where replies are kept.
        batch_file: where requests go.
        results_files: what came back of this and earlier batches.
    """

    def __init__(self, settings: ModelSettings, batch_file: Path, results_files: Sequence[Path]) -> None:
        super().__init__(settings)
        self._batch_file = batch_file
        self._results: dict[str, Made] = {}
        for path in results_files:
            for ident, made in read_results(path).items():
                if not isinstance(self._results.get(ident), Reply):
                    self._results[ident] = made

    def _get(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, Made]]:
        """Yield what the results hold of `requests`.

        Raises:
            RunError: some have no result; they stand in the batch file.
            InputError: an image cannot be read.
        """
        missing = {key: request for key, request in requests.items() if key not in self._results}
        for key in requests.keys() - missing.keys():
            yield key, self._results[key]
        if missing:
            write_jsonl(self._batch_file, batch_rows(missing, self.settings))
            strange = len(self._results.keys() - self._seen)
            told = f"; {strange} results belong to none of our requests" if strange else ""
            raise RunError(
                f"{len(missing)} requests are written here and wait to be sent as a batch{told}",
                where=str(self._batch_file),
                remedy="Send the file to the model's batch service, add what comes back to results_file "
                "and start again. Results that came are kept.",
            )


def batch_rows(requests: Mapping[str, Request], settings: ModelSettings) -> list[dict[str, Any]]:
    """Return the rows of a batch file; each request's key is its ``custom_id``.

    Raises:
        InputError: an image cannot be read.
    """
    try:
        return [
            {"custom_id": key, "method": "POST", "url": URL, "body": request.body(settings)}
            for key, request in sorted(requests.items())
        ]
    except RefusedError as refused:
        raise InputError(refused.reason) from None


def read_results(path: Path) -> dict[str, Made]:
    """Return what a results file holds, by ``custom_id``; results that another batch may mend are none.

    Raises:
        InputError: the file is missing, a line is no result, or two have one ``custom_id``.
    """
    found: dict[str, Made | None] = {}
    for number, row in read_jsonl(path):
        where = f"{path}, line {number}"
        ident = row.get("custom_id") if isinstance(row, dict) else None
        if not isinstance(ident, str):
            raise InputError("the line is no result of a batch: it has no custom_id", where=where)
        if ident in found:
            raise InputError(f"two results have the custom_id {ident!r}", where=where)
        found[ident] = _read_result(row)
    return {ident: made for ident, made in found.items() if made is not None}


def _read_result(row: Mapping[str, Any]) -> Made | None:
    response, error = row.get("response"), row.get("error")
    if not isinstance(response, dict):
        told = error if isinstance(error, dict) else {}
        return None if told.get("code") in EXPIRED else Refusal(f"the batch failed: {_words(error)}")
    status, body = response.get("status_code"), response.get("body")
    if status in PASSING:
        return None
    if status not in SUCCESS or not isinstance(body, dict):
        return Refusal(f"status {status}: {_words(body)}")
    try:
        made = read_completion(body)
    except RefusedError as refused:
        return Refusal(refused.reason)
    return Reply(made.text, made.finish, made.prompt_tokens, made.tokens)


def _words(value: Any) -> str:
    return scrub(str(value), None)
