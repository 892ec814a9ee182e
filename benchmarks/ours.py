"""medpref's side, with a switch for each saving."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from peft import inject_adapter_in_model
from torch import Tensor

from benchmarks.bench import Bench, Trained
from benchmarks.models import lora_config, make_backbone
from medpref.backbones.adapters import adapters_off
from medpref.backbones.llava import LlavaBackbone
from medpref.objectives import Scores
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.features import FeatureCache
from medpref.scoring.scorer import Scorer
from medpref.training.reference import ReferenceLogps, compute_reference


@dataclass(frozen=True, slots=True)
class Switches:
    """Which savings are on; see `Ours` for what each one sets.

    Attributes:
        shared: all that stands on one image shares a row, instead of one row for each response and image.
        cached_reference: the reference is scored once, before training, instead of in every step.
        cached_features: the frozen tower sees each image once.
        lean: layers of our own: keys and values are not repeated for grouped heads, norms, rotations and
            gated products save less.
        split: attention takes what is plainly causal as such, and the mask for the branches only.
        trim: the last layer computes only what is read.
        recompute: lean layers keep inputs only and compute again what follows from them.
    """

    shared: bool = True
    cached_reference: bool = True
    cached_features: bool = True
    lean: bool = True
    split: bool = True
    trim: bool = True
    recompute: bool = False


def _ladder() -> dict[str, Switches]:
    """Return the variants from nothing to everything; each adds one saving. The last one is of memory."""
    names = {
        "shared": "+ shared rows",
        "cached_reference": "+ cached reference",
        "cached_features": "+ cached features",
        "lean": "+ lean layers",
        "split": "+ split attention",
        "trim": OURS,
        "recompute": "medpref, computing again",
    }
    switches = Switches(**dict.fromkeys(names, False))
    ladder = {"medpref, separate rows": switches}
    for switch, name in names.items():
        switches = replace(switches, **{switch: True})
        ladder[name] = switches
    return ladder


OURS = "medpref"
LADDER = _ladder()


class OurSide:
    """A fresh copy of the policy, and where a variant asks for it the reference, shared by the variants."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        model = bench.policy()
        self.lora = bench.setting.training == "lora"
        if self.lora:
            torch.manual_seed(bench.setting.seed)
            inject_adapter_in_model(lora_config(model), model)
            bench.move_adapters(model)
        self.backbone = make_backbone(bench.size, model, bench.tokenizer)
        self.trained = Trained(model, checkpointing=bench.setting.checkpointing)

    @cached_property
    def reference(self) -> LlavaBackbone:
        """The reference's backbone; the policy's own where that is what training begins from."""
        if self.lora or not self.bench.moved:
            return self.backbone
        backbone = make_backbone(self.bench.size, self.bench.reference(), self.bench.tokenizer)
        backbone.model.eval().requires_grad_(False)
        return backbone

    def as_reference(self) -> AbstractContextManager[None]:
        """Let `reference` compute as the reference does: adapters off."""
        return adapters_off(self.backbone) if self.lora else nullcontext()


class Ours:
    """medpref with some savings switched on.

    Args:
        side: the models.
        switches: the savings.
        name: as in the table.
    """

    def __init__(self, side: OurSide, switches: Switches, name: str) -> None:
        self.name = name
        self.trained = side.trained
        self.switches = switches
        self._side = side
        self._cells = side.bench.objective.cells
        # Policy and reference have the same tower.
        self._features = FeatureCache() if switches.cached_features else None
        self._scorer = self._make_scorer(side.backbone)
        own = side.reference is side.backbone
        # With one model for both, the reference pass leaves behind what it read of images and texts.
        self._reference_scorer = self._scorer if own else self._make_scorer(side.reference)
        self._batches: list[Sequence[Pair]] = []
        self._cache: ReferenceLogps | None = None

    def _make_scorer(self, backbone: LlavaBackbone) -> Scorer:
        """Return a scorer with the switches set: `_ready` sets those that can change later."""
        return Scorer(backbone, shared=self.switches.shared, features=self._features)

    def _ready(self, scorer: Scorer, backbone: LlavaBackbone) -> Scorer:
        """Set on a scorer, and on its backbone, which variants share, what can be set at any time."""
        scorer.precision = self._side.bench.precision
        backbone.lean = self.switches.lean
        backbone.trim = self.switches.trim
        backbone.recompute = self.switches.recompute
        scorer.split = self.switches.split
        return scorer

    def prepare(self, batches: Sequence[Sequence[Pair]]) -> None:
        """Score the reference, where it is cached."""
        self._batches = list(batches)
        if self.switches.cached_reference:
            pairs = [pair for batch in batches for pair in batch]
            # As many images at a time as in training, so that it takes no more memory.
            images = len({pair.image_key for pair in batches[0]})
            with self._side.as_reference():
                self._cache = compute_reference(
                    self._ready(self._reference_scorer, self._side.reference),
                    pairs,
                    self._cells,
                    images_per_batch=images,
                )

    def loss(self, number: int) -> Tensor:
        """Return the mean loss of one batch."""
        pairs = self._batches[number]
        before = self._before(pairs)
        scored = self._ready(self._scorer, self._side.backbone).score(pairs, self._cells)
        logps = {cell: score.logps for cell, score in scored.items()}
        device = self._side.bench.device
        scores = Scores(
            logps,
            {cell: tokens.to(device).sum(1) for cell, tokens in before.items()},
            {cell: score.lengths for cell, score in scored.items()},
            torch.tensor([pair.weight or 0.0 for pair in pairs], device=device),
        )
        return self._side.bench.objective.loss(scores).mean()

    @torch.no_grad()
    def _before(self, pairs: Sequence[Pair]) -> Mapping[Cell, Tensor]:
        """Return the log-probs of tokens under the reference."""
        if self._cache is not None:
            return self._cache.look_up(pairs, self._cells)
        with self._side.as_reference():
            scored = self._ready(self._reference_scorer, self._side.reference).score(pairs, self._cells)
        return {cell: score.tokens for cell, score in scored.items()}
