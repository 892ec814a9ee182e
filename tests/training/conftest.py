from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.scorer import Scorer
from medpref.training.parts import TrainingPart
from medpref.training.probe import Probe
from medpref.training.reference import ReferenceLogps, compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

TrainerMaker = Callable[..., PreferenceTrainer]


@pytest.fixture
def make_trainer(pairs: list[Pair], tmp_path: Path) -> TrainerMaker:
    """Return a function that makes a trainer on the six pairs; the reference is the backbone as it stands."""

    def make(
        backbone: "LlavaBackbone",
        name: str,
        *,
        folder: Path = tmp_path / "checkpoints",
        data: list[Pair] = pairs,
        reference: ReferenceLogps | None = None,
        reference_from: str = "cached",
        objective_settings: dict[str, float] | None = None,
        advance: Callable[[int], None] = lambda _: None,
        probe: Probe | None = None,
        **settings: object,
    ) -> PreferenceTrainer:
        objective = objectives[name]
        if objective.needs_reference and reference is None and reference_from == "cached":
            reference = compute_reference(Scorer(backbone), data, objective.cells)
        usual = {
            "steps": 3,
            "images_per_step": 2,
            "log_every": 1,
            "learning_rate": 1e-3,
            "reference": reference_from,
        }
        return PreferenceTrainer(
            backbone,
            [TrainingPart(data, objective, objective_settings or {}, reference)],
            TrainingSettings.model_validate({**usual, **settings}),
            seed=0,
            folder=folder,
            advance=advance,
            probe=probe,
        )

    return make
