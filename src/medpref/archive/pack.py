"""Put a finished study into one file."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from medpref import __version__
from medpref.archive.contents import gather
from medpref.archive.sums import write_sums
from medpref.archive.tar import write_tar
from medpref.files import read_json, write_json, write_text
from medpref.report import Images, write_report
from medpref.report.sheets.sheet import file_name

README = "README.md"
ABOUT = "archive.json"


def pack(run: Path, target: Path | None = None, *, images: bool = False, authors: Sequence[str] = ()) -> Path:
    """Write a study's archive.

    It holds logs, results, settings, hashes, report, tables and cards; docs/archive.md tells them all. It
    holds no weights and no rows that were trained on, and images only where they are asked for. The same run
    gives the same bytes.

    Args:
        run: the folder of a study that has run to its end.
        target: the archive; ``STUDY.tar.gz`` beside the run's folder by default.
        images: also pack the images of the test, and show them in the report.
        authors: for the citation file, as ``Family, Given``.

    Returns:
        The archive's path.

    Raises:
        InputError: the run is not finished, or a file is a link or broken.
        RunError: the archive cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix="medpref-") as work:
        folder = Path(work) / "study"
        folder.mkdir()
        gather(run, folder, images=images)
        root = file_name(str(read_json(folder / "results.json").get("study") or "study"))
        write_report(folder, Images.EMBED if images else Images.NONE, authors)
        said = {"medpref": __version__, "images": images, "authors": list(authors)}
        write_json(folder / ABOUT, said)
        write_text(folder / README, _readme(root, images))
        write_sums(folder)
        found = target or run.resolve().parent / f"{root}.tar.gz"
        write_tar(folder, found, root)
    return found


def _readme(root: str, images: bool) -> str:
    shown = "The images of the test are in it." if images else "It holds no image."
    return f"""# The study {root}

Packed by medpref {__version__}. `medpref verify {root}.tar.gz` computes every score, comparison and
table anew from the logs, without models and without a GPU. `sha256sum -c SHA256SUMS` checks the files alone.

- `report.html`: what was compared and found; `tables/` has its tables as CSV and LaTeX
- `results.json`: every score with n and interval, every comparison
- `logs/`: every prompt, answer, reference and score, the hashes of data, pairs and models, training curves
- `samples/`: the questions of the test with the answers that they allow
- `cards/`: model card, data card, citation
- `run.json`, `study.json`: settings, versions, hardware and times

{shown} Logs and samples hold the texts of the data: pass them on only as far as its terms allow.
"""
