"""What the store keeps, what invalidates an entry, and what it does with damage."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medpref.errors import RunError
from medpref.pairs.pair import Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer
from medpref.training.reference import PassReport, ReferenceLogps, compute_reference
from medpref.training.reference_store import ReferenceStore, entry_key

CELLS = list(Cell)
MODEL = "0123456789abcdef"


def report_of(
    backbone, pairs: Sequence[Pair], store: ReferenceStore, cells=CELLS, precision="fp32"
) -> PassReport:
    reference = compute_reference(Scorer(backbone, precision=precision), pairs, cells, store=store)
    assert reference.report is not None
    return reference.report


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.safetensors"))


def equal(one: ReferenceLogps, other: ReferenceLogps, pairs: Sequence[Pair], cells=CELLS) -> bool:
    ours, theirs = one.look_up(pairs, cells), other.look_up(pairs, cells)
    return all(torch.equal(ours[cell], theirs[cell]) for cell in cells)


def test_a_second_pass_scores_nothing_and_finds_the_same_bits(
    backbone, pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = compute_reference(Scorer(backbone), pairs, CELLS)
    first = compute_reference(Scorer(backbone), pairs, CELLS, store=ReferenceStore(tmp_path / "store"))
    assert first.report == PassReport(computed=24, reused=0)
    scorer = Scorer(backbone)
    monkeypatch.setattr(scorer, "score_all", None)
    done: list[int] = []
    second = compute_reference(
        scorer, pairs, CELLS, store=ReferenceStore(tmp_path / "store"), advance=done.append
    )
    assert second.report == PassReport(computed=0, reused=24)
    assert sum(done) == len(pairs)
    assert equal(first, plain, pairs)
    assert equal(second, plain, pairs)


def test_new_pairs_and_new_cells_are_all_that_is_scored(make_backbone, pairs, make_pair, tmp_path) -> None:
    backbone, store = make_backbone("mistral"), ReferenceStore(tmp_path / "store")
    assert report_of(backbone, pairs[:4], store, CELLS[:2]) == (8, 0, ())
    assert report_of(backbone, pairs, store, CELLS[:2]) == (4, 8, ())
    assert report_of(backbone, pairs, store, CELLS[1:3]) == (6, 6, ())
    # An id is no part of what is scored, and neither is the role that an image or response is used in.
    first = pairs[0]
    twin = make_pair(
        "twin",
        first.images["rejected"],
        first.images["clean"],
        "Where is the lesion?",
        first.responses[ResponseRole.REJECTED],
        first.responses[ResponseRole.CHOSEN],
    )
    assert report_of(backbone, [twin], store, [Cell.REJECTED_CHOSEN]) == (0, 1, ())


def test_changed_weights_miss_and_the_old_ones_hit_again(make_backbone, pairs, tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path / "store")
    backbone = make_backbone("mistral")
    assert report_of(backbone, pairs, store).computed == 24
    weight = next(backbone.model.parameters())
    with torch.no_grad():
        old = weight.view(-1)[0].item()
        weight.view(-1)[0] += 1e-3
    assert report_of(backbone, pairs, store).computed == 24
    with torch.no_grad():
        weight.view(-1)[0] = old
    assert report_of(backbone, pairs, store) == (0, 24, ())
    assert len({shard.parent for shard in shards(tmp_path / "store")}) == 2


def test_another_template_or_precision_misses(make_backbone, pairs, tmp_path: Path) -> None:
    store = ReferenceStore(tmp_path / "store")
    backbone = make_backbone("mistral")
    assert report_of(backbone, pairs[:2], store, CELLS[:1]).computed == 2
    assert report_of(backbone, pairs[:2], store, CELLS[:1], precision="bf16") == (2, 0, ())
    plain = backbone.template.prompt_ids
    changed = type("Changed", (), {"prompt_ids": staticmethod(lambda *a, **k: [*plain(*a, **k), 300])})
    changed.response_ids = staticmethod(backbone.template.response_ids)
    backbone.template = changed()
    assert report_of(backbone, pairs[:2], store, CELLS[:1]) == (2, 0, ())


def test_a_changed_image_byte_invalidates_what_shows_it_and_nothing_else(
    make_backbone, pairs: list[Pair], tmp_path: Path
) -> None:
    backbone, store = make_backbone("mistral"), ReferenceStore(tmp_path / "store")
    scorer = Scorer(backbone)
    before = compute_reference(scorer, pairs, CELLS, store=store)
    path = pairs[0].images["clean"][0]
    image = Image.open(path).convert("RGB")
    image.putpixel((0, 0), tuple(255 - value for value in image.getpixel((0, 0))))
    image.save(path)
    # The same scorer: neither its pixels nor its hashes may be the old file's.
    after = compute_reference(scorer, pairs, CELLS, store=store)
    # Two pairs show this image, each in two cells.
    assert after.report == PassReport(computed=4, reused=20)
    clean, rest = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED], [Cell.REJECTED_CHOSEN, Cell.REJECTED_REJECTED]
    assert equal(before, after, pairs, rest)
    assert equal(before, after, pairs[2:], clean)
    assert not equal(before, after, pairs[:1], clean)
    fresh = compute_reference(Scorer(backbone), pairs, CELLS)
    for cell in CELLS:
        torch.testing.assert_close(
            after.look_up(pairs, [cell])[cell], fresh.look_up(pairs, [cell])[cell], rtol=1e-6, atol=1e-5
        )


@pytest.mark.parametrize("role", list(ResponseRole))
def test_a_changed_response_invalidates_its_cells(make_backbone, pairs, tmp_path, role) -> None:
    backbone, store = make_backbone("mistral"), ReferenceStore(tmp_path / "store")
    report_of(backbone, pairs, store)
    changed = [pairs[0].with_response(role, "A lesion!"), *pairs[1:]]
    assert report_of(backbone, changed, store) == (2, 22, ())


def test_every_part_of_a_key_counts() -> None:
    base = {"model": "m", "precision": "fp32", "prompt": [1, 2], "response": [3, 4], "images": ["a", "b"]}
    changes = [
        {"model": "n"},
        {"precision": "bf16"},
        {"prompt": [1, 5]},
        {"prompt": [1, 2, 3], "response": [4]},
        {"response": [3, 5]},
        {"images": ["b", "a"]},
        {"images": ["a"]},
    ]
    keys = {entry_key(**{**base, **change}) for change in ({}, *changes)}
    assert len(keys) == len(changes) + 1
    assert {len(key) for key in keys} == {32}


ENTRIES = st.dictionaries(
    st.binary(min_size=32, max_size=32), st.lists(st.floats(-50, 0, width=32), min_size=1, max_size=5)
)


@given(st.lists(ENTRIES, max_size=4), st.binary(min_size=32, max_size=32))
def test_what_was_put_is_got(tmp_path_factory: pytest.TempPathFactory, puts, stranger: bytes) -> None:
    folder = tmp_path_factory.mktemp("store")
    writer, last = ReferenceStore(folder), {}
    for entries in puts:
        new = {key: torch.tensor(values) for key, values in entries.items() if key not in last}
        writer.put(MODEL, new)
        last.update(new)
    for store in (writer, ReferenceStore(folder)):
        found = store.get(MODEL, [*last, stranger])
        assert found.keys() == last.keys()
        assert all(torch.equal(found[key], values) for key, values in last.items())
        assert store.get("another", last) == {}
        assert not store.damaged


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_shard_cut_short_is_named_and_scored_again(make_backbone, pairs, tmp_path, keep: int) -> None:
    backbone, folder = make_backbone("mistral"), tmp_path / "store"
    before = compute_reference(
        Scorer(backbone), pairs, CELLS, store=ReferenceStore(folder), images_per_batch=2
    )
    assert len(shards(folder)) == 3
    bad = shards(folder)[1]
    bad.write_bytes(bad.read_bytes()[:keep])
    after = compute_reference(
        Scorer(backbone), pairs, CELLS, store=ReferenceStore(folder), images_per_batch=2
    )
    assert after.report == PassReport(computed=8, reused=16, damaged=(str(bad),))
    assert equal(before, after, pairs)
    # The same entries make the same shard: the damage is mended.
    assert report_of(backbone, pairs, ReferenceStore(folder)) == (0, 24, ())


def test_one_turned_bit_is_found(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    backbone, folder = make_backbone("mistral"), tmp_path / "store"
    report_of(backbone, pairs, ReferenceStore(folder))
    (shard,) = shards(folder)
    data = bytearray(shard.read_bytes())
    data[-3] ^= 1
    shard.write_bytes(data)
    assert report_of(backbone, pairs, ReferenceStore(folder)) == (24, 0, (str(shard),))


def test_a_file_that_is_no_shard_is_named(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    backbone, folder = make_backbone("mistral"), tmp_path / "store"
    stranger = folder / backbone.fingerprint() / "notes.safetensors"
    stranger.parent.mkdir(parents=True)
    stranger.write_text("hello")
    assert report_of(backbone, pairs, ReferenceStore(folder)).damaged == (str(stranger),)


def test_a_shard_that_vanishes_is_scored_again(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    backbone, store = make_backbone("mistral"), ReferenceStore(tmp_path / "store")
    report_of(backbone, pairs, store)
    assert report_of(backbone, pairs, store) == (0, 24, ())
    (shard,) = shards(store.folder)
    shard.unlink()
    assert report_of(backbone, pairs, store) == (24, 0, (str(shard),))
    assert report_of(backbone, pairs, store) == (0, 24, ())


class KilledError(Exception):
    """Stands for a kill."""


def test_a_killed_pass_goes_on_where_it_was_to_the_same_bits(backbone, pairs, tmp_path: Path) -> None:
    def kill(_: int) -> None:
        raise KilledError

    folder, whole = tmp_path / "store", ReferenceStore(tmp_path / "whole")
    # A row an image, and six images: two of a batch of four are left.
    expected = compute_reference(Scorer(backbone), pairs, CELLS, store=whole, images_per_batch=4)
    with pytest.raises(KilledError):
        compute_reference(
            Scorer(backbone), pairs, CELLS, store=ReferenceStore(folder), images_per_batch=4, advance=kill
        )
    resumed = compute_reference(
        Scorer(backbone), pairs, CELLS, store=ReferenceStore(folder), images_per_batch=4
    )
    assert resumed.report == PassReport(computed=8, reused=16)
    assert equal(resumed, expected, pairs)
    assert [shard.name for shard in shards(folder)] == [shard.name for shard in shards(whole.folder)]


def test_another_process_s_entries_are_seen_at_once(make_backbone, pairs: list[Pair], tmp_path) -> None:
    backbone = make_backbone("mistral")
    mine, theirs = ReferenceStore(tmp_path / "store"), ReferenceStore(tmp_path / "store")
    assert report_of(backbone, pairs[:2], mine) == (8, 0, ())
    assert report_of(backbone, pairs[:4], theirs) == (8, 8, ())
    assert report_of(backbone, pairs, mine) == (8, 16, ())


WRITER = """
import sys
from pathlib import Path
import torch
from medpref.training.reference_store import ReferenceStore
store, first = ReferenceStore(Path(sys.argv[1])), int(sys.argv[2])
for n in range(first, first + 30):
    store.put("model", {n.to_bytes(32, "big"): torch.full((n % 5 + 1,), -float(n))})
"""


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    # The second and the third write partly the same.
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), str(first)]) for first in (0, 30, 45)
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    store = ReferenceStore(tmp_path)
    found = store.get("model", [n.to_bytes(32, "big") for n in range(80)])
    assert [int.from_bytes(key, "big") for key in sorted(found)] == list(range(75))
    assert all(
        torch.equal(values, torch.full((int.from_bytes(key, "big") % 5 + 1,), -float(int.from_bytes(key))))
        for key, values in found.items()
    )
    assert not store.damaged
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_place_that_cannot_be_written_is_told(make_backbone, pairs: list[Pair], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    with pytest.raises(RunError, match="store"):
        report_of(make_backbone("mistral"), pairs, ReferenceStore(tmp_path / "store"))
