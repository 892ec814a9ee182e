"""The dry run against hand arithmetic, against counted operations, and against real batches and runs."""

import json
from pathlib import Path

import pytest
import torch
from tests.study.conftest import write_study
from torch.utils.flop_counter import FlopCounterMode

from medpref.cli import main
from medpref.errors import InputError
from medpref.files import read_json
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Request, Scorer
from medpref.starts.pretrained import PretrainedSettings
from medpref.study.dry.flops import Flops, forward_flops, training_flops
from medpref.study.dry.measure import measure
from medpref.study.dry.memory import training_memory
from medpref.study.dry.outline import outlines, what_trains
from medpref.study.dry.passes import lay_out, spread
from medpref.study.dry.sizes import Adapters, Decoder, Load, Mode, Model, Tower, Trained
from medpref.study.dry.table import short
from medpref.study.load import load_study
from medpref.study.plan import plan_study
from medpref.training.lora import add_lora
from medpref.training.reference import compute_reference, reference_batches
from medpref.training.reference_store import ReferenceStore
from medpref.training.settings import TrainingSettings

# Two tower layers of width 4, MLP 8, on 4 patches and a CLS token, a patch having 3 · 2 · 2 values.
TOWER = Tower(layers=2, width=4, inner=8, patches=4, tokens=5, patch_weights=48, layer_weights=128)
# Three layers of width 6, MLP 10, two heads of 3 for queries and one for keys, 11 words.
DECODER = Decoder(layers=3, width=6, inner=10, attention=6, keys=3, vocabulary=11, lean=True)
MODEL = Model(TOWER, DECODER, projector_weights=4 * 6 + 6 * 6, image_tokens=4, weight_bytes=1000, element=4)
LOAD = Load(columns=20, queries=7, positions=9, visible=100, visible_last=30, images=2, encoded=2, mask=50)

# A tower layer's weights: four of attention, 4 × 4, and two of the MLP, 4 × 8. Ten tokens in two images.
TOWER_LINEAR = 2 * (8 * 48 + 10 * 2 * (4 * 16 + 2 * 32))
TOWER_ATTENTION = 2 * 2 * (2 * 5 * 5 * 4) * 2
PROJECTOR = 2 * 8 * 60
# A layer's: q and o 6 × 6, k and v 6 × 3, gate, up and down 6 × 10. The last has 20 keys and 7 queries.
LAYERS = 2 * (20 * 2 * (72 + 36 + 180) + 20 * 36 + 7 * (72 + 180))
ATTENTION = 2 * 2 * 6 * (2 * 100 + 30)
HEAD = 2 * 9 * 6 * 11

ALL = Trained(tower=True, projector=True, decoder=True, head=True)
NO_TOWER = Trained(tower=False, projector=True, decoder=True, head=True)
PROJECTOR_ONLY = Trained(tower=False, projector=True, decoder=False, head=False)
HEAD_ONLY = Trained(tower=False, projector=False, decoder=False, head=True)


def test_forward_flops_by_hand() -> None:
    assert (TOWER_LINEAR, TOWER_ATTENTION, LAYERS) == (5888, 1600, 28008)
    expected = Flops(TOWER_LINEAR + TOWER_ATTENTION, PROJECTOR, LAYERS, ATTENTION, HEAD)
    assert forward_flops(MODEL, LOAD) == expected
    assert expected.total == 5888 + 1600 + 960 + 28008 + 5520 + 1188


@pytest.mark.parametrize(
    ("trained", "times"),
    [
        (ALL, (3, 3, 3, 3, 3)),
        # The projector is the first that trains: nothing before it wants its inputs' gradient.
        (NO_TOWER, (1, 2, 3, 3, 3)),
        (PROJECTOR_ONLY, (1, 2, 2, 3, 2)),
        (HEAD_ONLY, (1, 1, 1, 1, 2)),
    ],
)
def test_training_flops_count_each_gradient_that_is_needed(trained: Trained, times) -> None:
    forward = forward_flops(MODEL, LOAD)
    found = training_flops(MODEL, LOAD, trained)
    assert tuple(found) == tuple(one * count for one, count in zip(forward, times, strict=True))


def test_adapters_cost_their_own_and_the_gradient_of_the_layers_they_stand_in() -> None:
    trained = Trained(False, False, False, False, Adapters(decoder=500))
    forward, found = forward_flops(MODEL, LOAD), training_flops(MODEL, LOAD, trained)
    assert found.tower == forward.tower
    assert found.projector == forward.projector
    assert found.decoder == 2 * forward.decoder + 3 * 2 * 500 * 20
    assert found.head == 2 * forward.head


def test_checkpointing_costs_another_forward_pass_of_the_layers() -> None:
    forward = forward_flops(MODEL, LOAD)
    found = training_flops(MODEL, LOAD, NO_TOWER, Mode(checkpointing=True))
    assert (found.tower, found.decoder, found.head) == (forward.tower, 4 * forward.decoder, 3 * forward.head)
    assert training_flops(MODEL, LOAD, ALL, Mode(head_chunk=8)).head == 4 * forward.head


def test_without_lean_layers_the_last_one_computes_everything() -> None:
    plain = MODEL._replace(decoder=DECODER._replace(lean=False))
    found = forward_flops(plain, LOAD)
    assert found.decoder == 2 * 20 * 3 * (72 + 36 + 180)
    assert found.attention == 2 * 2 * 6 * 3 * 100


def test_memory_by_hand() -> None:
    # fp32. A layer keeps 4 · 6 of the stream, 2 · 6 + 2 · 3 of attention, 4 · 10 of the MLP for each column.
    memory = training_memory(MODEL, LOAD, NO_TOWER, 800)
    layers = 4 * (20 * 82 * 2 + 20 * (6 + 6) + 7 * (82 - 12))
    head = 3 * 4 * 9 * 11 + 7 * 4 * 6
    projector = 8 * 4 * (4 + 12)
    assert memory == (1000, 800, 1600, layers + head + projector + 50)
    # Computed again: half of the stream's and of the MLP's.
    again = training_memory(MODEL, LOAD, NO_TOWER, 800, Mode(recompute=True))
    assert memory.activations - again.activations == 4 * (20 * 32 * 2 + 7 * 32)
    assert memory.total == 1000 + 800 + 1600 + layers + head + projector + 50


def test_what_trains_less_needs_less_memory() -> None:
    def activations(trained: Trained, mode: Mode) -> float:
        return training_memory(MODEL, LOAD, trained, 0, mode).activations

    usual = activations(NO_TOWER, Mode())
    assert activations(NO_TOWER, Mode(checkpointing=True)) < usual
    assert activations(NO_TOWER, Mode(head_chunk=2)) < usual
    assert activations(NO_TOWER, Mode("bf16")) < usual < activations(ALL, Mode())


def batch(pairs: list[Pair], cells=tuple(Cell)) -> list[tuple[Pair, Cell]]:
    return [(pair, cell) for cell in cells for pair in pairs]


@pytest.mark.parametrize("name", ["sft", "dpo", "copo", "mdpo", "mmedpo"])
@pytest.mark.parametrize("shared", [True, False])
def test_tokens_are_those_that_the_scorer_counts(
    backbone, pairs: list[Pair], name: str, shared: bool
) -> None:
    cells = objectives[name].cells
    made, _ = lay_out(Scorer(backbone, shared=shared), batch(pairs, cells))
    tokens = {}
    for way in (True, False):
        scorer = Scorer(backbone, shared=way)
        scorer.score(pairs, cells)
        tokens[way] = scorer.tokens
    assert made.tokens == tokens[shared]
    assert made.unshared == tokens[False]
    assert made.cells == len(cells) * len(pairs)
    assert made.images == len(
        {path for pair, cell in batch(pairs, cells) for path in pair.images[cell.image]}
    )


def test_padding_is_what_no_response_needs(make_backbone, make_pair, make_image) -> None:
    short_one = make_pair("a", (make_image("a.png"),), chosen="Yes", refused=None)
    long_one = make_pair("b", (make_image("b.png", 1),), chosen="No, the lung is clear.", refused=None)
    scorer = Scorer(make_backbone("mistral"))
    lengths = {
        pair.id: sum(map(len, scorer.inputs.ids(pair, Cell.CLEAN_CHOSEN))) - 1
        for pair in (short_one, long_one)
    }
    made, _ = lay_out(scorer, batch([short_one, long_one], [Cell.CLEAN_CHOSEN]))
    assert made.rows == 2
    assert made.tokens == 2 * lengths["b"]
    assert made.padding == lengths["b"] - lengths["a"] > 0


def test_visible_pairs_are_those_of_the_mask(backbone, pairs: list[Pair]) -> None:
    _, load = lay_out(Scorer(backbone, shared=False), batch(pairs, [Cell.CLEAN_CHOSEN]))
    lengths = [sum(map(len, Scorer(backbone).inputs.ids(pair, Cell.CLEAN_CHOSEN))) - 1 for pair in pairs]
    assert load.visible == sum(length * (length + 1) // 2 for length in lengths)


def counted(backbone, pairs: list[Pair], *, train: bool, trained=("tower", "projector")) -> float:
    """Return the operations that torch counts in matrix products and convolutions, attention left out."""
    scorer = Scorer(backbone)
    scorer.score(pairs, list(Cell))
    with FlopCounterMode(display=False) as counter:
        scores = scorer.score_all([Request(pairs, list(Cell))])[0]
        if train:
            sum(score.tokens.sum() for score in scores.values()).backward()
    kinds = ("mm", "addmm", "convolution", "convolution_backward")
    found = counter.get_flop_counts()["Global"]
    return sum(count for operation, count in found.items() if str(operation).split(".")[-1] in kinds)


def test_forward_flops_are_those_that_torch_counts(backbone, pairs: list[Pair]) -> None:
    model = measure(backbone)
    _, load = lay_out(Scorer(backbone), batch(pairs))
    ours = forward_flops(model, load)
    attention = ours.attention + 4 * 2 * 32 * 17**2 * 6
    with torch.no_grad():
        assert ours.total - attention == pytest.approx(counted(backbone, pairs, train=False), rel=1e-6)


@pytest.mark.parametrize(
    "freeze", [(), ("tower",), ("tower", "projector"), ("tower", "language_model"), ("language_model",)]
)
def test_training_flops_are_those_that_torch_counts(make_backbone, pairs: list[Pair], freeze) -> None:
    backbone = make_backbone("mistral", text_layers=4)
    trained, trained_bytes = what_trains(backbone, TrainingSettings(freeze=freeze))
    _, load = lay_out(Scorer(backbone), batch(pairs))
    ours = training_flops(measure(backbone), load, trained)
    backbone.freeze(freeze)
    assert trained_bytes == 4 * sum(w.numel() for w in backbone.model.parameters() if w.requires_grad)
    attention = ours.attention + (3 if trained.tower else 1) * 4 * 2 * 32 * 17**2 * 6
    # The gradient of pixels is wanted by nobody, though the formula counts it.
    assert ours.total - attention == pytest.approx(counted(backbone, pairs, train=True), rel=0.02)


def test_adapters_are_counted_as_they_are_put_in(make_backbone) -> None:
    backbone = make_backbone("qwen2")
    settings = TrainingSettings.model_validate({"lora": {"r": 4, "targets": ["language_model", "projector"]}})
    trained, trained_bytes = what_trains(backbone, settings)
    assert not any(trained[:4])
    assert settings.lora is not None
    add_lora(backbone, settings.lora)
    real = sum(weight.numel() for weight in backbone.model.parameters() if weight.requires_grad)
    assert trained.adapters.tower == 0
    assert sum(trained.adapters) == real
    assert trained_bytes == 4 * real


def test_a_folder_without_weights_can_be_planned(make_backbone, tmp_path: Path) -> None:
    backbone = make_backbone("qwen2")
    backbone.save(tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    outline = outlines["pretrained"](PretrainedSettings(path=tmp_path), lambda: ())
    assert {weight.device.type for weight in outline.model.parameters()} == {"meta"}
    assert measure(outline) == measure(backbone)
    assert outline.prompt_ids("<image>\nWhere?") == backbone.prompt_ids("<image>\nWhere?")


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this folder holds no model"):
        outlines["pretrained"](PretrainedSettings(path=tmp_path), lambda: ())


def test_reference_batches_are_those_of_the_pass(make_backbone, pairs, tmp_path, monkeypatch) -> None:
    scorer = Scorer(make_backbone("mistral"))
    batches = reference_batches(scorer, pairs, list(Cell), images_per_batch=4)
    expected = [lay_out(scorer, [(e.pair, e.cell) for e in entries])[0].tokens for entries in batches]
    real: list[int] = []
    score = scorer.score_all

    def note(requests):
        before = scorer.tokens
        result = score(requests)
        real.append(scorer.tokens - before)
        return result

    monkeypatch.setattr(scorer, "score_all", note)
    store = ReferenceStore(tmp_path / "store")
    compute_reference(scorer, pairs, list(Cell), store=store, images_per_batch=4)
    assert real == expected
    stored = {entry.key for entries in batches for entry in entries}
    assert reference_batches(scorer, pairs, list(Cell), stored) == []


def test_a_plan_tells_the_tokens_that_a_run_then_takes(toy_run: Path) -> None:
    plan = plan_study(load_study(toy_run.parent / "toy.yaml"))
    assert {stage.backbone for stage in plan.stages} == {"tiny"}
    trained = {stage.name: stage for stage in plan.stages if stage.work == "train"}
    assert list(trained) == ["sft", "sft-continued", "dpo", "irpo", "copo", "mdpo", "mmedpo"]
    for name, stage in trained.items():
        found = read_json(toy_run / "logs" / "tiny" / "seed-0" / name / "search.json")["candidates"]
        assert stage.runs == len(found)
        assert [candidate["tokens"] for candidate in found] == pytest.approx([stage.run.tokens] * len(found))
    # Nothing was sampled.
    assert plan.notes == ()


def test_a_sample_stands_for_the_whole(tmp_path: Path) -> None:
    data = {"source": "phantoms", "size": 32, "train": 90, "pool": 60, "validation": 6, "test": 8}
    study = load_study(write_study(tmp_path / "toy.yaml", data=data))
    whole, part = plan_study(study), plan_study(study, sample=30, laid_out=5)
    assert "pool: figures come from 30 of 60 images" in part.notes
    assert "sft: means over 5 of 6 forward passes" in part.notes
    for one, other in zip(whole.stages, part.stages, strict=True):
        assert (one.name, one.runs) == (other.name, other.runs)
        assert other.run.tokens == pytest.approx(one.run.tokens, rel=0.2)


def test_kept_features_save_the_frozen_tower_s_work(tmp_path: Path) -> None:
    training = {"steps": 12, "images_per_step": 4, "log_every": 2}
    frozen = plan_study(
        load_study(write_study(tmp_path / "frozen.yaml", training={**training, "freeze": ["tower"]}))
    )
    free = plan_study(load_study(write_study(tmp_path / "free.yaml", training=training)))
    for one, other in zip(frozen.stages, free.stages, strict=True):
        assert one.step == other.step
        if one.work == "train" and one.name != "sft":
            assert one.cached_images < one.step.images == other.cached_images
            assert one.flops < one.flops_uncached < other.flops == other.flops_uncached
            assert one.memory.gradients < other.memory.gradients
    # Twelve steps see each of the pool's sixteen images three times.
    dpo = next(stage for stage in frozen.stages if stage.name == "dpo")
    assert dpo.cached_images * dpo.steps == pytest.approx(16)


def test_several_passes_a_step_and_several_seeds_add_up(tmp_path: Path) -> None:
    training = {"steps": 4, "images_per_step": 4}
    one = plan_study(load_study(write_study(tmp_path / "one.yaml", training=training, search=None)))
    changes = {"training": {**training, "accumulate": 2}, "seeds": [0, 1], "search": None}
    two = plan_study(load_study(write_study(tmp_path / "two.yaml", **changes)))
    for first, second in zip(one.stages, two.stages, strict=True):
        assert second.runs == 2 * first.runs
        if first.work == "train" and first.name != "sft":
            assert second.step.rows == pytest.approx(2 * first.step.rows, rel=0.1)
    assert two.to_json()["totals"]["steps"] == 2 * one.to_json()["totals"]["steps"]


def test_candidates_of_different_cost_are_told_apart(tmp_path: Path) -> None:
    search = {"task": "phantom-vqa", "candidates": [{"learning_rate": 1e-4}, {"beta": 0.2}, {"steps": 8}]}
    methods = {"dpo": {"objective": "dpo", "rejected_response": "other-answer"}}
    study = load_study(write_study(tmp_path / "toy.yaml", search=search, methods=methods, controls=["sft"]))
    found = {stage.name: (stage.runs, stage.steps) for stage in plan_study(study).stages}
    assert found["dpo (1)"] == (2, 4)
    assert found["dpo (2)"] == (1, 8)


def test_the_command_prints_and_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study, target = write_study(tmp_path / "toy.yaml"), tmp_path / "plan.json"
    arguments = ["medpref", "plan", str(study), "--set", "training.steps=7", "--json", str(target)]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("sft-continued", "mmedpo", "reference", "In all:"))
    assert max(map(len, printed.split("\nIn all:")[0].splitlines())) <= 80
    plan = json.loads(target.read_text())
    assert {stage["steps"] for stage in plan["stages"] if stage["name"] in ("dpo", "mdpo")} == {7}
    totals = [stage["run"]["tokens"] * stage["runs"] for stage in plan["stages"] if stage["work"] == "train"]
    assert plan["totals"]["tokens"] == pytest.approx(sum(totals))


def test_numbers_are_short() -> None:
    texts = [short(value) for value in (0, 7, 99.6, 999.4, 1000, 12_345, 999_600, 2.5e9, 3e25)]
    assert texts == ["0", "7", "99.6", "999", "1.00k", "12.3k", "1.00M", "2.50G", "30000Z"]


def test_spread_keeps_both_ends() -> None:
    assert spread(range(100), 3) == [0, 50, 99]
    assert spread([1, 2], 3) == [1, 2]
