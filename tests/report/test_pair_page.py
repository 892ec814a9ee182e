"""The page about a pair file: whole, self-contained, escaped, small, and the same for the same pairs."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from pages import Page
from PIL import Image
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.files import write_jsonl
from medpref.pairs.pair import Change, ImageRole, Pair, Provenance, ResponseRole, Turn
from medpref.pairs.recipes.base import LeftOut
from medpref.pairs.store import write_pairs
from medpref.report.pairs import write_pair_page
from medpref.report.pairs.gallery import make_examples, spread
from medpref.report.pairs.marks import Piece, mark

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u2028 {{ 7 * 7 }}'


class PairPage(Page):
    """A page about pairs, with what its marks hold."""

    def __init__(self, path: Path) -> None:
        self.marked: list[str] = []
        super().__init__(path.read_text(encoding="utf-8"))

    def handle_data(self, data: str) -> None:
        super().handle_data(data)
        if self.open and self.open[-1] == "mark":
            self.marked.append(data)

    @property
    def cards(self) -> list[dict[str, str | None]]:
        return self.every("article")


def save(path: Path, seed: int, size: int = 48) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> list[Pair]:
    """Thirty pairs on as many images: two kinds, two recipes, regions, changes, an earlier turn."""
    mask = tmp_path / "mask.png"
    Image.fromarray(np.pad(np.ones((20, 20), np.uint8), 14)).save(mask)
    made = []
    for number in range(30):
        side, other = ("left", "right") if number % 2 else ("right", "left")
        chosen = f"The opacity lies in the {side} lung."
        rejected = f"The opacity lies in the {other} lung, as one can see."
        start = rejected.index(other)
        made.append(
            Pair(
                f"p{number}",
                "<image>\nWhere is the opacity?",
                {
                    ImageRole.CLEAN: (save(tmp_path / f"clean-{number}.png", number),),
                    ImageRole.REJECTED: (save(tmp_path / f"noise-{number}.png", 100 + number),),
                },
                {ResponseRole.CHOSEN: chosen, ResponseRole.REJECTED: rejected},
                kind=("side", "presence")[number % 3 == 0],
                weight=1.0,
                region=mask,
                provenance=Provenance(
                    "a source", ("targeted (error: side)", "llm")[number % 5 == 0], 7, "CC0"
                ),
                changes=(Change("side", start, start + len(other), side, other),),
            )
        )
    made[0] = replace(made[0], history=(Turn("Is this a chest?", "It is a chest."),))
    return made


def page_of(pairs: list[Pair], tmp_path: Path, **settings: int) -> PairPage:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, pairs)
    return PairPage(write_pair_page(path, **settings))


def test_the_page_has_every_section(pairs, tmp_path) -> None:
    left_out = [LeftOut("x", "differing", "chosen and rejected response sound the same")]
    write_jsonl(tmp_path / "left-out.jsonl", map(asdict, left_out))
    page = page_of(pairs, tmp_path)
    assert page.sections == ["counts", "lengths", "leak", "left-out", "examples"]
    assert {str(link["href"]).removeprefix("#") for link in page.every("a")} == set(page.sections)
    text = " ".join(page.text)
    for words in (
        *("30 pairs on 30 images", "a source", "targeted", "presence", "Told apart by style"),
        *("chosen and rejected response sound the same", "length (log of words)", "Seeds of the recipes: 7"),
        *("side: “left” became “right”", "It is a chest."),
    ):
        assert words in text


def test_words_that_changed_are_marked(pairs, tmp_path) -> None:
    page = page_of(pairs, tmp_path)
    assert set(page.marked) == {"left", "right"}
    assert {attributes.get("title") for attributes in page.every("mark")} == {"side", None}


def test_both_images_stand_side_by_side_with_the_region(pairs, tmp_path) -> None:
    page = page_of(pairs, tmp_path)
    alts = [str(image["alt"]) for image in page.every("img")]
    assert alts[0].startswith("image of pair p")
    assert alts[1] == f"rejected {alts[0]}"
    assert len(alts) == 60
    outlines = [svg for svg in page.every("svg") if svg.get("class") == "lesion"]
    assert len(outlines) == 60
    assert [box.get("id") for box in page.every("input")] == ["lesions"]


def test_the_page_needs_nothing_but_itself(pairs, tmp_path) -> None:
    page = page_of(pairs, tmp_path)
    sources = [v for _, attributes in page.tags for name, v in attributes.items() if name in ("src", "href")]
    assert all(str(source).startswith(("data:image/", "#")) for source in sources)
    assert not page.every("link")
    [policy] = [meta["content"] for meta in page.every("meta") if meta.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; img-src data:;")
    assert str(tmp_path) not in (tmp_path / "pairs.html").read_text(encoding="utf-8")


def test_it_can_be_read_aloud_and_used_by_keyboard(pairs, tmp_path) -> None:
    page = page_of(pairs, tmp_path)
    assert all("scope" in attributes for attributes in page.every("th"))
    assert all(attributes.get("alt") for attributes in page.every("img"))
    assert all(svg.get("role") == "img" or "aria-hidden" in svg for svg in page.every("svg"))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(names)) == len(names)
    for _, attributes in page.tags:
        for key in ("aria-labelledby", "for"):
            assert set((attributes.get(key) or "").split()) <= set(names)
    assert all(box.get("tabindex") == "0" for box in page.every("div") if box.get("class") == "scroll")


def test_filters_name_what_the_cards_have(pairs, tmp_path) -> None:
    page = page_of(pairs, tmp_path)
    values = {option["value"] for option in page.every("option") if option.get("value")}
    groups = {group for card in page.cards for group in str(card["data-groups"]).split()}
    assert groups == values == {"recipe-0", "recipe-1", "error-0"}
    assert [group["label"] for group in page.every("optgroup")] == ["recipe", "error"]
    assert {"llm", "targeted"} <= set(page.text), "errors have names of their own"
    assert {card["data-kind"] for card in page.cards} == {"side", "presence"}


def test_what_data_says_is_escaped(pairs, tmp_path) -> None:
    clean = page_of(pairs, tmp_path)
    hostile = [
        replace(
            pair,
            id=f"{HOSTILE}{number}",
            prompt=f"<image>{HOSTILE}",
            responses={ResponseRole.CHOSEN: HOSTILE, ResponseRole.REJECTED: f"{HOSTILE} not"},
            kind=HOSTILE,
            provenance=Provenance(HOSTILE, HOSTILE, 1, HOSTILE),
            history=(Turn(HOSTILE, HOSTILE),),
            changes=(Change(HOSTILE, 0, 7, HOSTILE[:7], HOSTILE[:7]),),
        )
        for number, pair in enumerate(pairs)
    ]
    write_jsonl(tmp_path / "left-out.jsonl", [asdict(LeftOut("x", HOSTILE, HOSTILE))])
    attacked = page_of(hostile, tmp_path)
    assert len(attacked.every("script")) == len(clean.every("script")) == 1
    assert not any(image["src"] == "x" for image in attacked.every("img"))
    assert not any(name.startswith("on") for _, attributes in attacked.tags for name in attributes)
    assert "<script>alert(1)</script>" in "".join(attacked.text)
    assert "{{ 7 * 7 }}" in "".join(attacked.text)


def test_examples_are_spread_seeded_and_few(pairs, tmp_path) -> None:
    assert len(page_of(pairs, tmp_path, examples=5).cards) == 5
    first = spread(pairs, 0)
    assert spread(pairs[::-1], 0) == first
    assert spread(pairs, 1) != first
    assert {(p.kind, p.provenance.recipe) for p in first[:4]} == {
        (p.kind, p.provenance.recipe) for p in pairs
    }
    assert sorted(p.id for p in first) == sorted(p.id for p in pairs)


def test_the_same_pairs_make_the_same_page(pairs, tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, pairs)
    first = write_pair_page(path).read_bytes()
    assert write_pair_page(path).read_bytes() == first


def test_large_images_do_not_make_a_large_page(pairs, tmp_path, monkeypatch) -> None:
    page_of(pairs, tmp_path)
    whole = sum(example.size for example in make_examples(pairs))
    monkeypatch.setattr("medpref.report.pairs.gallery.ROOM", whole // 3)
    few = make_examples(pairs)
    assert 5 < len(few) < 15
    assert sum(example.size for example in few) <= whole // 3


def test_long_responses_are_compared_whole_and_shown_in_part(make_pair, tmp_path) -> None:
    sentence = "The lungs are clear and the heart is of normal size. "
    chosen, rejected = sentence * 20 + "No effusion.", sentence * 20 + "Large effusion."
    assert page_of([make_pair("a", chosen=chosen, refused=rejected)], tmp_path).marked == ["No", "Large"]
    # The cut lies elsewhere in the two texts, which is no difference between them.
    long = [make_pair("a", chosen="Yes. " + sentence * 200, refused="Well, no. " + sentence * 200)]
    page = page_of(long, tmp_path)
    assert page.marked == ["Yes", "Well, no"]
    shown = [text for text in page.text if "The lungs" in text]
    assert [text.endswith("…") for text in shown] == [True, True]
    assert max(map(len, shown)) < 4100


def test_texts_alone_make_a_page(make_pair, tmp_path) -> None:
    page = page_of([make_pair("a"), make_pair("b", refused=None)], tmp_path)
    assert page.sections == ["counts", "lengths", "leak", "examples"]
    text = " ".join(page.text)
    assert "too few to measure a leak" in text
    assert "Do not pass on" in text
    assert not page.every("img")
    assert page_of([make_pair("a", refused=None)], tmp_path).sections == ["counts", "leak", "examples"]


def test_an_empty_file_makes_a_page_that_says_so(tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text("")
    assert "0 pairs on 0 images" in " ".join(PairPage(write_pair_page(path)).text)


def test_rows_that_were_put_aside_are_told(make_pair, tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [make_pair("a")])
    with path.open("a") as file:
        file.write(json.dumps({"id": "b"}) + "\n")
    assert "1 row could not be used" in " ".join(PairPage(write_pair_page(path)).text)


def test_a_broken_list_of_pairs_left_out_is_named(make_pair, tmp_path) -> None:
    write_jsonl(tmp_path / "left-out.jsonl", [{"id": "a"}])
    with pytest.raises(InputError, match=r"left-out\.jsonl, line 1"):
        page_of([make_pair("a")], tmp_path)


def test_the_command_takes_a_file(pairs, tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, pairs[:3])
    done = CliRunner().invoke(app, ["report", str(path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "pairs.html").is_file()
    folder = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert isinstance(folder.exception, InputError), "a folder is still a run's"


def marked(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.marked]


def test_a_comparison_by_words_marks_what_differs() -> None:
    chosen, rejected = mark("The left lung is clear.", "the right lung is not clear.")
    assert (marked(chosen), marked(rejected)) == (["left"], ["right", "not"])
    for pieces, text in ((chosen, "The left lung is clear."), (rejected, "the right lung is not clear.")):
        assert "".join(piece.text for piece in pieces) == text


def test_neighbouring_words_that_differ_have_one_mark() -> None:
    chosen, rejected = mark("There are two small cysts in it.", "There are many solid masses in it.")
    assert (marked(chosen), marked(rejected)) == (["two small cysts"], ["many solid masses"])


def test_responses_that_differ_as_a_whole_have_no_marks() -> None:
    assert [marked(pieces) for pieces in mark("Yes", "No, nothing of the sort can be seen here.")] == [[], []]


def test_changes_that_do_not_fit_give_way_to_a_comparison() -> None:
    wrong = Change("side", 0, 4, "left", "right")
    _, rejected = mark("in the left lung", "in the right lung", [wrong])
    assert marked(rejected) == ["right"]
    assert rejected[1].error == ""


def test_added_words_are_marked_on_one_side() -> None:
    added = Change("finding", 9, 20, "", " with fluid")
    chosen, rejected = mark("The chest.", "The chest with fluid.", [added])
    assert (marked(chosen), marked(rejected)) == ([], [" with fluid"])
    assert rejected[1].error == "finding"
