"""RadGraph-F1 by the package radgraph."""

from collections.abc import Callable


def load(batch: int) -> Callable[[list[str], list[str]], list[float]]:
    """Load RadGraph-XL. The reward ``partial`` compares entities with their label and whether they relate."""
    from radgraph import F1RadGraph

    scorer = F1RadGraph(reward_level="partial", model_type="radgraph-xl", batch_size=batch)

    def score(predictions: list[str], golds: list[str]) -> list[float]:
        _, rewards, _, _ = scorer(hyps=predictions, refs=golds)
        return [float(reward) for reward in rewards]

    return score
