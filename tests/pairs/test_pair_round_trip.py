from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole, Turn
from medpref.pairs.store import read_pairs, write_pairs

# Line ends that str.splitlines knows and JSON leaves alone, and what JSON has to escape.
AWKWARD = st.sampled_from(
    ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r", "\n", "\x00", '"', "\\", "ß", "肺", "🫁"]
)
# A letter, so that no text is empty.
TEXT = st.lists(AWKWARD | st.text(max_size=3), max_size=6).map(lambda parts: "x" + "".join(parts))
# The images that the pairs below show belong to their prompts.
PLAIN = TEXT.map(lambda text: text.replace("<image>", ""))
PAIRS = st.lists(
    st.builds(
        Pair,
        id=TEXT,
        prompt=TEXT.map(lambda text: "<image>" + text.replace("<image>", "")),
        images=st.fixed_dictionaries(
            {ImageRole.CLEAN: st.just((Path("images/a.png"),))},
            optional={ImageRole.REJECTED: st.just((Path("images/ü b.png"),))},
        ),
        responses=st.fixed_dictionaries(
            {ResponseRole.CHOSEN: TEXT.map(lambda text: text + "c")},
            optional={ResponseRole.REJECTED: TEXT.map(lambda text: text + "r")},
        ),
        weight=st.none() | st.floats(0, 10),
        kind=st.none() | TEXT,
        region=st.none() | st.just(Path("mask.png")),
        provenance=st.builds(
            Provenance, TEXT, st.none() | TEXT, st.none() | st.integers(0, 2**31), st.none() | TEXT
        ),
        history=st.lists(st.builds(Turn, PLAIN, PLAIN), max_size=3).map(tuple),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda pair: pair.id,
)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PAIRS)
def test_what_is_written_is_read(tmp_path: Path, suffix: str, pairs: list[Pair]) -> None:
    under = [
        Pair(
            pair.id,
            pair.prompt,
            {role: tuple(tmp_path / path for path in paths) for role, paths in pair.images.items()},
            pair.responses,
            pair.weight,
            pair.kind,
            tmp_path / pair.region if pair.region else None,
            pair.provenance,
            pair.history,
        )
        for pair in pairs
    ]
    path = tmp_path / f"pairs.{suffix}"
    write_pairs(path, under)
    read = read_pairs(path, verify_images=False)
    assert read.quarantined == ()
    assert list(read.pairs) == under


TEXT_ONLY = Pair("t", "Why?", {}, {ResponseRole.CHOSEN: "Because"})


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_text_only_pairs_alone_are_written_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pairs.{suffix}"
    write_pairs(path, [TEXT_ONLY])
    assert read_pairs(path).pairs == (TEXT_ONLY,)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_text_only_pairs_mix_with_others(tmp_path: Path, suffix: str) -> None:
    other = Pair("i", "<image>?", {ImageRole.CLEAN: (tmp_path / "a.png",)}, {ResponseRole.CHOSEN: "x"})
    path = tmp_path / f"pairs.{suffix}"
    write_pairs(path, [TEXT_ONLY, other])
    assert read_pairs(path, verify_images=False).pairs == (TEXT_ONLY, other)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_no_pairs_are_a_file_too(tmp_path: Path, suffix: str) -> None:
    write_pairs(tmp_path / f"pairs.{suffix}", [])
    assert read_pairs(tmp_path / f"pairs.{suffix}").pairs == ()


def test_files_outside_the_folder_are_named_in_whole(tmp_path: Path) -> None:
    image = tmp_path / "elsewhere" / "a.png"
    pair = Pair("i", "<image>?", {ImageRole.CLEAN: (image,)}, {ResponseRole.CHOSEN: "x"})
    write_pairs(tmp_path / "run" / "pairs.jsonl", [pair])
    assert read_pairs(tmp_path / "run" / "pairs.jsonl", verify_images=False).pairs == (pair,)


def test_a_data_set_may_move(tmp_path: Path) -> None:
    pair = Pair("i", "<image>?", {ImageRole.CLEAN: (tmp_path / "a" / "x.png",)}, {ResponseRole.CHOSEN: "x"})
    write_pairs(tmp_path / "a" / "pairs.jsonl", [pair])
    (tmp_path / "a").rename(tmp_path / "b")
    (read,) = read_pairs(tmp_path / "b" / "pairs.jsonl", verify_images=False).pairs
    assert read.images[ImageRole.CLEAN] == (tmp_path / "b" / "x.png",)


def test_a_path_relative_to_the_working_folder_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_image
) -> None:
    make_image("a.png")
    monkeypatch.chdir(tmp_path)
    pair = Pair("i", "<image>?", {ImageRole.CLEAN: (Path("images/a.png"),)}, {ResponseRole.CHOSEN: "x"})
    write_pairs(tmp_path / "run" / "pairs.jsonl", [pair])
    assert len(read_pairs(tmp_path / "run" / "pairs.jsonl").pairs) == 1
