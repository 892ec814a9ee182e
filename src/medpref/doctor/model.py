"""Checks of a loaded model: tokenizer, template, images, sharing of prefixes, generation."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.doctor.check import Finding, run_checks
from medpref.pairs.images import save_png
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.features import evaluating
from medpref.scoring.inputs import InputCache
from medpref.scoring.scorer import Scorer

QUESTION = "Is there a lesion in the left lung?"
ANSWER = "Yes, in the upper lobe; about 12 mm."
OTHER = "No, both lungs are clear."
# The most that a token's log-prob may differ between shared and separate rows, in nats.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.05}


class ModelChecks:
    """Checks of one model on one synthetic pair.

    Args:
        backbone: the model; with or without trained weights.
        folder: where the pair's images go.
    """

    def __init__(self, backbone: Backbone, folder: Path) -> None:
        self.backbone = backbone
        self.inputs = InputCache(backbone)
        self.pair = _pair(folder)

    def template(self) -> Iterator[Finding]:
        """Write the question and the answer as tokens and read them again."""
        prompt, response = self.inputs.ids(self.pair, Cell.CLEAN_CHOSEN)
        read = self.backbone.decode([token for token in prompt if token != self.backbone.image_token])
        if QUESTION not in read:
            yield Finding("template", "fail", f"the prompt's tokens read {read!r}, without the question")
        said = self.backbone.decode(response[:-1])
        if said != ANSWER:
            yield Finding("template", "fail", f"the answer's tokens read {said!r}")
        if response[-1] not in self.backbone.stop_tokens:
            yield Finding("template", "fail", f"token {response[-1]} behind an answer stops nothing")
        images = prompt.count(self.backbone.image_token)
        told = f"{len(prompt)} tokens of prompt ({images} of image), {len(response)} of answer"
        yield Finding("template", "ok", told)

    def images(self) -> Iterator[Finding]:
        """Read an image and encode it: finite numbers, as many as the prompt has places for."""
        (path,) = self.pair.images[ImageRole.CLEAN]
        read = self.inputs.image(path)
        shapes = {name: tuple(tensor.shape) for name, tensor in read.items()}
        if not all(t.isfinite().all() for t in read.values() if t.is_floating_point()):
            yield Finding("image processor", "fail", f"not all of {shapes} is finite")
        yield Finding("image processor", "ok", ", ".join(f"{name} {shape}" for name, shape in shapes.items()))

    def sharing(self) -> Iterator[Finding]:
        """Score the pair in all four cells, in shared rows and in separate ones."""
        if not self.backbone.shares_prefix:
            told = "this family is scored in separate rows, which takes longer"
            yield Finding("prefix sharing", "note", told)
            return
        difference = float((self._score(shared=True) - self._score(shared=False)).abs().max())
        dtype = next(self.backbone.model.parameters()).dtype
        limit = TOLERANCE[dtype]
        told = f"shared and separate rows differ by {difference:.1e} nats a token ({dtype}; limit {limit:g})"
        if difference <= limit:
            yield Finding("prefix sharing", "ok", told)
        else:
            remedy = "Scores would be wrong here. Please report your versions with this line."
            yield Finding("prefix sharing", "fail", told, remedy)

    def _score(self, *, shared: bool) -> torch.Tensor:
        with torch.no_grad(), evaluating(self.backbone.model):
            scores = Scorer(self.backbone, self.inputs, shared=shared).score([self.pair], list(Cell))
        return torch.cat([scores[cell].tokens.flatten() for cell in Cell])

    def looking(self) -> Iterator[Finding]:
        """Tell whether the answer's log-prob depends on the image at all."""
        with torch.no_grad(), evaluating(self.backbone.model):
            cells = [Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN]
            scores = Scorer(self.backbone, self.inputs).score([self.pair], cells)
        clean, noise = (float(scores[cell].logps[0]) for cell in cells)
        if not np.isfinite([clean, noise]).all():
            yield Finding("log-probs", "fail", f"{clean} and {noise} nats", "The weights may be damaged.")
        elif clean == noise:
            yield Finding("log-probs", "fail", "the same for two images: the model does not see them")
        else:
            yield Finding("log-probs", "ok", f"{clean:.2f} nats on one image, {noise:.2f} on another")

    def generation(self) -> Iterator[Finding]:
        """Answer the question alone and beside a longer one."""
        short = self.inputs.prompt_ids(self.pair.prompt, self.pair.images[ImageRole.CLEAN])
        longer = self.inputs.prompt_ids(f"{self.pair.prompt} {OTHER}", self.pair.images[ImageRole.CLEAN])
        images = self.inputs.images(self.pair.images[ImageRole.CLEAN])
        sampling = Sampling(max_new_tokens=4)
        with evaluating(self.backbone.model):
            (alone,) = self.backbone.generate([short], [images], sampling)
            beside, _ = self.backbone.generate([short, longer], [images, images], sampling)
        same = alone == beside
        told = f"{alone!r}" if same else f"{alone!r} alone, {beside!r} in a batch"
        remedy = "" if same else "In half precision near ties can fall either way; in fp32 they should not."
        yield Finding("generation", "ok" if same else "note", told, remedy)


def _pair(folder: Path) -> Pair:
    """Return a pair on a noisy synthetic image of uneven sides, and on another one."""
    paths: dict[ImageRole, tuple[Path, ...]] = {}
    for number, role in enumerate(ImageRole):
        pixels = np.random.default_rng(number).integers(0, 256, (96, 128, 3), dtype=np.uint8)
        paths[role] = (folder / f"{role}.png",)
        save_png(paths[role][0], Image.fromarray(pixels))
    return Pair(
        id="doctor",
        prompt=f"{IMAGE_PLACEHOLDER}\n{QUESTION}",
        images=paths,
        responses={ResponseRole.CHOSEN: ANSWER, ResponseRole.REJECTED: OTHER},
    )


def check_model(backbone: Backbone) -> Iterator[Finding]:
    """Run all checks of a model."""
    with tempfile.TemporaryDirectory(prefix="medpref-doctor-") as folder:
        checks = ModelChecks(backbone, Path(folder))
        weights = sum(weight.numel() for weight in backbone.model.parameters())
        dtype = next(backbone.model.parameters()).dtype
        told = f"{type(backbone).__name__}, {weights / 1e6:,.1f} million weights, {dtype}"
        yield Finding("model", "ok", told)
        yield from run_checks(
            [
                ("template", checks.template),
                ("image processor", checks.images),
                ("prefix sharing", checks.sharing),
                ("log-probs", checks.looking),
                ("generation", checks.generation),
            ]
        )
