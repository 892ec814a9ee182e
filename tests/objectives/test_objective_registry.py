from collections.abc import Iterator, Mapping

import pytest
import torch
from torch import Tensor

from medpref.errors import InputError
from medpref.objectives import Scores, objectives
from medpref.objectives.base import Objective
from medpref.registry import Registry
from medpref.scoring.cells import Cell

TABLE = {
    "dpo": {Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED},
    "irpo": {Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED},
    "copo": {Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN},
    "mdpo": {Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED, Cell.REJECTED_CHOSEN},
    "mmedpo": {Cell.CLEAN_CHOSEN, Cell.REJECTED_REJECTED},
    "sft": {Cell.CLEAN_CHOSEN},
}


class Recording(Mapping[Cell, Tensor]):
    def __init__(self) -> None:
        self.read: set[Cell] = set()

    def __getitem__(self, cell: Cell) -> Tensor:
        self.read.add(cell)
        return torch.tensor([2.0, 3.0])

    def __iter__(self) -> Iterator[Cell]:
        return iter(Cell)

    def __len__(self) -> int:
        return len(Cell)


class RecordingTokens(Recording):
    def __getitem__(self, cell: Cell) -> Tensor:
        return super().__getitem__(cell)[:, None].expand(2, 3)


class RecordingLengths(Recording):
    def __getitem__(self, cell: Cell) -> Tensor:
        return super().__getitem__(cell).long()


@pytest.mark.parametrize("name", list(objectives))
def test_a_loss_reads_exactly_the_cells_it_declares(name: str) -> None:
    entry = objectives[name]
    logps, reference, lengths = Recording(), Recording(), RecordingLengths()
    tokens, reference_tokens = RecordingTokens(), RecordingTokens()
    scores = Scores(logps, reference, lengths, torch.ones(2), tokens, reference_tokens)
    for record in (logps, reference, lengths, tokens, reference_tokens):
        record.read.clear()  # the shapes were looked at when the record was made
    entry.loss(scores)
    cells = set(entry.cells)
    assert logps.read | tokens.read == cells
    assert reference.read | reference_tokens.read == (cells if entry.needs_reference else set())
    assert lengths.read <= cells
    assert bool(tokens.read) == entry.needs_tokens
    assert bool(reference_tokens.read) == (entry.needs_tokens and entry.needs_reference)


def test_tokens_that_were_not_declared_are_an_error_that_says_so() -> None:
    entry = objectives["ld_dpo"]
    assert [name for name, other in objectives.items() if other.needs_tokens] == ["ld_dpo"]
    sums = {cell: torch.tensor([-2.0]) for cell in entry.cells}
    bare = Scores(sums, sums, {cell: torch.tensor([2]) for cell in entry.cells})
    with pytest.raises(InputError, match=r"tokens of clean/chosen, which it did not declare[\s\S]*tokens"):
        entry.loss(bare)


@pytest.mark.parametrize("name", list(TABLE))
def test_the_cells_are_those_of_the_papers(name: str) -> None:
    assert set(objectives[name].cells) == TABLE[name]


def test_only_mmedpo_weighs_and_four_have_no_reference() -> None:
    assert [name for name, entry in objectives.items() if entry.needs_weight] == ["mmedpo"]
    assert [name for name, entry in objectives.items() if not entry.needs_reference] == [
        "sft_both",
        "sft",
        "simpo",
        "orpo",
    ]


def test_every_objective_says_what_it_is() -> None:
    assert all(len(entry.summary) > 10 for _, entry in objectives.items())


def test_the_registry_refuses_a_taken_name() -> None:
    with pytest.raises(ValueError, match="two objectives are called 'dpo'"):
        objectives.add("dpo", objectives["irpo"])
    assert objectives["dpo"].name == "dpo"


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(InputError, match=r"no objective called 'mdpoo'[\s\S]*Did you mean 'mdpo'\?"):
        objectives["mdpoo"]


def test_a_name_near_nothing_gets_the_whole_list() -> None:
    with pytest.raises(InputError, match=r"Known: apo_zero, .*copo, .*mmedpo, .*sft, sft_both, simpo\."):
        objectives["zzzzzzz"]


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(InputError, match="Nothing is known here"):
        Registry[Objective]("objective")["dpo"]


def test_defaults_are_those_of_the_signatures() -> None:
    assert objectives["dpo"].settings == {"beta": 0.1}
    assert objectives["irpo"].settings == {"beta": 0.1, "alpha": 1.0}
    assert objectives["mdpo"].settings == {"beta": 0.1, "delta": 0.0}
    assert objectives["sft"].settings == {}


def test_an_unknown_setting_gets_the_nearest_and_the_place() -> None:
    with pytest.raises(InputError, match=r"methods.a: objective dpo has no setting 'betta'") as caught:
        objectives["dpo"].check_settings({"betta": 0.1}, "methods.a")
    assert caught.value.remedy == "Did you mean 'beta'?"


@pytest.mark.parametrize("value", ["0.1", None, True, [0.1]])
def test_a_setting_must_be_a_number(value: object) -> None:
    with pytest.raises(InputError, match="beta must be a number"):
        objectives["dpo"].check_settings({"beta": value}, "methods.a")


def test_whole_numbers_are_numbers() -> None:
    objectives["irpo"].check_settings({"beta": 1, "alpha": 0.5}, "methods.a")
