"""The Qwen-VL families against the library's own forward pass, and shared rows against separate ones."""

from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from tests.backbones.sharing import check_sharing, scores_and_gradients
from tests.backbones.tiny_qwen import END, FAMILIES, build_tiny_qwen, library_inputs
from torch import Tensor

from medpref.backbones.adapters import merge_lora
from medpref.backbones.base import ImageTensors, lies_in
from medpref.backbones.qwen_vl import QwenVLBackbone
from medpref.pairs.images import open_image
from medpref.pairs.pair import ImageRole, Pair, ResponseRole, Turn
from medpref.scoring.cells import Cell
from medpref.scoring.plan import Path as ScoredPath
from medpref.scoring.plan import make_plan
from medpref.scoring.scorer import Scorer
from medpref.training.lora import add_lora
from medpref.training.settings import LoraSettings

CELLS = list(Cell)


@pytest.fixture(params=list(FAMILIES))
def qwen(request) -> QwenVLBackbone:
    return build_tiny_qwen(request.param)


@pytest.fixture
def mixed(make_image, make_pair) -> list[Pair]:
    """Pairs that share and differ in every way at once, on images of unlike sizes."""
    square, wide = make_image("square.png", 0, (32, 32)), make_image("wide.png", 1, (20, 44))
    tall, strip = make_image("tall.png", 2, (40, 16)), make_image("strip.png", 3, (8, 120))
    talk = make_pair("talk", (tall, strip), (strip, square), chosen="The first one.")
    return [
        make_pair("a-1", (square,), (wide,)),
        make_pair("a-2", (square,), (wide,), "Where is the lesion?", chosen="Yes, in the lower lobe."),
        make_pair("b", (strip,), (tall,), "Why?", chosen="Because.", refused="No"),
        make_pair("two", (wide, tall), (square, wide), "Which one is clear?", chosen="One"),
        Pair(
            "talk",
            "And <image> here?",
            talk.images,
            talk.responses,
            history=(Turn("<image>\nDescribe the image.", "No, the lung is clear."),),
        ),
    ]


@pytest.fixture
def text_pair(make_pair) -> Pair:
    return make_pair("text", question="Is pneumonia an infection?")


def library_logps(qwen: QwenVLBackbone, pair: Pair, cell: Cell) -> Tensor:
    """Return the response's log-probs, in nats, from the library's processor and forward pass alone."""
    turns = [said for turn in pair.history for said in (("user", turn.user), ("assistant", turn.assistant))]
    turns = [(role, text.replace("<image>\n", "<image>")) for role, text in [*turns, ("user", pair.prompt)]]
    images = [open_image(path) for path in pair.images.get(cell.image, ())]
    prompt = library_inputs(qwen, turns, images)
    whole = library_inputs(qwen, turns, images, answer=pair.responses[cell.response] + END)
    start = prompt["input_ids"].shape[1]
    assert torch.equal(whole["input_ids"][:, :start], prompt["input_ids"])
    with torch.no_grad():
        logits = qwen.model(**whole).logits[0, start - 1 : -1]
    # No answer holds an image.
    logits[:, qwen.image_token] = float("-inf")
    return logits.log_softmax(-1).gather(1, whole["input_ids"][0, start:, None])[:, 0]


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "library"])
def test_shared_rows_are_separate_rows(qwen: QwenVLBackbone, mixed, text_pair, lean: bool) -> None:
    qwen.lean = qwen.lean and lean
    check_sharing(qwen, mixed, CELLS)
    check_sharing(qwen, [text_pair, mixed[0]], [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED])


@pytest.mark.parametrize("lean", [True, False], ids=["lean", "library"])
def test_scores_are_the_library_s(qwen: QwenVLBackbone, mixed, text_pair, lean: bool) -> None:
    assert qwen.lean
    qwen.lean = lean
    with torch.no_grad():
        scores = Scorer(qwen, shared=False).score([*mixed, text_pair], [Cell.CLEAN_REJECTED])
        rejected = Scorer(qwen, shared=False).score(mixed, [Cell.REJECTED_CHOSEN])
    for found, pairs in ((scores, [*mixed, text_pair]), (rejected, mixed)):
        ((cell, score),) = found.items()
        for pair, tokens, length in zip(pairs, score.tokens, score.lengths, strict=True):
            torch.testing.assert_close(tokens[:length], library_logps(qwen, pair, cell), atol=1e-5, rtol=0)


def test_lean_layers_give_the_library_s_gradients(qwen: QwenVLBackbone, mixed) -> None:
    values, gradients = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    qwen.lean = False
    expected, wanted = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)
    assert gradients.keys() == wanted.keys()
    for name, gradient in wanted.items():
        torch.testing.assert_close(gradients[name], gradient, atol=1e-4, rtol=1e-4)


def test_images_may_enter_behind_the_last_layer(mixed) -> None:
    qwen = build_tiny_qwen("qwen3_vl", layers=2)
    assert qwen.lean
    assert not qwen.trim
    check_sharing(qwen, mixed, CELLS)
    with torch.no_grad():
        scores = Scorer(qwen).score(mixed[:1], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN]
    expected = library_logps(qwen, mixed[0], Cell.CLEAN_CHOSEN)
    torch.testing.assert_close(scores.tokens[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("wrong", ["plain", "not moved", "turned"])
def test_a_wrong_position_is_noticed(qwen: QwenVLBackbone, mixed, wrong: str, monkeypatch) -> None:
    right = qwen.positions

    def positions(rows, features):
        found = right(rows, features)
        if wrong == "plain":
            return rows.positions.expand(3, -1, -1)
        if wrong == "turned":
            return found[[0, 2, 1]]
        behind = found[0] != rows.positions
        return torch.where(behind & (rows.ids != qwen.image_token), rows.positions, found)

    with torch.no_grad():
        expected = Scorer(qwen).score(mixed, [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].tokens
        monkeypatch.setattr(qwen, "positions", positions)
        found = Scorer(qwen).score(mixed, [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].tokens
    assert (found - expected).abs().max() > 1e-2


def test_positions_on_every_path_are_the_library_s(qwen: QwenVLBackbone) -> None:
    sizes = [(44, 20), (8, 120), (32, 32)]
    features = [{"grid": grid_of(qwen, size)} for size in sizes]
    first = qwen.prompt_ids("<image> Where is <image> it?", sizes[:2])
    other = qwen.prompt_ids("<image> Where is <image> the lesion?", sizes[:2])
    alone = qwen.prompt_ids("<image>\nDescribe the image.", sizes[2:])
    text = qwen.prompt_ids("Is pneumonia an infection?")
    answers = [(5, 6, 7, 8, 9), (5, 6, 4), (7,)]
    shown = {0: first, 1: other, 2: alone, 3: text}
    images = {0: (0, 1), 1: (0, 1), 2: (2,), 3: ()}
    paths = [ScoredPath(images[n], tuple(shown[n]), answer) for n in shown for answer in answers]
    shared = make_plan(paths, image_token=qwen.image_token, pad=qwen.pad_token).rows
    assert len(shared.ids) == 3
    found = qwen.positions(shared, features)
    seen = shared.mask()
    for path in paths:
        ids = torch.tensor([path.fed])
        expected = library_positions(qwen, ids, [features[image]["grid"] for image in path.images])
        assert any(
            torch.equal(shared.ids[row][seen[row, column]], ids[0])
            and torch.equal(found[:, row][:, seen[row, column]], expected[:, 0])
            for row in range(len(shared.ids))
            for column in range(shared.ids.shape[1])
        )


def grid_of(qwen: QwenVLBackbone, size: tuple[int, int]) -> Tensor:
    return qwen.read_image(Image.new("RGB", size))["image_grid_thw"]


def library_positions(qwen: QwenVLBackbone, ids: Tensor, grids: Sequence[Tensor]) -> Tensor:
    if not grids:
        return torch.arange(ids.shape[1]).expand(3, 1, -1)
    return qwen.model.model.get_rope_index(
        ids, mm_token_type_ids=(ids == qwen.image_token).int(), image_grid_thw=torch.stack(list(grids))
    )[0]


def test_features_are_the_library_s(qwen: QwenVLBackbone, images: list[ImageTensors]) -> None:
    found = qwen.project(qwen.encode_images(images))
    expected = qwen.model.model.get_image_features(
        torch.cat([image["pixel_values"] for image in images]),
        torch.stack([image["image_grid_thw"] for image in images]),
    )
    for number, image in enumerate(found):
        torch.testing.assert_close(image["tokens"], expected.pooler_output[number], atol=1e-6, rtol=0)
        for layer, deep in enumerate(image.get("deepstack", ())):
            wanted = expected.deepstack_features[layer][number]
            torch.testing.assert_close(deep, wanted, atol=1e-6, rtol=0)


def test_images_together_are_each_alone(qwen: QwenVLBackbone, images: list[ImageTensors]) -> None:
    together = qwen.encode_images(images)
    for image, read in zip(together, images, strict=True):
        (alone,) = qwen.encode_images([read])
        assert image.keys() == alone.keys()
        for name in image:
            torch.testing.assert_close(image[name], alone[name], atol=1e-6, rtol=0)
        (projected,) = qwen.project([alone])
        (among,) = [each for each in qwen.project(together) if torch.equal(each["grid"], image["grid"])]
        torch.testing.assert_close(among["tokens"], projected["tokens"], atol=1e-6, rtol=0)
    assert qwen.encode_images([]) == qwen.project([]) == []


@pytest.fixture
def images(qwen: QwenVLBackbone, mixed: list[Pair]) -> list[ImageTensors]:
    """The four images, read; no two grids are alike."""
    paths = dict.fromkeys(path for pair in mixed for role in pair.images.values() for path in role)
    return [qwen.read_image(open_image(path)) for path in paths]


def test_each_part_trains_alone(qwen: QwenVLBackbone, mixed) -> None:
    names = {part: {f"{name}." for name in modules} for part, modules in qwen.parts.items()}
    for part in qwen.parts:
        for weight in qwen.model.parameters():
            weight.requires_grad_(True)
        qwen.freeze([other for other in qwen.parts if other != part])
        qwen.model.lm_head.requires_grad_(False)
        assert qwen.tower_trains == (part == "tower")
        _, gradients = scores_and_gradients(qwen, mixed, CELLS, shared=True)
        moved = {name for name, gradient in gradients.items() if gradient.abs().max() > 0}
        assert moved
        assert all(name.startswith(tuple(names[part])) for name in gradients)
    whole = {name for name, _ in qwen.model.named_parameters()} - {"lm_head.weight"}
    assert all(name.startswith(tuple(set().union(*names.values()))) for name in whole)


def test_gradients_reach_all_weights_and_checkpoints_change_none(qwen: QwenVLBackbone, mixed) -> None:
    qwen.model.train()
    _, wanted = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    assert wanted.keys() == {name for name, _ in qwen.model.named_parameters()}
    assert all(gradient.abs().max() > 0 for gradient in wanted.values())
    qwen.model.gradient_checkpointing_enable({"use_reentrant": False})
    _, found = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


def test_recomputing_changes_no_gradient(qwen: QwenVLBackbone, mixed) -> None:
    _, wanted = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    qwen.recompute = True
    _, found = scores_and_gradients(qwen, mixed, CELLS, shared=True)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-5)


def test_adapters_fit_all_parts(qwen: QwenVLBackbone, mixed) -> None:
    with torch.no_grad():
        before = Scorer(qwen).score(mixed, CELLS)
    add_lora(qwen, LoraSettings(r=2, targets=tuple(qwen.parts)))
    tuned = [name for name, weight in qwen.model.named_parameters() if weight.requires_grad]
    assert all("lora_" in name for name in tuned)
    for modules in qwen.parts.values():
        assert any(lies_in(name, modules) for name in tuned)
    check_sharing(qwen, mixed, CELLS)
    with torch.no_grad():
        for name, weight in qwen.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
        tuned_scores = Scorer(qwen).score(mixed, CELLS)
        merge_lora(qwen)
        merged = Scorer(qwen).score(mixed, CELLS)
    for cell in CELLS:
        torch.testing.assert_close(merged[cell].tokens, tuned_scores[cell].tokens, atol=1e-4, rtol=0)
        assert (merged[cell].tokens - before[cell].tokens).abs().max() > 1e-2


def test_half_precision_is_near(qwen: QwenVLBackbone, mixed) -> None:
    with torch.no_grad():
        whole = Scorer(qwen).score(mixed, CELLS)
        half = Scorer(qwen, precision="bf16").score(mixed, CELLS)
    for cell in CELLS:
        assert half[cell].tokens.dtype == torch.float32
        assert (half[cell].logps - whole[cell].logps).abs().max() < 0.5
        assert not torch.equal(half[cell].logps, whole[cell].logps)


def test_the_images_matter_and_a_blank_one_differs(qwen: QwenVLBackbone, mixed, images) -> None:
    with torch.no_grad():
        scores = Scorer(qwen).score(mixed, CELLS)
    for role in ResponseRole:
        clean, rejected = (scores[Cell((image, role))].logps for image in ImageRole)
        assert (clean - rejected).abs().min() > 1e-3
    blank = qwen.blank(images[0])
    assert torch.equal(blank["image_grid_thw"], images[0]["image_grid_thw"])
    assert blank["pixel_values"].abs().max() == 0
