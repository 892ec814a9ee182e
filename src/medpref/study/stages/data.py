"""The stage that loads the data."""

from pathlib import Path

from medpref.errors import InputError
from medpref.files import cached_file_hash, write_json
from medpref.pairs.sample import read_samples
from medpref.pairs.sources import sources
from medpref.pairs.sources.base import clean_images, read_data_pairs
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.reading import data_folders

LEAKAGE = "leakage.json"


@stage_functions.register("data")
def make_data(context: StageContext) -> None:
    """Load the source and write train, pool and samples."""
    params = context.params
    source = sources[params["source"]]
    settings = source.settings.model_validate(params["settings"])
    work = source.work(settings)
    if work:
        context.expect(work)
    data = source.load(settings, context.folder, params["fatal"], context.advance)
    if not data.train and "train" in params.get("use", ("train",)):
        faults = [row for file in data.quarantined for row in file.quarantined]
        raise InputError(
            "the data has no row to train on" + (f"; the first fault: {faults[0].reason}" if faults else ""),
            where="data",
            remedy="Name a training split; `medpref eval` asks a model without one.",
        )
    data.write(context.folder)


@stage_functions.register("leakage")
def count_leakage(context: StageContext) -> None:
    """Count the test images of all sets, and those that are also trained on, by the bytes of the files."""
    trained: set[Path] = set()
    for name in ("train", "pool"):
        for _, folder in data_folders(context, name):
            trained |= clean_images(read_data_pairs(folder, name))
    asked = {
        image
        for _, folder in data_folders(context, "test")
        for file in sorted(folder.glob("test.*.jsonl"))
        for sample in read_samples(file)
        for image in sample.images
    }
    known = {cached_file_hash(image) for image in trained}
    tested = {cached_file_hash(image) for image in asked}
    write_json(context.folder / LEAKAGE, {"test_images": len(tested), "also_in_train": len(tested & known)})
