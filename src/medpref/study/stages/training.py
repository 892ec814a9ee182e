"""The stages that score the reference and that train, the SFT model included."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medpref.backbones import load_backbone
from medpref.errors import InputError
from medpref.files import read_json, replace_folder, write_json, write_jsonl
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell, missing_part
from medpref.scoring.features import FeatureCache
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer
from medpref.study.launch import launch
from medpref.study.models import load_model
from medpref.study.stage import StageContext, stage_functions
from medpref.study.stages.choice import chosen_params
from medpref.study.stages.evaluation import validate
from medpref.study.stages.pairs import read_stage_pairs
from medpref.study.stages.probing import make_probe
from medpref.study.stages.reading import data_pairs
from medpref.study.stages.start import describe_model
from medpref.training.arguments import last_checkpoint
from medpref.training.groups import count_groups
from medpref.training.parts import TrainingPart
from medpref.training.reference import PassReport, ReferenceLogps, compute_reference
from medpref.training.reference_store import ReferenceStore
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

TOO_LONG = "too-long.jsonl"
TRAINED = "trained.json"
PROBED = "probe"
REUSE = "reuse.json"
"""What a stage found in the cache: how much was computed, how much reused, and which files were damaged."""


@stage_functions.register("reference")
def make_reference(context: StageContext) -> None:
    """Score the pairs under the starting weights."""
    backbone = load_model(context.needs["model"] / "model")
    inputs = InputCache(backbone)
    fitting = Fitting(inputs, context.params["on_too_long"])
    pairs = fitting.keep(read_stage_pairs(context.needs["pairs"]))
    write_jsonl(context.folder / TOO_LONG, fitting.skipped)
    cells = [cell for cell in Cell if cell.key in context.params["cells"]]
    context.expect(len(pairs))
    scorer = Scorer(backbone, inputs, precision=context.params["precision"])
    store = ReferenceStore(context.cache / "reference")
    reference = compute_reference(scorer, pairs, cells, store=store, advance=context.advance)
    reference.save(context.folder / "reference.safetensors")
    if reference.report:
        write_json(context.folder / REUSE, {"reference log-probs": reference.report._asdict()})


class Fitting:
    """Finds the pairs whose texts fit a backbone's context.

    Args:
        inputs: the backbone's.
        on_too_long: what to do with a pair that does not fit: ``fatal`` or ``skip``.
    """

    def __init__(self, inputs: InputCache, on_too_long: str) -> None:
        self._inputs = inputs
        self._fatal = on_too_long == "fatal"
        self._reasons: dict[str, str] = {}

    @property
    def skipped(self) -> list[dict[str, str]]:
        """The pairs that did not fit, and why."""
        return [{"id": ident, "reason": reason} for ident, reason in self._reasons.items()]

    def keep(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Return the pairs that fit, and note the others.

        Raises:
            InputError: one does not fit and that is fatal.
        """
        kept = []
        for pair in pairs:
            try:
                for cell in Cell:
                    if not missing_part(pair, cell):
                        self._inputs.ids(pair, cell)
                kept.append(pair)
            except InputError as error:
                if self._fatal:
                    raise
                self._reasons[pair.id] = error.what
        return kept


@stage_functions.register("train")
def train(context: StageContext) -> None:
    """Train one candidate, and ask the validation samples where the study searches."""
    params = chosen_params(context)
    if launched := params.get("launch"):
        context.expect(TrainingSettings.model_validate(params["training"]).steps)
        launch(context, "train-model", Path(launched["config"]), launched["processes"])
    else:
        train_model(context)
    model = context.folder / "model"
    backbone = load_model(model)
    tokens = read_json(context.folder / TRAINED)["tokens"]
    write_json(context.folder / "model.json", {**describe_model(backbone, model), "tokens": tokens})
    # What other seeds have chosen is not chosen once more.
    if params.get("search") and "choice" not in context.needs:
        write_json(context.folder / "validation.json", validate(backbone, InputCache(backbone), context))


@stage_functions.register("train-model")
def train_model(context: StageContext) -> None:
    """Train one candidate: in this process alone, or with others of a launch that do the same."""
    params = chosen_params(context)
    training = TrainingSettings.model_validate(params["training"])
    if training.quantize and params.get("launch"):
        raise InputError(
            "weights in 4 bits are trained by one process", remedy="Leave out launch or quantize."
        )
    backbone = load_backbone(context.needs["model"] / "model", quantize=training.quantize)
    inputs = InputCache(backbone)
    fitting = Fitting(inputs, params["on_too_long"])
    parts = [_part(said, context, fitting) for said in params["parts"]]
    training = training.counted(count_groups(parts, training, params["seed"]))
    context.expect(training.steps)
    trainer = PreferenceTrainer(
        backbone,
        parts,
        training,
        seed=params["seed"],
        folder=context.folder / "checkpoints",
        inputs=inputs,
        advance=context.advance,
        probe=make_probe(backbone, inputs, context.folder / PROBED, params, context),
    )
    if not (backbone.tower_trains or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        trainer.scorer.features = kept_features(trainer, context)
    trainer.train(resume_from_checkpoint=last_checkpoint(context.folder / "checkpoints"))
    trainer.write_log(context.folder / "training.jsonl")
    trainer.save(context.folder / "model")
    if trainer.is_world_process_zero():
        write_jsonl(context.folder / TOO_LONG, fitting.skipped)
        done = {
            "tokens": trainer.state.num_input_tokens_seen,
            "processes": trainer.accelerator.num_processes,
        }
        write_json(context.folder / TRAINED, done)
        _keep_tracker(context)


def _keep_tracker(context: StageContext) -> None:
    """Bring what a local tracker wrote out of the checkpoints' folder, which goes when the stage is done."""
    written = context.folder / "checkpoints" / "runs"
    if written.is_dir():
        replace_folder(written, context.folder / "tracker")


def kept_features(trainer: PreferenceTrainer, context: StageContext) -> FeatureCache:
    """Return what the frozen tower says about all images that are trained on.

    Each image is encoded by itself and before training: encoded in batches, its features would differ in the
    last bits with what stands beside it, so by what other runs have kept and where a killed run goes on.
    """
    settings, scorer = trainer.settings, trainer.scorer
    features = FeatureCache(
        int(settings.feature_memory_gb * 1e9),
        context.cache / "features" if settings.feature_disk_gb else None,
        max_disk_bytes=int(settings.feature_disk_gb * 1e9),
    )
    shown = (
        path
        for part in trainer.parts
        for pair in part.pairs
        for cell in part.objective.cells
        for path in pair.images.get(cell.image, ())
    )
    for path in dict.fromkeys(shown):
        features.encode([path], scorer.backbone, scorer.inputs, scorer.precision)
    report = PassReport(features.computed, features.from_disk, tuple(map(str, features.damaged)))
    write_json(context.folder / REUSE, {"image features": report._asdict()})
    return features


def _part(said: dict[str, Any], context: StageContext, fitting: Fitting) -> TrainingPart:
    """Return one part of a mixture with its pairs and its reference; the SFT model's pairs are the data's."""
    made = context.needs.get(f"pairs/{said['name']}")
    reference = context.needs.get(f"reference/{said['name']}")
    return TrainingPart(
        pairs=fitting.keep(read_stage_pairs(made) if made else data_pairs(context, "train")),
        objective=objectives[said["objective"]],
        settings=said["settings"],
        reference=ReferenceLogps.load(reference / "reference.safetensors") if reference else None,
        share=said["share"],
        name=said["name"],
    )
