"""What a study asks of models behind endpoints to score its answers."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from medpref.evaluation.facts.extract import split_facts
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.facts.prompts import judge_messages
from medpref.evaluation.tasks import tasks
from medpref.pairs.llm.cost import money, prompt_tokens
from medpref.pairs.llm.request import Request
from medpref.pairs.llm.settings import ModelSettings, Prices
from medpref.study.dry.data import DryData
from medpref.study.spec import StudySpec

# A label with its number, such as "12. Partial Entailment".
TOKENS_PER_LABEL = 8


class JudgePlan(NamedTuple):
    """What one task asks of a judge, over all models and conditions.

    Attributes:
        name: ``facts TASK``, or ``errors TASK``.
        requests: how many, if none is answered from a cache and none is repeated.
        prompt_tokens: that are read, four bytes of text taken for one.
        written: tokens that are written.
        prices: what they cost, where the study says so.
        at_most: whether there may be fewer requests: only wrong answers are sorted by their errors.
    """

    name: str
    requests: float
    prompt_tokens: float
    written: float
    prices: Prices | None
    at_most: bool = False

    @property
    def cost(self) -> float | None:
        """What it costs in the prices' currency, None without prices."""
        if self.prices is None:
            return None
        return money(self.prices, math.ceil(self.prompt_tokens), math.ceil(self.written))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        plain = self._asdict()
        return {**plain, "prices": self.prices and self.prices.model_dump(), "cost": self.cost}


def plan_judging(study: StudySpec, data: DryData, models: int) -> Iterator[JudgePlan]:
    """Yield what is asked of endpoints; judges on this machine ask nobody.

    Args:
        study: the study.
        data: the test samples.
        models: how many are asked the test, over all backbones and seeds.
    """
    yield from _facts(study, data, models)
    if study.error_judge is None:
        return
    for task in study.tasks:
        if tasks[task].reports:
            continue
        samples, factor = data.test(task, "normal")
        count = factor * len(samples) * models
        texts = sum(len(sample.prompt) + 2 * len(sample.gold) for sample in samples) / max(len(samples), 1)
        # The instructions of a request are about two hundred tokens long.
        read = count * (200 + texts / 4)
        yield JudgePlan(f"errors {task}", count, read, 20 * count, study.error_judge.prices, at_most=True)


def _facts(study: StudySpec, data: DryData, models: int) -> Iterator[JudgePlan]:
    """Yield what fact judging asks: one request for each direction, with answers like the references."""
    said = study.reports.judge if study.reports is not None else None
    settings = judges[said.judge].settings.model_validate(said.settings) if said is not None else None
    if not isinstance(settings, ModelSettings):
        return
    for task in study.tasks:
        if not tasks[task].reports:
            continue
        requests = read = written = 0.0
        for condition in study.conditions:
            samples, factor = data.test(task, condition)
            for sample in samples:
                facts = tuple(split_facts(sample.gold))
                request = Request(sample.id, judge_messages(facts, sample.gold))
                requests += 2 * factor * models
                read += 2 * factor * models * prompt_tokens(request, settings)
                written += 2 * factor * models * TOKENS_PER_LABEL * len(facts)
        yield JudgePlan(f"facts {task}", requests, read, written, settings.prices)
