"""What the model that a study's methods start from says of pairs: the rejected responses it makes itself."""

from collections.abc import Sequence

from medpref.backbones.base import Backbone
from medpref.backbones.sampling import Sampling
from medpref.evaluation.scores.closed import score_closed
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import seed_of
from medpref.scoring.inputs import InputCache


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
