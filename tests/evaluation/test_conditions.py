import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.conftest import ImageMaker

from medpref.errors import InputError
from medpref.evaluation.conditions import ConditionContext, conditions
from medpref.evaluation.conditions.mirrored import exchange_sides
from medpref.evaluation.conditions.rephrased import rephrasings
from medpref.pairs.images import open_image
from medpref.pairs.pair import Turn
from medpref.pairs.regions import read_mask
from medpref.pairs.sample import Sample
from medpref.pairs.sources.phantoms import PhantomSettings, load
from medpref.phantoms.questions import PHRASINGS

DRAWN = ("shuffled", "roi-noise", "outside-noise", "mirror", "rephrased", "rephrased-2", "rephrased-3")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    settings = PhantomSettings(size=32, train=1, pool=1, validation=1, test=12)
    return load(settings, tmp_path_factory.mktemp("data"), False, lambda _: None).samples[
        "test", "phantom-vqa"
    ]


def show(name: str, samples: Sequence[Sample], folder: Path, seed: int = 0) -> list[Sample]:
    return conditions[name].show(samples, ConditionContext(folder, seed))


def told(samples: Sequence[Sample], folder: Path) -> str:
    rows = [sample.to_row(folder) for sample in sorted(samples, key=lambda sample: sample.id)]
    return json.dumps(rows)


@pytest.mark.parametrize("name", DRAWN)
def test_the_order_of_the_samples_changes_neither_result_nor_files(
    name: str, phantoms: list[Sample], tmp_path: Path
) -> None:
    one = show(name, phantoms, tmp_path / "one")
    other = show(name, phantoms[::-1], tmp_path / "other")
    assert told(one, tmp_path / "one") == told(other, tmp_path / "other")
    # Phantoms have three wordings of a question, two of them other ones.
    assert (one == []) == (name == "rephrased-3")
    assert {sample.id for sample in one} <= {sample.id for sample in phantoms}
    first = {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*")}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "other").glob("*")}


@pytest.mark.parametrize("name", DRAWN)
def test_a_second_call_draws_nothing_again(name: str, phantoms: list[Sample], tmp_path: Path) -> None:
    before = show(name, phantoms, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*")}
    assert show(name, phantoms, tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*")} == times


@pytest.mark.parametrize("name", ["shuffled", "roi-noise", "outside-noise", "rephrased"])
def test_another_seed_draws_otherwise(name: str, phantoms: list[Sample], tmp_path: Path) -> None:
    assert show(name, phantoms, tmp_path, 1) != show(name, phantoms, tmp_path, 2)


def test_the_controls_are_conditions() -> None:
    for _, condition in conditions.items():
        assert condition.control is None or condition.control in conditions
    assert conditions["roi-noise"].control == "outside-noise"


def test_noise_stays_inside_or_outside_of_the_region(phantoms: list[Sample], tmp_path: Path) -> None:
    inside = {sample.id: sample for sample in show("roi-noise", phantoms, tmp_path)}
    outside = {sample.id: sample for sample in show("outside-noise", phantoms, tmp_path)}
    # A phantom without a lesion has no region.
    assert set(inside) == set(outside) == {sample.id for sample in phantoms if sample.region}
    for sample in phantoms:
        if sample.region is None:
            continue
        clean = np.asarray(open_image(sample.images[0]))
        region = np.asarray(Image.open(sample.region)) > 0
        for shown, kept in ((inside[sample.id], ~region), (outside[sample.id], region)):
            noised = np.asarray(open_image(shown.images[0]))
            assert (noised[kept] == clean[kept]).all()
            assert (noised[~kept] != clean[~kept]).mean() > 0.5
            assert (shown.gold, shown.prompt, shown.region) == (sample.gold, sample.prompt, sample.region)


@pytest.mark.parametrize("value", [0, 255])
def test_an_empty_region_and_a_whole_one_are_left_out_of_both(
    value: int, make_image: ImageMaker, tmp_path: Path
) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((32, 32), value, dtype=np.uint8)).save(mask)
    samples = [Sample("a", "<image>\nWhere?", (make_image("a.png"),), "left", region=mask)]
    assert show("roi-noise", samples, tmp_path / "x") == show("outside-noise", samples, tmp_path / "x") == []


def test_a_region_of_another_size_is_told(make_image: ImageMaker, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).save(mask)
    sample = Sample("a", "<image>\nWhere?", (make_image("a.png"),), "left", region=mask)
    with pytest.raises(InputError, match="8 × 8 pixels"):
        show("roi-noise", [sample], tmp_path / "x")


def asked(ident: str, cluster: str, *images: Path, **rest: object) -> Sample:
    return Sample(ident, "<image>" * len(images) + "?", images, "yes", cluster=cluster, **rest)  # type: ignore[arg-type]


def test_images_are_exchanged_between_clusters_and_none_is_lost(
    phantoms: list[Sample], tmp_path: Path
) -> None:
    shown = {sample.id: sample for sample in show("shuffled", phantoms, tmp_path)}
    owners = {sample.images: sample.cluster for sample in phantoms}
    assert len(shown) == len(phantoms)
    for sample in phantoms:
        assert owners[shown[sample.id].images] != sample.cluster
        assert shown[sample.id].region is None
    # A derangement: each image is shown in place of exactly one other.
    places = {(sample.images, shown[sample.id].images) for sample in phantoms}
    assert len(places) == len({new for _, new in places}) == len(owners)


def test_the_other_image_has_the_same_size_and_modality_where_there_is_one(
    make_image: ImageMaker, tmp_path: Path
) -> None:
    samples = []
    for number in range(8):
        size = (32, 32) if number < 6 else (16, 24)
        modality = "CT" if number % 2 else "MRI"
        image = make_image(f"{number}.png", number, size)
        samples.append(asked(f"s{number}", f"c{number}", image, attributes={"modality": modality}))
    places = {sample.images[0].name: int(sample.id[1:]) for sample in samples}
    for sample in show("shuffled", samples, tmp_path):
        number, other = int(sample.id[1:]), places[sample.images[0].name]
        assert (number < 6) == (other < 6)
        assert number >= 6 or number % 2 == other % 2


def test_a_cluster_with_most_images_borrows(make_image: ImageMaker, tmp_path: Path) -> None:
    images = [make_image(f"{number}.png", number) for number in range(5)]
    samples = [asked(f"s{n}", "a" if n < 4 else "b", image) for n, image in enumerate(images)]
    samples += [asked("two", "c", *images[:2]), asked("text", "d")]
    shown = {sample.id: sample.images for sample in show("shuffled", samples, tmp_path)}
    assert set(shown) == {"s0", "s1", "s2", "s3", "s4"}
    assert all(shown[f"s{n}"] == (images[4],) for n in range(4))
    assert shown["s4"][0] in images[:4]


def place(gold: str, question: str = "Where is the mass?", **rest: object) -> Sample:
    fields: dict[str, object] = {"kinds": ("pos",), **rest}
    return Sample("a", f"<image>\n{question}", (), gold, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gold", "expected"),
    [
        ("left", "right"),
        ("Right upper lobe", "Left upper lobe"),
        ("RUL", "LUL"),
        ("llq", "rlq"),
        ("Lt. hilum", "Rt. hilum"),
        ("left-sided", "right-sided"),
        ("RIGHTWARD", "LEFTWARD"),
        ("bright", "bright"),
        ("from left to right", "from right to left"),
    ],
)
def test_sides_are_exchanged_in_their_spelling(gold: str, expected: str) -> None:
    assert exchange_sides(gold) == expected
    assert exchange_sides(expected) == gold


@pytest.mark.parametrize(
    ("sample", "gold"),
    [
        (place("left upper lobe"), "right upper lobe"),
        (place("left", "Left or right?"), "right"),
        (place("left", kinds=("abn", "POS")), "right"),
        (place("left", choices=("left", "right")), "right"),
        (place("left", choices=("left", "middle")), None),
        (place("left", kinds=("abn",)), None),
        (place("both lungs"), None),
        (place("not on the left"), None),
        (place("yes", "Is it on the left?"), None),
        (place("left lower lobe", "Which lobe of the left lung?"), None),
        (place("right middle lobe"), None),
        (place("right ventricle"), None),
        (place("upper lobe"), None),
        (place("left", history=(Turn("Is it the right lung?", "No"),)), None),
    ],
)
def test_which_answers_the_mirror_exchanges(
    sample: Sample, gold: str | None, make_image: ImageMaker, tmp_path: Path
) -> None:
    image = make_image("a.png")
    shown = show("mirror", [replace(sample, images=(image,))], tmp_path / "shown")
    assert [one.gold for one in shown] == ([] if gold is None else [gold])
    for one in shown:
        clean = np.asarray(open_image(image))
        assert (np.asarray(open_image(one.images[0])) == clean[:, ::-1]).all()


def test_the_region_is_mirrored_with_the_image(phantoms: list[Sample], tmp_path: Path) -> None:
    known = {sample.id: sample for sample in phantoms}
    shown = show("mirror", phantoms, tmp_path)
    assert {sample.kinds for sample in shown} == {("side",)}
    for sample in shown:
        before, after = known[sample.id].region, sample.region
        assert before is not None
        assert after is not None
        assert (read_mask(after, 32, 32) == read_mask(before, 32, 32)[:, ::-1]).all()
        assert {sample.gold, known[sample.id].gold} == {"left", "right"}


def test_an_image_that_is_its_own_mirror_image_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "even.png"
    Image.fromarray(np.full((8, 8, 3), 7, dtype=np.uint8)).save(path)
    sample = Sample("a", "<image>\nWhere?", (path,), "left", kinds=("side",))
    assert show("mirror", [sample], tmp_path / "shown") == []


@pytest.mark.parametrize(
    ("question", "one"),
    [
        ("Is there a mass in the left lung?", "Does the image show a mass in the left lung?"),
        (
            "Is there evidence of a fracture in this image?",
            "Can you see evidence of a fracture in this image?",
        ),
        ("is there a lesion?", "can a lesion be seen?"),
        ("Where is the lesion located?", "What is the location of the lesion?"),
        ("Which plane is this?", "What plane is this?"),
        ("How large is the mass?", "What is the size of the mass?"),
        ("Is there a tube seen?", "Looking at this image, is there a tube seen?"),
        ("Is the heart enlarged?", "Judging by this image, is the heart enlarged?"),
    ],
)
def test_rephrasings_by_hand(question: str, one: str) -> None:
    others = rephrasings(question)
    assert one in others
    assert question not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    "question",
    [
        "Is there no pneumothorax?",
        "Is there more than one lesion?",
        "Where is the colon most prominent from this view?",
        "What treats this disease?",
        "Describe the image.",
        "",
    ],
)
def test_what_is_not_sure_to_mean_the_same_is_left_out(question: str, tmp_path: Path) -> None:
    assert rephrasings(question) == ()
    assert show("rephrased", [Sample("a", f"<image>\n{question}", (), "yes")], tmp_path) == []


def test_phantoms_are_rephrased_in_their_own_wordings(phantoms: list[Sample], tmp_path: Path) -> None:
    shown = show("rephrased", phantoms, tmp_path)
    assert len(shown) == len(phantoms)
    before = {sample.id: sample for sample in phantoms}
    for sample in shown:
        question = sample.prompt.removeprefix("<image>\n")
        assert question in PHRASINGS[sample.kinds[0]]
        assert sample.prompt != before[sample.id].prompt
    second = {sample.id: sample.prompt for sample in show("rephrased-2", phantoms, tmp_path)}
    assert all(second[sample.id] != sample.prompt for sample in shown)
    assert show("rephrased-3", [s for s in phantoms if s.kinds == ("side",)], tmp_path) == []
    chosen = Counter(sample.prompt for sample in shown if sample.kinds == ("modality",))
    assert len(chosen) > 1


def test_choices_behind_the_question_stay(tmp_path: Path) -> None:
    prompt = "<image>\nWhich plane is this?\nA: axial\nB: coronal"
    (shown,) = show("rephrased", [Sample("a", prompt, (), "axial")], tmp_path)
    assert shown.prompt.startswith("<image>\n")
    assert shown.prompt.endswith("?\nA: axial\nB: coronal")
    assert shown.prompt != prompt
