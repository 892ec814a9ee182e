"""The stage that makes or loads the backbone that a study starts from."""

from pathlib import Path
from typing import Any

from medpref.backbones.base import Backbone
from medpref.files import content_hash, file_hash, write_json
from medpref.starts import StartContext, backbones
from medpref.study.datasets import training_texts
from medpref.study.stage import StageContext, stage_functions


@stage_functions.register("start")
def make_start(context: StageContext) -> None:
    """Make or load the backbone that the study starts from."""
    params = context.params
    family = backbones[params["family"]]
    start = StartContext(
        texts=lambda: training_texts(params["data"]),
        seed=params["seed"],
        folder=context.folder / "checkpoints",
        advance=context.advance,
        expect=context.expect,
    )
    backbone = family.start(family.settings.model_validate(params["settings"]), start)
    backbone.save(context.folder / "model")
    write_json(context.folder / "model.json", describe_model(backbone, context.folder / "model"))


def describe_model(backbone: Backbone, folder: Path) -> dict[str, Any]:
    """Return the fingerprint of a saved model's weights and its number of parameters."""
    files = sorted(folder.glob("*.safetensors"))
    count = sum(parameter.numel() for parameter in backbone.model.parameters())
    return {"fingerprint": content_hash([file_hash(file) for file in files]), "parameters": count}
