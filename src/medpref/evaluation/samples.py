"""Whether two logs asked the same."""

import hashlib
import json
from collections.abc import Iterable

from medpref.evaluation.log import Record


def sample_digest(records: Iterable[Record]) -> str:
    """Return the SHA-256 of the samples of a log: their ids, prompts, references and clusters, in any order.

    Answers, scores and the places of image files make no difference.
    """
    digest = hashlib.sha256()
    for row in sorted((r.id, r.prompt, r.gold, r.cluster) for r in records):
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
