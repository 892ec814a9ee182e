"""Another patient's image: a score that stays was not read off the image."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from medpref.evaluation.conditions.base import Condition, ConditionContext, conditions
from medpref.evaluation.scores.text import normalise
from medpref.pairs.images import image_size
from medpref.pairs.recipes.base import generator, seed_of
from medpref.pairs.sample import Sample

NAME = "shuffled"
Images = tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """Images that samples show.

    Attributes:
        images: the files.
        cluster: whose they are.
        modality: what the samples themselves say of it, where they do; empty otherwise.
        first: the least id of the samples that show them: a place in order that no path changes.
    """

    images: Images
    cluster: str
    modality: str
    first: str


def shuffled(samples: Sequence[Sample], context: ConditionContext) -> list[Sample]:
    """Show each question the images of another cluster, as many as before.

    All questions on the same images get the same others, and no images are given twice, where the clusters
    allow that. They are of the same modality (as the samples themselves tell it) and size where there are
    enough of those, of the same size otherwise, and if need be of any. Samples without images, and those
    that no other cluster has as many images for, are left out. The other image may have the same answer: a
    model that looks keeps as many points as agree by chance.
    """
    others = exchange(_shown(samples), context.seed)
    made = []
    for sample in samples:
        images = others.get((sample.images, sample.cluster))
        if images is not None:
            # The region is a place on the image that is not shown.
            made.append(replace(sample, images=images, region=None))
    return made


def _shown(samples: Sequence[Sample]) -> list[Shown]:
    by_images: dict[tuple[Images, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.images:
            by_images[sample.images, sample.cluster].append(sample)
    shown = []
    for (images, cluster), own in by_images.items():
        said = [sample.attributes.get("modality", "") for sample in own]
        # Where the data does not tell it, an open question on the image may.
        said += [sample.gold for sample in own if sample.kinds[:1] == ("modality",) and not sample.closed]
        told = [modality for modality in map(normalise, said) if modality]
        first = min(sample.id for sample in own)
        shown.append(Shown(images, cluster, min(told, default=""), first))
    return sorted(shown, key=lambda one: one.first)


def exchange(shown: Sequence[Shown], seed: int) -> Mapping[tuple[Images, str], Images]:
    """Return what is shown in place of each images of a cluster; those that nothing stands for are left out.

    Args:
        shown: images with their clusters, in an order that does not depend on that of the samples.
        seed: of the exchange.
    """
    sizes = {one.images: image_size(one.images[0]) for one in shown}
    levels: tuple[Callable[[Shown], object], ...] = (
        lambda one: (len(one.images), sizes[one.images], one.modality),
        lambda one: (len(one.images), sizes[one.images]),
        lambda one: len(one.images),
    )
    found: dict[Shown, Shown] = {}
    left = list(shown)
    for level in levels:
        groups: dict[object, list[Shown]] = defaultdict(list)
        for one in left:
            groups[level(one)].append(one)
        left = []
        for group in groups.values():
            turned = _turn(group, seed)
            found.update(turned)
            left += [] if turned else group
    for one in left:
        _insert(one, found, shown, seed)
    return {(one.images, one.cluster): other.images for one, other in found.items()}


def _turn(group: Sequence[Shown], seed: int) -> Mapping[Shown, Shown]:
    """Return a derangement of images between clusters, or nothing where one cluster has more than half.

    With the clusters one behind the other, a turn by the size of the largest leads out of each.
    """
    ordered = sorted(group, key=lambda one: (seed_of(str(seed), NAME, one.cluster), one.cluster, one.first))
    sizes: dict[str, int] = defaultdict(int)
    for one in ordered:
        sizes[one.cluster] += 1
    most = max(sizes.values())
    if 2 * most > len(ordered):
        return {}
    return {one: ordered[(place + most) % len(ordered)] for place, one in enumerate(ordered)}


def _insert(one: Shown, found: dict[Shown, Shown], shown: Sequence[Shown], seed: int) -> None:
    """Give `one` images that were given to another, who gets its own; or, where that fails, any once more."""
    rng = generator(seed, NAME, one.first)
    count = len(one.images)
    pairs = [
        (first, second)
        for first, second in found.items()
        if len(second.images) == count and one.cluster not in (first.cluster, second.cluster)
    ]
    if pairs:
        first, second = pairs[int(rng.integers(len(pairs)))]
        found[first], found[one] = one, second
        return
    others = [other for other in shown if other.cluster != one.cluster and len(other.images) == count]
    if others:
        found[one] = others[int(rng.integers(len(others)))]


conditions.add(NAME, Condition("another patient's image, of the same modality and size if known", shuffled))
