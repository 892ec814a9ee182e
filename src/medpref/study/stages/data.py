"""The stage that loads the data."""

from medpref.errors import InputError
from medpref.pairs.sources import sources
from medpref.study.stage import StageContext, stage_functions


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
    if not data.train:
        faults = [row for file in data.quarantined for row in file.quarantined]
        raise InputError(
            "the data has no row to train on" + (f"; the first fault: {faults[0].reason}" if faults else ""),
            where="data",
            remedy="Name a training split; `medpref eval` asks a model without one.",
        )
    data.write(context.folder)
