"""Tensors on disk under a limit on their size: one memory-mapped safetensors file for each key."""

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from medpref.backbones.fingerprint import hash_tensors
from medpref.files import write_bytes

# The share of the limit that may be written between two looks at the folder.
STEP = 20


class FeatureFiles:
    """Keeps tensors in files; the oldest files go first.

    Several processes may use one folder. Each looks at the whole folder again after it has written a
    twentieth of the limit, so that together they go above it by no more than that for each further process.

    Args:
        folder: is made when something is first written.
        max_bytes: the most that the files may take.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.damaged: dict[Path, str] = {}
        """Files that could not be trusted, with the reason; they are written again when the key is."""
        self.removed = 0
        """How many files went because of the limit."""
        self._room = 0
        self._checked: dict[Path, tuple[int, int]] = {}

    def path(self, key: str) -> Path:
        """Return the file of a key; a slash in the key makes a folder."""
        return self.folder / f"{key}.safetensors"

    def read(self, key: str) -> dict[str, Tensor] | None:
        """Return the tensors of `key`, mapped into memory, or None where there is none that can be trusted.

        The bytes of a file are checked when this process first reads it.
        """
        path = self.path(key)
        try:
            found = path.stat()
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            self.damaged[path] = str(error)
            return None
        stamp = (found.st_size, found.st_mtime_ns)
        if self._checked.get(path) != stamp:
            if metadata != _describe(key, tensors):
                self.damaged[path] = "its bytes are not those that were written"
                return None
            self._checked[path] = stamp
        return tensors

    def write(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors, whole or not at all; what is larger than the limit is not kept.

        Raises:
            RunError: the disk is full or the folder cannot be written.
        """
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        data = save(whole, metadata=_describe(key, whole))
        if len(data) > self.max_bytes:
            return
        self._make_room(len(data))
        # What a power failure cuts short is found out by its hash.
        write_bytes(self.path(key), data, durable=False)

    def _make_room(self, size: int) -> None:
        if size > self._room:
            reserved = max(size, self.max_bytes // STEP)
            self._remove_oldest(self.max_bytes - reserved)
            self._room = reserved
        self._room -= size

    def _remove_oldest(self, limit: int) -> None:
        """Remove files until the rest takes at most `limit` bytes."""
        files = []
        for path in self.folder.rglob("*.safetensors"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            files.append((found.st_mtime_ns, path, found.st_size))
        used = sum(size for _, _, size in files)
        for _, path, size in sorted(files):
            if used <= limit:
                break
            path.unlink(missing_ok=True)
            self._checked.pop(path, None)
            used -= size
            self.removed += 1


def _describe(key: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {"key": key, "sha256": hash_tensors(tensors)}
