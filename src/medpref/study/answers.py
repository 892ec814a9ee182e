"""What the model that a study's methods start from says of pairs: the rejected responses it makes itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medpref.backbones.base import Backbone, move_images
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.evaluation.scores.closed import score_closed
from medpref.pairs.images import image_size
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import seed_of
from medpref.pairs.regions import Shown, from_square
from medpref.scoring.cells import Cell
from medpref.scoring.features import evaluating
from medpref.scoring.inputs import InputCache
from medpref.scoring.module import ScoringModel
from medpref.scoring.plan import Path, make_plan

PIXELS = "pixel_values"


class ModelAnswers:
    """A backbone as recipes see it (`medpref.pairs.recipes.StartModel`).

    Args:
        backbone: the model; put into evaluation mode.
        inputs: token ids and pixels, kept between calls.
        batch: pairs that are answered at a time.
    """

    def __init__(self, backbone: Backbone, inputs: InputCache, *, batch: int) -> None:
        backbone.model.eval()
        self.backbone = backbone
        self.inputs = inputs
        self.batch = batch

    def answer(
        self,
        pairs: Sequence[Pair],
        role: ImageRole,
        *,
        temperature: float,
        max_new_tokens: int,
        seed: int,
    ) -> list[str]:
        """Answer each pair's prompt on its images of `role`."""
        # By length, so that little is padded.
        prompts = [
            self.inputs.prompt_ids(pair.prompt, pair.images.get(role, ()), pair.history) for pair in pairs
        ]
        order = sorted(range(len(pairs)), key=lambda i: (len(prompts[i]), pairs[i].id))
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
        answers = [""] * len(pairs)
        for start in range(0, len(order), self.batch):
            places = order[start : start + self.batch]
            made = self.backbone.generate(
                [prompts[place] for place in places],
                [self.inputs.images(pairs[place].images.get(role, ())) for place in places],
                sampling,
                [seed_of(str(seed), role, pairs[place].id) for place in places],
            )
            for place, answer in zip(places, made, strict=True):
                answers[place] = answer
        return answers

    def is_right(self, pair: Pair, answer: str) -> bool:
        """Tell whether an answer is right: yes and no are read by polarity, others word for word.

        Case, punctuation and articles do not count. Of a long response this takes any other wording for a
        wrong one.
        """
        return score_closed(answer, pair.responses[ResponseRole.CHOSEN]).correct

    def look(self, pairs: Sequence[Pair]) -> list[Float[np.ndarray, "h w"]]:
        """Return, for each pair, where on its only clean image the chosen response comes from.

        That is gradient × input (Shrikumar et al. 2017, arXiv:1704.02685): the derivative of the chosen
        response's log-prob by each pixel, times the pixel, absolute and summed over the channels, averaged
        over the tower's patches and brought back onto the image. Nats, not negative.

        Raises:
            InputError: the model does not look at the image as one square of pixels, as LLaVA's do, a pair
                does not show exactly one image, or it does not fit the context.
        """
        return [self._look(pair) for pair in pairs]

    def _look(self, pair: Pair) -> Float[np.ndarray, "h w"]:
        # One pair at a time: a map must not depend on what stands beside it in a batch.
        clean = pair.images.get(ImageRole.CLEAN, ())
        if len(clean) != 1:
            raise InputError(f"{len(clean)} clean images where one is looked at", where=f"pair {pair.id}")
        image = dict(move_images(self.inputs.images(clean), self.backbone.device)[0])
        if PIXELS not in image or image[PIXELS].ndim != 3:
            raise InputError(
                "only models of LLaVA's kind, which see an image as one square, can be looked through",
                remedy="Name regions by masks, boxes or heat maps instead.",
            )
        image[PIXELS] = image[PIXELS].detach().requires_grad_()
        plan = make_plan(
            [Path((0,), *self.inputs.ids(pair, Cell.CLEAN_CHOSEN))],
            image_token=self.inputs.image_token,
            pad=self.inputs.pad,
        )
        with torch.enable_grad(), evaluating(self.backbone.model):
            logp = ScoringModel(self.backbone)(plan.to(self.backbone.device), [image]).sum()
            (gradient,) = torch.autograd.grad(logp, image[PIXELS])
        width, height = image_size(clean[0])
        heat = (gradient * image[PIXELS]).detach().abs().sum(0).double().cpu()
        return from_square(self._by_patch(heat), height, width, shown=self._shown())

    def _by_patch(self, heat: Float[Tensor, "height width"]) -> Float[np.ndarray, "rows columns"]:
        """Return the means over the tower's patches: single pixels of a gradient are noise."""
        tower: Any = self.backbone.model.get_submodule(self.backbone.parts["tower"][0])
        means: Float[np.ndarray, "rows columns"]
        means = avg_pool2d(heat[None, None], tower.config.patch_size)[0, 0].numpy()
        return means

    def _shown(self) -> Shown:
        """Return how the image processor makes a square of an image."""
        processor = getattr(self.backbone, "processor", None)
        if getattr(processor, "do_pad", False):
            return "padded"
        return "cropped" if getattr(processor, "do_center_crop", False) else "stretched"
