"""PubMedVision (Chen et al. 2024, arXiv:2406.19280, Apache-2.0): talk about article figures.

The folder holds ``PubMedVision_InstructionTuning_VQA.json`` or ``PubMedVision_Alignment_VQA.json``, arrays of
``{id, image: […], conversations, modality, body_part}``, and ``images/``. There is no official split.
"""

from collections.abc import Iterator, Sequence

from medpref.pairs.pair import Provenance
from medpref.pairs.sources.dialogues import NO_SPLIT, DialogueSettings, dialogue_rows
from medpref.pairs.sources.finding import image_roots
from medpref.pairs.sources.json_files import chosen_files, file_id
from medpref.pairs.sources.questions import pair_parts
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.rows import Entry, LeftOutError, Part, Row

LICENCE = "Apache-2.0"
PROVENANCE = Provenance("PubMedVision", licence=LICENCE)
USUAL = ("PubMedVision_InstructionTuning_VQA.json",)


class PubMedVisionSettings(DialogueSettings):
    """Which conversations are read, beside what all sources of conversations can be told.

    Attributes:
        modalities: keep images of these, by PubMedVision's ``modality``; all if not given.
    """

    modalities: tuple[str, ...] = ()


def parts(settings: PubMedVisionSettings) -> Sequence[Part]:
    """Return the files. Raises `InputError` for none."""
    paths = chosen_files("PubMedVision", settings.folder, settings.files, USUAL)
    return [Part(path, None, parse) for path in paths]


def parse(entry: Entry) -> Iterator[Row]:
    """Read a conversation. Raises as `Parse` says."""
    values, settings = entry.values, entry.settings
    wanted = {name.lower() for name in settings.modalities}
    if wanted and str(values.get("modality")).strip().lower() not in wanted:
        raise LeftOutError("their image is of none of the modalities asked for")
    images = entry.pictures.find(values.get("image"))
    yield from dialogue_rows(entry, PROVENANCE, file_id(entry, settings.files), images, settings.turns)


READING = Reading(
    name="PubMedVision",
    licence=LICENCE,
    parts=parts,
    roots=lambda settings: image_roots(settings, "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
    notes=lambda _: [NO_SPLIT],
)
register("pubmedvision", "PubMedVision: conversations on article figures", PubMedVisionSettings, READING)
