"""The stage that loads the data."""

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
    source.load(settings, context.folder, params["fatal"], context.advance).write(context.folder)
