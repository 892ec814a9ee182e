"""What the model that a study's methods start from says of pairs: the rejected responses it makes itself."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.evaluation.scores.closed import score_closed
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import seed_of
from medpref.scoring.cells import Cell
from medpref.scoring.inputs import InputCache
from medpref.scoring.saliency import gradient_times_input, on_image


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

        That is gradient × input (`medpref.scoring.saliency`), averaged over the tower's patches and brought
        back onto the image. Nats, not negative.

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
        ids = self.inputs.ids(pair, Cell.CLEAN_CHOSEN)
        heat = gradient_times_input(self.backbone, self.inputs, clean[0], *ids)
        return on_image(self.backbone, self._by_patch(heat), clean[0])

    def _by_patch(self, heat: Float[Tensor, "height width"]) -> Float[np.ndarray, "rows columns"]:
        """Return the means over the tower's patches: single pixels of a gradient are noise."""
        tower: Any = self.backbone.model.get_submodule(self.backbone.parts["tower"][0])
        means: Float[np.ndarray, "rows columns"]
        means = avg_pool2d(heat[None, None], tower.config.patch_size)[0, 0].numpy()
        return means
