"""The JSON files of data sets that come as a handful of them."""

from collections.abc import Sequence
from pathlib import Path

from medpref.errors import InputError
from medpref.pairs.sources.finding import nothing_found
from medpref.pairs.sources.rows import Entry, require_folder

KINDS = ("*.json", "*.jsonl", "*.parquet")


def chosen_files(name: str, folder: Path, files: Sequence[str], usual: Sequence[str]) -> list[Path]:
    """Return the files that the settings name, else the usual ones that are there, else the only one.

    Raises:
        InputError: there is none, or several and none of them is usual.
    """
    require_folder(name, folder)
    if files:
        return [folder / file for file in files]
    known = [folder / file for file in usual if (folder / file).is_file()]
    found = known or sorted(path for kind in KINDS for path in folder.glob(kind))
    if not found:
        raise nothing_found(name, folder, f"Looked for {', '.join(usual)}, and for any JSON file.")
    if not known and len(found) > 1:
        listed = ", ".join(path.name for path in found)
        raise InputError(
            f"which file of {name} is to be read?",
            where=str(folder),
            remedy=f"Set files to some of: {listed}.",
        )
    return found


def file_id(entry: Entry, files: Sequence[str]) -> str:
    """Return a row's id, its place where it has none; behind its file's name where there are several."""
    ident = entry.values.get("id")
    own = f"row-{entry.record.line}" if ident is None else str(ident)
    return f"{entry.record.file.stem}-{own}" if len(files) > 1 else own
