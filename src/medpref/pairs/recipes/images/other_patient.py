"""Another patient's image: the one that looks most like the pair's own and makes its answer wrong."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from medpref.errors import InputError
from medpref.files import UserPath, read_jsonl
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import RecipeContext, generator, note_recipe
from medpref.pairs.recipes.images.drawing import require_image
from medpref.pairs.recipes.images.likeness import Features, read_features
from medpref.pairs.recipes.responses import spoken

NAME = "other-patient"
SAME_PICTURE = 0.3
"""Images nearer than this are taken for one picture in two files.

Measured on VQA-RAD: scaled copies, saved anew as JPEG of quality 60, lie at most 0.24 from the original, and
the nearest other image 0.44 away, half of them 0.94 and more. No two images are more than √12 apart.
"""


class OtherPatientSettings(BaseModel):
    """Whose image is taken.

    Attributes:
        same: what the other image must have been asked: the same ``question``, answered otherwise, or, where
            no image was, any open question of the same ``kind``, never with this answer.
        patients: JSONL that tells whose images are whose, one ``{image, patient}`` a line, by file name;
            without it, each image is a patient.
        patient_key: the key of the patient in `patients`.
        among: one of so many nearest images is drawn.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    same: Literal["question", "kind"] = "kind"
    patients: UserPath | None = None
    patient_key: str = "patient"
    among: int = Field(1, ge=1)


def read_patients(path: Path, key: str) -> Mapping[str, str]:
    """Read the patient of each image, by the image's file name.

    Raises:
        InputError: the file is missing, or a line names no image or no patient.
    """
    patients = {}
    for line, row in read_jsonl(path):
        try:
            patients[Path(row["image"]).name] = str(row[key])
        except (KeyError, TypeError):
            raise InputError(
                f"this does not tell an image and its {key!r}",
                where=f"{path}, line {line}",
                remedy="A line is {image, patient}; name another key with patient_key.",
            ) from None
    return patients


class Known:
    """The images that the data asks questions of, with the answers that each is known to have."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._answers: dict[tuple[str, ...], dict[Path, set[str]]] = defaultdict(lambda: defaultdict(set))
        for pair in pairs:
            for key in _keys(pair):
                self._answers[key][_image(pair)].add(_answer(pair))

    def otherwise(self, pair: Pair, same: str) -> tuple[str, list[Path]]:
        """Return by what images make a pair's answer wrong, the question or its kind, and which; sorted.

        An image that is also known to have the pair's answer is none of them.
        """
        own = _keys(pair)
        # One that answers the very question alike is no counterexample, whatever else it answers.
        alike = {image for image, other in self._compared(own[0], pair) if not other}
        for key in own[:1] if same == "question" else own:
            found = {image for image, other in self._compared(key, pair) if other}
            images = sorted(found - alike - {_image(pair)})
            if images:
                return key[0], images
        return same, []

    def _compared(self, key: tuple[str, ...], pair: Pair) -> Iterator[tuple[Path, bool]]:
        """Yield the images asked about `key`, and whether all their answers differ from the pair's."""
        own = _answer(pair)
        for image, said in self._answers.get(key, {}).items():
            yield image, all(differ(own, answer) for answer in said)


def differ(one: str, other: str) -> bool:
    """Tell whether two answers cannot both be meant: neither has all words of the other.

    "Left lung" and "left upper lung" may be true of the same image, as "flair" and "mr flair" are.
    """
    return not (_words(one) <= _words(other) or _words(other) <= _words(one))


@lru_cache(maxsize=100_000)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def _keys(pair: Pair) -> tuple[tuple[str, ...], ...]:
    """Return what a pair's question is compared by, the closest first.

    A yes or no is true or false of an image only by the same question, so that these have no kind.
    """
    question = " ".join(pair.prompt.replace(IMAGE_PLACEHOLDER, " ").casefold().split())
    earlier = tuple(text for turn in pair.history for text in turn)
    asked = ("question", question, *earlier)
    if pair.kind is None or _answer(pair) in ("yes", "no"):
        return (asked,)
    return asked, ("kind", pair.kind)


def _answer(pair: Pair) -> str:
    return spoken(pair.responses[ResponseRole.CHOSEN])


def _image(pair: Pair) -> Path:
    return pair.images[ImageRole.CLEAN][0]


@dataclass(frozen=True, slots=True)
class Likeness:
    """Which images look alike, and which are of one patient.

    Attributes:
        features: of each image file.
        patients: of each image, by file name; None where each image is a patient.
    """

    features: Mapping[Path, Features]
    patients: Mapping[str, str] | None

    def nearest(self, image: Path, others: Sequence[Path], count: int) -> list[Path]:
        """Return up to `count` of `others`, the most alike first, without the same patient's and copies."""
        strangers = [other for other in others if self._may_be_another(image, other)]
        if not strangers:
            return []
        table = np.stack([self.features[other] for other in strangers])
        distances = np.linalg.norm(table - self.features[image], axis=1)
        order = [int(place) for place in np.argsort(distances, kind="stable")]
        return [strangers[place] for place in order if distances[place] > SAME_PICTURE][:count]

    def _may_be_another(self, image: Path, other: Path) -> bool:
        if self.patients is None:
            return True
        own, theirs = (self.patients.get(path.name) for path in (image, other))
        # An image of nobody known may be anybody's.
        return own is not None and theirs is not None and own != theirs


def other_patient(
    pairs: Sequence[Pair], settings: OtherPatientSettings, context: RecipeContext
) -> list[Pair]:
    """Reject the image of another patient that looks most alike; its own file is named, nothing is drawn.

    Pairs with several images, and those for which the data knows no such image, are left out.

    Raises:
        InputError: a pair has no image, or the file of patients cannot be read.
    """
    single = [pair for pair in pairs if len(require_image(pair, NAME)) == 1]
    patients = read_patients(settings.patients, settings.patient_key) if settings.patients else None
    known = Known(single)
    features = read_features(map(_image, single), context.folder / "features", context.workers)
    likeness = Likeness(features, patients)
    made = []
    for pair in pairs:
        reason, changed = _with_other(pair, settings, context.seed, known, likeness)
        if changed is None:
            context.leave_out(pair, NAME, reason)
        else:
            made.append(changed)
        context.advance(1)
    return made


def _with_other(
    pair: Pair, settings: OtherPatientSettings, seed: int, known: Known, likeness: Likeness
) -> tuple[str, Pair | None]:
    """Return a pair with another patient's image, or why there is none."""
    if len(pair.images[ImageRole.CLEAN]) != 1:
        return "the pair shows several images", None
    by, others = known.otherwise(pair, settings.same)
    if not others:
        return "no other image is known to have another answer", None
    near = likeness.nearest(_image(pair), others, settings.among)
    if not near:
        return "no image with another answer is known to be another patient's", None
    drawn = near[int(generator(seed, NAME, pair.id).integers(len(near)))]
    changed = pair.with_images(ImageRole.REJECTED, (drawn,))
    return "", note_recipe(changed, f"{NAME} (same {by})", seed)
