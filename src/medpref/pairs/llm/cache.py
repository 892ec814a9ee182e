"""Replies that were paid for once: one small file each, named by the content of the request."""

import json
import os
from pathlib import Path

from medpref.files import disk_errors, write_bytes
from medpref.pairs.llm.request import Reply


class ReplyCache:
    """Replies by key, in a folder that several runs may share.

    Args:
        folder: where they are kept; made when the first one comes, and then for this user alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Reply | None:
        """Return the reply to the request with this key; None where there is none, or a damaged one."""
        try:
            return Reply.from_row(json.loads(self._path(key).read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply. Raises `RunError` where the folder cannot be written."""
        data = json.dumps(reply.to_row(), ensure_ascii=False).encode()
        with disk_errors(self.folder):
            # Replies may repeat what reports say of patients; a folder that is there keeps its rights.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_bytes(self._path(key), data, durable=False)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def default_cache() -> Path:
    """Return the folder in the user's cache: ``$XDG_CACHE_HOME/medpref/replies``."""
    home = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(home) if home else Path.home() / ".cache") / "medpref" / "replies"
