"""Checks of a study: its file, its data, its models, and whether its plan fits into memory."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from medpref.backbones.base import Backbone
from medpref.doctor.check import Finding, run_checks
from medpref.doctor.machine import GB, device_memory
from medpref.doctor.model import check_model
from medpref.pairs.sources import sources
from medpref.starts import backbones
from medpref.starts.pretrained import PretrainedSettings, load_pretrained
from medpref.study.datasets import training_texts
from medpref.study.dry.outline import outlines
from medpref.study.plan import plan_study
from medpref.study.spec import BackboneSpec, StudySpec

# How a family's model is made for a look at it, where that is not what a plan makes of it.
WHOLE: Mapping[str, Callable[[PretrainedSettings], Backbone]] = {"pretrained": load_pretrained}


def check_study(study: StudySpec, *, models: bool = True) -> Iterator[Finding]:
    """Check a study that was read without fault.

    Args:
        study: the study.
        models: load each model and look at what it computes.
    """
    told = f"{study.study}: {len(study.methods)} methods, {len(study.seeds)} seeds"
    yield Finding("study", "ok", told)
    yield from run_checks([("data", lambda: _data(study))])
    if models:
        for backbone in study.backbones:
            for finding in run_checks([("model", lambda spec=backbone: _model(study, spec))]):  # type: ignore[misc]
                yield finding._replace(name=f"{backbone.name}: {finding.name}")
    yield from run_checks([("memory", lambda: _memory(study))])


def _data(study: StudySpec) -> Iterator[Finding]:
    for name, part in study.data.parts().items():
        source = sources[part.source]
        source.digest(source.settings.model_validate(part.settings))
        told = f"{name} ({part.source})" if name else part.source
        yield Finding("data", "ok", f"{told}: its files are there")


def _model(study: StudySpec, spec: BackboneSpec) -> Iterator[Finding]:
    settings: Any = backbones[spec.family].settings.model_validate(spec.settings)
    if spec.family in WHOLE:
        backbone = WHOLE[spec.family](settings)
    else:
        parts = study.data.parts("train", spec.name).values()
        said = {n: {"source": p.source, "settings": p.settings} for n, p in enumerate(parts)}
        backbone = outlines[spec.family](settings, lambda: training_texts({"several": said}))
    yield from check_on_device(backbone)


def check_on_device(backbone: Backbone) -> Iterator[Finding]:
    """Check a model where it would be trained: on the first GPU, if it fits there."""
    size = sum(weight.numel() * weight.element_size() for weight in backbone.model.parameters())
    if torch.cuda.is_available() and size < 0.8 * device_memory():
        backbone.model.to("cuda")
    yield from check_model(backbone)


def _memory(study: StudySpec) -> Iterator[Finding]:
    """Compare the largest stage's memory with the device's."""
    plan = plan_study(study)
    most = max(plan.stages, key=lambda stage: stage.memory.total)
    room = device_memory()
    told = f"{most.memory.total / GB:.1f} GB at most ({most.name} on {most.backbone}) of {room / GB:.0f} GB"
    if most.memory.total > room:
        remedy = "Use lora, gradient_checkpointing, fewer images_per_step, quantize, or several GPUs."
        yield Finding("memory", "fail", told, remedy)
    else:
        yield Finding("memory", "note" if most.memory.total > 0.9 * room else "ok", told)
