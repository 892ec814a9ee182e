"""Phantoms written like published data sets, and read as these are."""

from pathlib import Path

import pytest
from tests.pairs.source_replicas import aside, load

from medpref.pairs.check import faults
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources.replica import STREAMS, texts
from medpref.pairs.sources.replica_files import SHAPES

FEW = {"train": 2, "pool": 3, "validation": 1, "test": 2, "size": 32}


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_is_read_by_the_source_that_reads_the_published_data(name: str, tmp_path: Path) -> None:
    data = load("replica", tmp_path, of=name, fatal=True, **FEW)
    assert not aside(data)
    assert data.facts["licence"] == "generated, no patient data"
    asked = {task for split, task in data.samples if split == "test"}
    assert asked == (set() if name in ("llava-med", "pubmedvision") else {SHAPES[name].task})
    samples = [s for (split, _), own in data.samples.items() if split == "test" for s in own]
    assert all(sample.gold and sample.images[0].is_file() for sample in samples)
    assert {pair.provenance.source for pair in (*data.train, *data.pool)} <= {"phantoms"}


@pytest.mark.parametrize("name", ["llava-med", "pubmedvision"])
def test_conversations_come_with_whole_preference_pairs(name: str, tmp_path: Path) -> None:
    data = load("replica", tmp_path, of=name, fatal=True, **FEW)
    images = {path.name for pair in data.train for path in pair.images[ImageRole.CLEAN]}
    # Nothing is held back for a test that is never asked.
    assert sum(1 for _ in images) == FEW["train"] + FEW["validation"] + FEW["test"]
    assert any(pair.history for pair in data.train)
    for pair in data.pool:
        assert not list(faults(pair))
        assert pair.weight is not None
        assert pair.responses[ResponseRole.CHOSEN] != pair.responses[ResponseRole.REJECTED]
    assert any(pair.region is not None for pair in data.pool)


def test_replicas_of_one_seed_show_the_same_and_others_do_not(tmp_path: Path) -> None:
    def golds(seed: int, folder: str) -> list[str]:
        data = load("replica", tmp_path / folder, of="mimic-cxr", seed=seed, **FEW)
        return [sample.gold for sample in data.samples["test", "mimic-cxr"]]

    assert golds(1, "a") == golds(1, "b") != golds(2, "c")
    assert not {51, 52, 53, 54} - set(STREAMS.values())


def test_a_tokenizer_can_learn_all_that_a_replica_says(tmp_path: Path) -> None:
    data = load("replica", tmp_path, of="llava-med", **FEW)
    from medpref.pairs.sources import sources

    known = set(texts(sources["replica"].settings.model_validate({"of": "llava-med"})))
    assert {pair.responses[ResponseRole.CHOSEN] for pair in data.train} <= known
