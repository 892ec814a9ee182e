"""What runs in the process of a metric: loads its scorer, scores batches, and says each result at once.

It needs nothing of medpref, so that a metric may run in an environment of its own, of Python 3.10 or newer.
Called with a JSON file of

* ``scorer``: the file with ``load``; ``batch``: reports at a time; ``parent``: the process to end with;
* ``pairs``: [answer, reference] each; ``output``: where lines of JSON go:
  ``{"failed": …, "module": …}`` where loading failed, else ``{"loaded": true}`` and after every batch
  ``{"values": [number or reason, …]}``.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Score = Callable[[list[str], list[str]], Sequence[Any]]


def main(order_file: Path) -> None:
    """Carry out the order."""
    # Python puts this file's folder first, where names could hide packages.
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).resolve().parent)]
    order = json.loads(order_file.read_text(encoding="utf-8"))
    with Path(order["output"]).open("w", encoding="utf-8") as output:

        def say(**line: Any) -> None:
            output.write(json.dumps(line) + "\n")
            output.flush()

        try:
            score = runpy.run_path(order["scorer"])["load"](order["batch"])
        except (Exception, SystemExit) as error:
            say(failed=described(error), module=_missing(error))
            return
        say(loaded=True)
        pairs, batch = order["pairs"], order["batch"]
        for start in range(0, len(pairs), batch):
            if os.getppid() != order["parent"]:
                return
            say(values=scores(score, pairs[start : start + batch]))


def scores(score: Score, pairs: list[list[str]]) -> list[float | str]:
    """Score a batch, blank answers 0."""
    said = [pair for pair in pairs if pair[0].strip()]
    found = iter(said_scores(score, said) if said else [])
    return [next(found) if pair[0].strip() else 0.0 for pair in pairs]


def said_scores(score: Score, pairs: list[list[str]]) -> list[float | str]:
    """Score a batch; where that fails, one by one, so that one report cannot spoil the others."""
    try:
        values = score([answer for answer, _ in pairs], [reference for _, reference in pairs])
        if len(values) != len(pairs):
            raise ValueError(f"{len(values)} scores for {len(pairs)} reports")
        return [value if isinstance(value, str) else float(value) for value in values]
    except (Exception, SystemExit) as error:
        return [described(error)] if len(pairs) == 1 else [said_scores(score, [pair])[0] for pair in pairs]


def _missing(error: BaseException) -> str | None:
    # Other errors have a name too: of what could not be imported from a module that is there.
    return error.name if isinstance(error, ModuleNotFoundError) else None


def described(error: BaseException) -> str:
    """Return an error's kind and its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    main(Path(sys.argv[1]))
