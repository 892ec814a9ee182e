"""Shared rows against separate rows, and both against the library's own forward pass."""

from typing import TYPE_CHECKING

import pytest
import torch
from tests.scoring.conftest import check_gradients
from torch import Tensor

from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

CLEAN = [Cell.CLEAN_CHOSEN, Cell.CLEAN_REJECTED]
ALL = list(Cell)


@pytest.fixture
def mixed(make_image, make_pair) -> list[Pair]:
    """Pairs that share and differ in every way at once."""
    a, b, c = (make_image(f"{name}.png", seed) for seed, name in enumerate("abc"))
    ra, rb, rc = (make_image(f"r{name}.png", 10 + seed) for seed, name in enumerate("abc"))
    return [
        make_pair("a-1", (a,), (ra,)),
        make_pair("a-2", (a,), (ra,), "Where is the lesion in this rather longer question?"),
        make_pair("a-same-prompt", (a,), (rb,), chosen="No.", refused="Yes"),
        make_pair("a-again", (a,), (ra,)),
        make_pair("b", (b,), (rb,), "Why?", chosen="Because of the opacity at the left base."),
        make_pair("two", (a, c), (ra, rc), "Which one is clear?", chosen="First"),
        Pair(
            "image-last",
            "Describe\n<image>",
            {ImageRole.CLEAN: (c,), ImageRole.REJECTED: (rc,)},
            {ResponseRole.CHOSEN: "A lung.", ResponseRole.REJECTED: "A brain."},
        ),
    ]


@pytest.fixture
def with_text(mixed: list[Pair], make_pair) -> list[Pair]:
    text = [make_pair("text", question="Is pneumonia an infection?"), make_pair("text-2", question="Why?")]
    return [mixed[0], text[0], *mixed[1:], text[1]]


def total(scorer: Scorer, pairs: list[Pair], cells: list[Cell]) -> Tensor:
    return torch.stack([score.logps for score in scorer.score(pairs, cells).values()])


def by_hand(backbone: "LlavaBackbone", pair: Pair, cell: Cell) -> Tensor:
    """Return the summed log-prob of a response from the library's forward pass on one plain row."""
    prompt = backbone.prompt_ids(pair.prompt)
    response = backbone.response_ids(pair.responses[cell.response])
    ids = torch.tensor([prompt + response])
    inputs = Scorer(backbone).inputs
    pixels = [inputs.image(path)["pixel_values"] for path in pair.images.get(cell.image, ())]
    output = backbone.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=torch.stack(pixels) if pixels else None,
    )
    logits = output.logits[0].float()
    logits[:, backbone.image_token] = float("-inf")
    log_probs = logits.log_softmax(-1)
    where = range(len(prompt) - 1, len(prompt) + len(response) - 1)
    return sum((log_probs[at, token] for at, token in zip(where, response, strict=True)), torch.zeros(()))


def gradients(backbone: "LlavaBackbone", loss: Tensor) -> dict[str, Tensor]:
    backbone.model.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in backbone.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("cells", [CLEAN, ALL], ids=["clean", "all"])
def test_shared_rows_score_as_separate_rows(
    backbone: "LlavaBackbone", mixed: list[Pair], cells: list[Cell]
) -> None:
    shared, separate = Scorer(backbone), Scorer(backbone, shared=False)
    torch.testing.assert_close(
        total(shared, mixed, cells), total(separate, mixed, cells), rtol=1e-6, atol=1e-5
    )
    assert shared.tokens < separate.tokens


def test_text_only_pairs_mix_with_the_others(backbone: "LlavaBackbone", with_text: list[Pair]) -> None:
    shared = total(Scorer(backbone), with_text, CLEAN)
    torch.testing.assert_close(
        shared, total(Scorer(backbone, shared=False), with_text, CLEAN), rtol=1e-6, atol=1e-5
    )


def test_text_only_pairs_alone(backbone: "LlavaBackbone", with_text: list[Pair]) -> None:
    text = [pair for pair in with_text if not pair.images]
    expected = torch.stack([by_hand(backbone, pair, Cell.CLEAN_CHOSEN) for pair in text])
    torch.testing.assert_close(
        total(Scorer(backbone), text, [Cell.CLEAN_CHOSEN])[0], expected, rtol=1e-6, atol=1e-5
    )


def test_gradients_of_shared_and_separate_rows_are_equal(
    backbone: "LlavaBackbone", mixed: list[Pair]
) -> None:
    weights = torch.linspace(-1, 1, len(ALL) * len(mixed)).reshape(len(ALL), -1)
    shared = gradients(backbone, (weights * total(Scorer(backbone), mixed, ALL)).sum())
    separate = gradients(backbone, (weights * total(Scorer(backbone, shared=False), mixed, ALL)).sum())
    check_gradients(shared, separate)


def test_scores_are_those_of_the_librarys_forward(backbone: "LlavaBackbone", with_text: list[Pair]) -> None:
    scores = total(Scorer(backbone), with_text, CLEAN)
    expected = torch.tensor([[by_hand(backbone, pair, cell).item() for pair in with_text] for cell in CLEAN])
    torch.testing.assert_close(scores, expected, rtol=1e-6, atol=1e-5)


def test_rejected_images_are_those_of_the_librarys_forward(
    backbone: "LlavaBackbone", mixed: list[Pair]
) -> None:
    cells = [Cell.REJECTED_CHOSEN, Cell.REJECTED_REJECTED]
    expected = torch.tensor([[by_hand(backbone, pair, cell).item() for pair in mixed] for cell in cells])
    torch.testing.assert_close(total(Scorer(backbone), mixed, cells), expected, rtol=1e-6, atol=1e-5)


def test_gradients_are_those_of_the_librarys_forward(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    ours = gradients(backbone, total(Scorer(backbone), mixed, ALL).sum())
    theirs = gradients(
        backbone, torch.stack([by_hand(backbone, pair, cell) for cell in ALL for pair in mixed]).sum()
    )
    check_gradients(ours, theirs)


def test_the_fixtures_would_show_a_leak(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    # The same answers on another image, and after another question, score visibly differently.
    image, question, same = (
        mixed[0].with_images(ImageRole.CLEAN, mixed[4].images[ImageRole.CLEAN]),
        Pair("q", mixed[1].prompt, mixed[0].images, mixed[0].responses),
        mixed[0],
    )
    scores = total(Scorer(backbone), [same, image, question], [Cell.CLEAN_CHOSEN])[0]
    assert (scores[1:] - scores[0]).abs().min() > 1e-2


def test_equal_pairs_are_computed_once(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    once, twice = Scorer(backbone), Scorer(backbone)
    first = total(once, [mixed[0]], ALL)
    both = total(twice, [mixed[0], mixed[3]], ALL)
    assert once.tokens == twice.tokens
    assert torch.equal(both[:, 0], both[:, 1])
    assert torch.equal(both[:, :1], first)


def test_each_distinct_image_is_encoded_once(
    backbone: "LlavaBackbone", mixed: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    encode = backbone.encode_images
    monkeypatch.setattr(backbone, "encode_images", lambda images: sizes.append(len(images)) or encode(images))
    Scorer(backbone).score(mixed, ALL)
    assert sizes == [6]


def test_lengths_count_the_end_token(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    scores = Scorer(backbone).score(mixed, CLEAN)
    expected = [len(backbone.response_ids(pair.responses[ResponseRole.CHOSEN])) for pair in mixed]
    assert scores[Cell.CLEAN_CHOSEN].lengths.tolist() == expected


def test_the_image_token_takes_no_probability(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    logits = backbone.logits(torch.randn(3, 32))
    assert (logits.softmax(-1)[:, backbone.image_token] == 0).all()
    assert logits.isinf().sum() == 3
