"""LLaVA-Med's instructions (Li et al. 2023, arXiv:2306.00890, CC BY-NC 4.0): talk about article figures.

The folder holds ``llava_med_instruct_60k_inline_mention.json`` or another of its files, an array of ``{id,
image, domain, conversations}``, and ``images/``. There is no official split.
"""

from collections.abc import Iterator, Sequence

from medpref.pairs.pair import Provenance
from medpref.pairs.sources.dialogues import NO_SPLIT, DialogueSettings, dialogue_rows
from medpref.pairs.sources.finding import image_roots
from medpref.pairs.sources.json_files import chosen_files, file_id
from medpref.pairs.sources.questions import pair_parts
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.rows import Entry, LeftOutError, Part, Row

LICENCE = "CC-BY-NC-4.0"
PROVENANCE = Provenance("LLaVA-Med instruct", licence=LICENCE)
USUAL = ("llava_med_instruct_60k_inline_mention.json",)


class LlavaMedSettings(DialogueSettings):
    """Which conversations are read, beside what all sources of conversations can be told.

    Attributes:
        domains: keep figures of these domains, such as ``chest_xray``, ``ct_scan``; all if not given.
    """

    domains: tuple[str, ...] = ()


def parts(settings: LlavaMedSettings) -> Sequence[Part]:
    """Return the files. Raises `InputError` for none."""
    paths = chosen_files("LLaVA-Med", settings.folder, settings.files, USUAL)
    return [Part(path, None, parse) for path in paths]


def parse(entry: Entry) -> Iterator[Row]:
    """Read a conversation. Raises as `Parse` says."""
    values, settings = entry.values, entry.settings
    domain = values.get("domain") or {}
    if settings.domains and not any(domain.get(name) for name in settings.domains):
        raise LeftOutError("their figure is of none of the domains asked for")
    images = entry.pictures.find(values.get("image"))
    yield from dialogue_rows(entry, PROVENANCE, file_id(entry, settings.files), images, settings.turns)


READING = Reading(
    name="LLaVA-Med instruct",
    licence=LICENCE,
    parts=parts,
    roots=lambda settings: image_roots(settings, "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
    notes=lambda _: [NO_SPLIT],
)
register("llava-med", "LLaVA-Med's instructions: conversations on article figures", LlavaMedSettings, READING)
