"""PathVQA (He et al. 2020, arXiv:2003.10286): questions on pathology figures, from Parquet files.

The folder holds the Hugging Face files with ``{image, question, answer}``. The authors' own download keeps
its questions in pickles, which are not read: a pickle can run any program.
"""

from collections.abc import Iterator, Sequence

from medpref.errors import InputError
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.finding import image_roots, nothing_found, parquet_parts, shard_id
from medpref.pairs.sources.questions import pair_parts, question_row, text_of
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.records import PICKLES
from medpref.pairs.sources.rows import Entry, FolderSettings, Part, Row, require_folder

LICENCE = "MIT by its data card; the figures are their publishers'"
PROVENANCE = Provenance("PathVQA", licence=LICENCE)


class PathVqaSettings(FolderSettings):
    """Where the folder is."""


def parts(settings: PathVqaSettings) -> Sequence[Part]:
    """Return the Parquet files. Raises `InputError` for none, and for pickles."""
    require_folder("PathVQA", settings.folder)
    found = parquet_parts(settings.folder, parse)
    if found:
        return found
    pickles = sorted(path for path in settings.folder.rglob("*") if path.suffix in PICKLES)
    if pickles:
        raise InputError(
            "these are pickles, which can run any program when they are opened, and are not read",
            where=str(pickles[0]),
            remedy="Take the Parquet files of the Hugging Face data set flaviagiammarino/path-vqa instead.",
        )
    raise nothing_found("PathVQA", settings.folder, "Looked for Parquet files such as data/train-*.parquet.")


def parse(entry: Entry) -> Iterator[Row]:
    """Read a question. Raises as `Parse` says."""
    values = entry.values
    yield question_row(
        entry,
        PROVENANCE,
        shard_id(entry),
        text_of(values, "question"),
        text_of(values, "answer"),
        entry.pictures.find(values["image"]),
    )


READING = Reading(
    name="PathVQA",
    licence=LICENCE,
    parts=parts,
    tasks=("path-vqa",),
    roots=lambda settings: image_roots(settings, "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
)
register("path-vqa", "PathVQA: questions on pathology figures", PathVqaSettings, READING)
