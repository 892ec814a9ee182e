"""Recipes that choose: which pairs are mirrored, whose twin is shown, which patient's image is taken."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpref.errors import InputError
from medpref.pairs.images import open_mask
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes import RecipeContext, image_recipes
from medpref.pairs.recipes.images.likeness import features_of, read_features
from medpref.pairs.recipes.images.mirror import sides_in
from medpref.pairs.recipes.images.other_patient import differ
from medpref.pairs.regions import grown
from medpref.pairs.sources.phantoms import PhantomSettings, load


def run(
    name: str, pairs: list[Pair], out: Path, /, **settings: object
) -> tuple[dict[str, Pair], dict[str, str]]:
    """Return what the recipe made, and why it left out what it left out, by the pairs' ids."""
    context = RecipeContext(3, out)
    made = image_recipes[name].run(pairs, settings, context)
    assert len(made) + len(context.left_out) == len(pairs)
    return {pair.id: pair for pair in made}, {left.id: left.reason for left in context.left_out}


def shown(pair: Pair, role: ImageRole = ImageRole.REJECTED) -> Path:
    (path,) = pair.images[role]
    return path


# Mirror images.


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("left", {"left"}),
        ("the LEFT upper lobe", {"left"}),
        ("right-sided", {"right"}),
        ("rightward shift", {"right"}),
        ("RUL", {"right"}),
        ("lll", {"left"}),
        ("Rt. kidney", {"right"}),
        ("left and right", {"left", "right"}),
        ("bilateral", {"left", "right"}),
        ("both lungs", {"left", "right"}),
        ("midline", set()),
        ("bright, cleft, upright", set()),
    ],
)
def test_sides_are_read_as_words(text: str, sides: set[str]) -> None:
    assert sides_in(text) == sides


@pytest.mark.parametrize(
    ("kind", "question", "chosen"),
    [
        ("side", "on which side is the finding?", "left"),
        ("pos", "Where is the mass?", "Right frontal lobe"),
        ("Position", "Where is the lung lesion?", "RUL."),
        ("position", "Is the lesion on the left?", "No, it is on the right."),
        ("position", "Is the lesion on the left?", "Yes, in the left lung"),
    ],
)
def test_an_answer_that_names_one_side_is_mirrored(
    kind: str, question: str, chosen: str, make_image, make_pair, tmp_path: Path
) -> None:
    pair = make_pair("p", (make_image("a.png", 1),), question=question, chosen=chosen, kind=kind)
    made, _ = run("mirror", [pair], tmp_path)
    before, after = (np.asarray(Image.open(shown(made["p"], role))) for role in ImageRole)
    assert (after == before[:, ::-1]).all()
    assert made["p"].provenance.recipe == "mirror"


@pytest.mark.parametrize(
    ("kind", "question", "chosen", "reason"),
    [
        ("presence", "Is there a lesion?", "left", "kind presence does not ask for a side"),
        (None, "Where?", "left", "kind unknown does not ask for a side"),
        ("position", "Where?", "upper lobe", "the chosen response stays true"),
        ("position", "Where?", "both lungs", "names both sides"),
        ("position", "Where?", "left and right", "names both sides"),
        ("position", "Where?", "not in the left lung", "denies something"),
        ("position", "Is it left or right?", "yes", "the chosen response stays true"),
        ("position", "Is it in the left lung?", "No", "the answer is no"),
        ("position", "Is it in the left lung?", "Yes.", "it stays true where both sides are affected"),
        ("position", "Is it in the upper lobe?", "yes", "the chosen response stays true"),
    ],
)
def test_an_answer_that_may_stay_true_is_left_out_with_the_reason(
    kind: str | None, question: str, chosen: str, reason: str, make_image, make_pair, tmp_path: Path
) -> None:
    pair = make_pair("p", (make_image("a.png", 1),), question=question, chosen=chosen, kind=kind)
    made, left = run("mirror", [pair], tmp_path)
    assert not made
    assert reason in left["p"]


def test_a_yes_to_one_side_is_mirrored_on_request(make_image, make_pair, tmp_path: Path) -> None:
    pair = make_pair("p", (make_image("a.png"),), question="Is it left?", chosen="Yes", kind="position")
    assert run("mirror", [pair], tmp_path, closed=True)[0]


def test_an_image_that_is_its_own_mirror_image_is_left_out(make_pair, tmp_path: Path) -> None:
    Image.new("L", (8, 8), 90).save(tmp_path / "even.png")
    pair = make_pair("p", (tmp_path / "even.png",), chosen="left", kind="side")
    _, left = run("mirror", [pair], tmp_path)
    assert left == {"p": "the corruption changes nothing on this image"}


# Twins.


def test_phantoms_are_shown_without_their_lesions(tmp_path: Path) -> None:
    data = load(
        PhantomSettings(train=1, pool=12, validation=1, test=1, size=32), tmp_path, True, lambda _: None
    )
    made, left = run("erased", list(data.pool), tmp_path / "out")
    assert {pair.id for pair in data.pool if pair.region} == set(made)
    assert made
    assert set(left.values()) == {"the image has no twin with the lesion erased"}
    for pair in made.values():
        clean, twin = (np.asarray(Image.open(shown(pair, role))) for role in ImageRole)
        changed = clean != twin
        assert changed.any()
        # The lesion fades out a little beyond its mask.
        assert not changed[~grown(open_mask(pair.region), 4)].any()
        assert pair.provenance.recipe == "erased"


def test_twins_are_named_by_a_pattern_and_a_folder(make_image, make_pair, tmp_path: Path) -> None:
    pair = make_pair("p", (make_image("scan.png", 1),))
    (tmp_path / "healthy").mkdir()
    Image.new("L", (32, 32)).save(tmp_path / "healthy/scan_no.png")
    folder = str(tmp_path / "healthy")
    made, _ = run("erased", [pair], tmp_path, twin="{stem}_no{suffix}", folder=folder)
    assert shown(made["p"]) == tmp_path / "healthy/scan_no.png"


def test_data_without_any_twin_is_an_error_that_tells_where_it_looked(
    make_image, make_pair, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"(?s)no image has a twin.*a-twin\.png"):
        run("erased", [make_pair("p", (make_image("a.png"),))], tmp_path)
    assert run("erased", [], tmp_path) == ({}, {})


def test_a_twin_of_another_size_is_an_error(make_image, make_pair, tmp_path: Path) -> None:
    pair = make_pair("p", (make_image("a.png"),))
    make_image("a-twin.png", 1, (16, 32))
    with pytest.raises(InputError, match="32 × 32 pixels, its twin 32 × 16"):
        run("erased", [pair], tmp_path)


# Other patients.


def blob(path: Path, row: int, column: int) -> Path:
    """Write an image of a disc: the nearer two discs, the more alike their images."""
    rows, columns = np.mgrid[:48, :48]
    pixels = 200 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 60)
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def asked(make_pair, tmp_path: Path) -> list[Pair]:
    """A question on four images, answered yes, no, no, no; the third is most like the first."""
    places = {"a": (20, 20), "far": (40, 40), "near": (25, 20), "middle": (32, 20)}
    return [
        make_pair(
            name,
            (blob(tmp_path / "images" / f"{name}.png", *place),),
            question="Is there a mass?",
            chosen="Yes" if name == "a" else "no.",
            kind="presence",
        )
        for name, place in places.items()
    ]


def test_the_most_similar_image_with_another_answer_is_taken(asked: list[Pair], tmp_path: Path) -> None:
    made, left = run("other-patient", asked, tmp_path)
    assert not left
    assert shown(made["a"]).name == "near.png"
    assert {shown(made[name]).name for name in ("near", "far", "middle")} == {"a.png"}
    assert made["a"].provenance.recipe == "other-patient (same question)"


def test_other_patients_do_not_depend_on_order_or_workers(asked: list[Pair], tmp_path: Path) -> None:
    def rejected(pairs: list[Pair], folder: str, workers: int = 1) -> dict[str, Path]:
        context = RecipeContext(3, tmp_path / folder, workers=workers)
        made = image_recipes["other-patient"].run(pairs, {"among": 3}, context)
        return {pair.id: shown(pair) for pair in made}

    forward = rejected(asked, "1")
    assert rejected(asked[::-1], "2") == forward
    assert rejected(asked, "1") == forward
    drawn = set()
    for seed in range(20):
        made = image_recipes["other-patient"].run(asked, {"among": 3}, RecipeContext(seed, tmp_path / "1"))
        drawn.add(shown(made[0]).name)
    assert drawn == {"near.png", "middle.png", "far.png"}


def test_never_the_same_patient(asked: list[Pair], tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "patient_id": 1},
        {"image": "images/near.png", "patient_id": "1"},
        {"image": "far.png", "patient_id": 2},
    ]
    patients = tmp_path / "patients.jsonl"
    patients.write_text("\n".join(map(json.dumps, rows)))
    made, left = run("other-patient", asked, tmp_path, patients=str(patients), patient_key="patient_id")
    # The nearest is the same patient's, and of the next nobody knows whose it is.
    assert {name: shown(pair).name for name, pair in made.items()} == {"a": "far.png", "far": "a.png"}
    assert set(left) == {"near", "middle"}
    assert set(left.values()) == {"no image with another answer is known to be another patient's"}


def test_a_patient_file_without_the_key_is_an_error(asked: list[Pair], tmp_path: Path) -> None:
    (tmp_path / "patients.jsonl").write_text('{"image": "a.png"}')
    with pytest.raises(InputError, match=r"patients\.jsonl, line 1"):
        run("other-patient", asked, tmp_path, patients=str(tmp_path / "patients.jsonl"))


def test_a_copy_of_the_image_is_the_same_image(make_pair, tmp_path: Path) -> None:
    first, copy = tmp_path / "a.png", tmp_path / "copy.jpg"
    coarse = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8))
    coarse.resize((96, 96), Image.Resampling.BICUBIC).save(first)
    Image.open(first).resize((80, 80)).save(copy, quality=90)
    pairs = [
        make_pair("a", (first,), question="Is it large?", chosen="yes"),
        make_pair("copy", (copy,), question="Is it large?", chosen="no"),
    ]
    made, left = run("other-patient", pairs, tmp_path)
    assert not made
    assert set(left) == {"a", "copy"}


def test_open_questions_of_a_kind_help_each_other_and_closed_ones_do_not(make_pair, tmp_path: Path) -> None:
    def pair(name: str, place: int, question: str, chosen: str) -> Pair:
        image = blob(tmp_path / f"images/{name[0]}.png", place, place)
        return make_pair(name, (image,), question=question, chosen=chosen, kind="position")

    pairs = [
        pair("a", 10, "Where is the mass?", "left lung"),
        pair("b", 30, "In which lobe is the nodule?", "right upper lobe"),
        pair("c", 12, "Where is the effusion?", "left"),
        pair("a-closed", 10, "Is the mass large?", "yes"),
        pair("b-closed", 30, "Is the nodule large?", "no"),
    ]
    made, left = run("other-patient", pairs, tmp_path)
    # "Left" may be true of the left lung's image, near as it is.
    assert {name: shown(made[name]).name for name in made} == {"a": "b.png", "b": "c.png", "c": "b.png"}
    assert made["a"].provenance.recipe == "other-patient (same kind)"
    assert set(left) == {"a-closed", "b-closed"}
    only, _ = run("other-patient", pairs, tmp_path, same="question")
    assert not only


def test_an_image_with_both_answers_makes_neither_wrong(make_pair, tmp_path: Path) -> None:
    images = [blob(tmp_path / f"images/{name}.png", place, 20) for name, place in (("a", 10), ("b", 30))]
    pairs = [make_pair("a", images[:1], question="Where?", chosen="left", kind="pos")]
    pairs += [
        make_pair(f"b{n}", images[1:], question="Where?", chosen=c) for n, c in enumerate(("Left", "right"))
    ]
    _, left = run("other-patient", pairs, tmp_path)
    assert left["a"] == "no other image is known to have another answer"


def test_pairs_with_several_images_are_left_out(
    make_image, make_pair, asked: list[Pair], tmp_path: Path
) -> None:
    two = make_pair("two", (make_image("1.png", 1), make_image("2.png", 2)), question="Is there a mass?")
    _, left = run("other-patient", [*asked, two], tmp_path)
    assert left == {"two": "the pair shows several images"}


@pytest.mark.parametrize(
    ("one", "other", "different"),
    [("left", "right", True), ("flair", "mr flair", False), ("yes", "no", True), ("x-ray", "x ray", False)],
)
def test_answers_that_may_both_be_meant_do_not_differ(one: str, other: str, different: bool) -> None:
    assert differ(one, other) is different
    assert differ(other, one) is different


def test_features_are_kept_in_files_and_follow_the_image(tmp_path: Path) -> None:
    path = blob(tmp_path / "a.png", 10, 10)
    first = read_features([path, path], tmp_path / "kept", 1)[path]
    (kept,) = (tmp_path / "kept").iterdir()
    assert (np.load(kept) == first).all()
    np.save(kept, first * 0)
    assert not read_features([path], tmp_path / "kept", 1)[path].any()
    blob(path, 30, 34)
    assert (read_features([path], tmp_path / "kept", 1)[path] == features_of(Image.open(path))).all()


def test_a_black_image_has_features_too() -> None:
    features = features_of(Image.new("L", (10, 300)))
    assert np.isfinite(features).all()
    assert np.linalg.norm(features) == pytest.approx(1)


@pytest.mark.parametrize("name", ["mirror", "erased", "other-patient"])
def test_pairs_without_an_image_are_an_error(name: str, make_pair, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"pair text: the recipe {name} needs an image"):
        run(name, [make_pair("text")], tmp_path)


def test_the_chosen_response_and_the_clean_image_stay(asked: list[Pair], tmp_path: Path) -> None:
    made, _ = run("other-patient", asked, tmp_path)
    for pair in asked:
        assert made[pair.id].images[ImageRole.CLEAN] == pair.images[ImageRole.CLEAN]
        assert made[pair.id].responses[ResponseRole.CHOSEN] == pair.responses[ResponseRole.CHOSEN]
