"""OpenAI's batch files: requests that are written to be sent by hand, and results that are read back.

The formats are those of OpenAI's Batch API: a request a line with ``custom_id``, ``method``, ``url`` and
``body``; a result a line with ``custom_id``, ``response`` and ``error``, in any order. Results and errors
come in two files of one form.
"""

import json
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medpref.endpoints.endpoint import RefusedError, scrub
from medpref.errors import InputError, RunError
from medpref.files import disk_errors, read_jsonl, write_bytes
from medpref.pairs.llm.asker import Asker, Made
from medpref.pairs.llm.request import Refusal, Reply, Request, read_made
from medpref.pairs.llm.settings import ModelSettings

URL = "/v1/chat/completions"
MOST_REQUESTS = 50_000
"""The most requests that OpenAI takes in one batch file."""
MOST_BYTES = 190_000_000
"""The most bytes of a batch file; OpenAI takes 200 MB."""
SUCCESS = range(200, 300)
# What another batch may mend: the request was not answered, not refused.
PASSING = frozenset({408, 409, 425, 429}) | frozenset(range(500, 600))
EXPIRED = frozenset({"batch_expired", "batch_cancelled"})


class BatchAsker(Asker):
    """Reads replies from results files; what has none is written to batch files.

    Args:
        settings: the model and where replies are kept.
        batch_file: where requests go; further files stand beside it where one cannot hold them all.
        results_files: what came back of this and earlier batches, errors included.

    Raises:
        InputError: a results file is missing or faulty.
    """

    def __init__(self, settings: ModelSettings, batch_file: Path, results_files: Sequence[Path]) -> None:
        super().__init__(settings)
        self._batch_file = batch_file
        self._results: dict[str, Made] = {}
        for path in results_files:
            for ident, made in read_results(path).items():
                if not isinstance(self._results.get(ident), Reply):
                    self._results[ident] = made

    def _given(self, key: str) -> Made | None:
        return self._results.get(key)

    def _get(self, requests: Mapping[str, Request]) -> Generator[tuple[str, Made], None, None]:
        """Write `requests` to be sent, and yield a refusal for those whose image cannot be read.

        Raises:
            RunError: there is no result of the others; they stand in batch files.
        """
        unreadable: dict[str, Refusal] = {}
        files = write_batch(self._batch_file, self._lines(requests, unreadable))
        yield from unreadable.items()
        if files:
            count = len(requests) - len(unreadable)
            strange = len(self._results.keys() - self._seen)
            told = f"; {strange} results belong to none of our requests" if strange else ""
            raise RunError(
                f"{count} requests are written here and wait to be sent as a batch{told}",
                where=", ".join(map(str, files)),
                remedy="Send each file to the model's batch service, add what comes back (errors too) to "
                "results_file and start again. Results that came are kept.",
            )

    def _lines(self, requests: Mapping[str, Request], unreadable: dict[str, Refusal]) -> Iterable[bytes]:
        """Yield a line for each request, its key as ``custom_id``; those without one go to `unreadable`."""
        for key, request in sorted(requests.items()):
            try:
                body = request.body(self.settings)
            except RefusedError as refused:
                unreadable[key] = Refusal(refused.reason)
                continue
            row = {"custom_id": key, "method": "POST", "url": URL, "body": body}
            yield json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def write_batch(path: Path, lines: Iterable[bytes]) -> list[Path]:
    """Write lines to `path`, and to ``NAME.part-2.jsonl`` and so on where a file would be too large.

    Parts of an earlier, larger batch are removed.

    Returns:
        The files; none where there are no lines.

    Raises:
        RunError: a file cannot be written.
    """
    files: list[Path] = []
    held: list[bytes] = []
    size = 0

    def flush() -> None:
        number = len(files) + 1
        files.append(path if number == 1 else path.with_name(f"{path.stem}.part-{number}{path.suffix}"))
        write_bytes(files[-1], b"".join(held))

    for line in lines:
        if held and (len(held) == MOST_REQUESTS or size + len(line) > MOST_BYTES):
            flush()
            held, size = [], 0
        held.append(line)
        size += len(line)
    if held:
        flush()
    _remove_parts(path, files)
    return files


def _remove_parts(path: Path, kept: Sequence[Path]) -> None:
    part = re.compile(rf"{re.escape(path.stem)}\.part-\d+{re.escape(path.suffix)}")
    with disk_errors(path):
        for other in path.parent.iterdir() if path.parent.is_dir() else ():
            if part.fullmatch(other.name) and other not in kept:
                other.unlink()


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
        if "response" not in row and "error" not in row:
            raise InputError(
                "the line is no result of a batch: it has neither response nor error", where=where
            )
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
    if not isinstance(status, int):
        return Refusal(f"the batch failed: {_words(response)}")
    if status in PASSING:
        return None
    if status not in SUCCESS or not isinstance(body, dict):
        return Refusal(f"status {status}: {_words(body)}")
    return read_made(body)


def _words(value: Any) -> str:
    return scrub(str(value), None)
