"""IU X-ray (Demner-Fushman et al. 2016, doi 10.1093/jamia/ocv080): chest radiographs with reports.

The folder holds ``annotation.json`` with the arrays train, val and test of ``{id, report, image_path}``, or
with one list of ``{id, report, image_path, split}``, two views each, and ``images/``.
"""

from collections.abc import Sequence

from pydantic import Field

from medpref.files import UserPath
from medpref.pairs.pair import Provenance
from medpref.pairs.sources.finding import image_roots, nothing_found
from medpref.pairs.sources.questions import pair_parts
from medpref.pairs.sources.reading import Reading, register
from medpref.pairs.sources.reports import annotation_parts, with_test
from medpref.pairs.sources.rows import FolderSettings, Part, require_folder

LICENCE = "not verified"
PROVENANCE = Provenance("IU X-ray", licence=LICENCE)


class IuXraySettings(FolderSettings):
    """Where the folder is.

    Attributes:
        test: a file of ``{id, report, image_path}`` rows, an array or one a line, in place of the test split.
        images_per_study: the most views of a study; all where not given.
    """

    test: UserPath | None = None
    images_per_study: int | None = Field(None, ge=1)


def parts(settings: IuXraySettings) -> Sequence[Part]:
    """Return the splits. Raises `InputError` for none."""
    require_folder("IU X-ray", settings.folder)
    path = settings.folder / "annotation.json"
    if not path.is_file():
        raise nothing_found("IU X-ray", settings.folder, "Looked for annotation.json.")
    return with_test(annotation_parts(path, PROVENANCE), settings.test, PROVENANCE)


READING = Reading(
    name="IU X-ray",
    licence=LICENCE,
    parts=parts,
    tasks=("iu-xray",),
    roots=lambda settings: image_roots(settings, "images"),
    pool=lambda settings: pair_parts(settings, PROVENANCE),
)
register("iu-xray", "IU X-ray: chest radiographs of two views with reports", IuXraySettings, READING)
