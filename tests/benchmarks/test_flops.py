"""The estimate of operations against arithmetic by hand."""

import pytest
from benchmarks.flops import LLAVA_7B, Shape, layer_weights, our_cost, projector, rival_cost, row, tower

# Two heads of two channels, one group; four image tokens, one of text, responses of two.
SMALL = Shape(
    width=4,
    layers=2,
    heads=2,
    groups=1,
    mlp=8,
    vocabulary=10,
    tower_width=2,
    tower_layers=3,
    image=4,
    prompt=1,
    response=2,
)


def test_the_weights_of_a_layer() -> None:
    # Queries and output 4 × 4 each, keys and values 4 × 2 each, three 4 × 8 in the MLP.
    assert layer_weights(SMALL) == 16 + 16 + 8 + 8 + 96
    # Mistral 7B: 32 layers of 218 million, without embeddings, head and norms.
    assert layer_weights(LLAVA_7B) * 32 == pytest.approx(6.98e9, rel=1e-3)


def test_a_row_with_two_responses() -> None:
    # Nine tokens. The prefix of five sees 12.5 pairs; each response sees 2 × 5 + 2.
    seen_by_responses = 2 * (10 + 2)
    seen = 12.5 + seen_by_responses
    layer = 2 * 9 * 144 + 4 * 4 * seen
    head = 2 * 4 * 4 * 10
    assert row(SMALL, 2, trimmed=False) == 2 * layer + head
    # Trimmed: all of it for the four response tokens, keys and values (2 × 4 × 2 weights) for the other five.
    short = 2 * 4 * 144 + 2 * 5 * 16 + 4 * 4 * seen_by_responses
    assert row(SMALL, 2, trimmed=True) == layer + short + head


def test_an_image() -> None:
    # Five tokens with the class token; a layer has 4 + 8 times width squared.
    assert tower(SMALL) == 3 * (2 * 5 * 48 + 4 * 2 * 25)
    assert projector(SMALL) == 2 * 4 * (2 * 4 + 4 * 4)


def test_steps_and_runs() -> None:
    images = tower(SMALL) + projector(SMALL)
    rival = rival_cost(SMALL, 2, lora=False)
    assert rival.run(3) == 3 * 2 * (4 * row(SMALL, 1, trimmed=False) + 2 * images)
    ours = our_cost(SMALL, (2,), lora=True)
    forward = row(SMALL, 2, trimmed=True)
    assert ours.run(3) == pytest.approx(forward + images + 3 * (2 * forward + projector(SMALL)))


def test_sharing_the_prefix_pays_at_7b() -> None:
    rival, ours = rival_cost(LLAVA_7B, 2, lora=False), our_cost(LLAVA_7B, (2,), lora=False)
    # 2 × 716 tokens four times over, against 816 tokens three times over.
    assert rival.step / ours.step == pytest.approx(2 * 716 * 4 / (816 * 3), rel=0.06)
