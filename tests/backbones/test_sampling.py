from collections.abc import Sequence
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
import torch
from pydantic import ValidationError
from scipy.stats import chisquare
from torch import Tensor

from medpref.backbones.base import ImageTensors
from medpref.backbones.sampling import Completion, Draw, Sampling, sampling_presets
from medpref.errors import InputError

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -2.0, float("-inf")])
PROMPTS = [
    "<image>\nWhere?",
    "<image>\nIs there a lesion in the left lung, and if so, where is it?",
    "Is pneumonia an infection?",
    "<image>\n<image>\nWhich one is clear?",
    "Describe the image.",
]
IMAGES = [(0,), (1,), (), (2, 0), ()]
SEEDS = [2**64 - 1, 12, 0, -14, 15]
HOT = Sampling(max_new_tokens=12, temperature=1.2, top_p=0.95, top_k=60)


def draw(sampling: Sampling, seeds: Sequence[int], logits: Tensor = LOGITS) -> Tensor:
    """Return the token that each seed draws first."""
    rows = logits.expand(len(seeds), -1)
    scores = Draw(sampling, seeds)(torch.zeros(len(seeds), 1, dtype=torch.long), rows)
    possible = scores > float("-inf")
    assert (possible.sum(-1) == 1).all()
    assert (scores[possible] == 0).all()
    return scores.argmax(-1)


def expected(temperature: float, top_p: float = 1.0, top_k: int = 0) -> Tensor:
    """Return the distribution, worked out token by token in float64."""
    shares = (LOGITS.double() / temperature).softmax(-1)
    kept: list[int] = []
    for token in shares.argsort(descending=True).tolist():
        if (top_k and len(kept) == top_k) or (kept and float(shares[kept].sum()) >= top_p):
            break
        kept.append(token)
    cut = torch.zeros_like(shares)
    cut[kept] = shares[kept]
    return cut / cut.sum()


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1.0},
        {"temperature": 0.5},
        {"temperature": 3.0},
        {"temperature": 1.0, "top_k": 3},
        {"temperature": 1.5, "top_p": 0.8},
    ],
)
def test_draws_follow_the_softmax(settings: dict[str, Any]) -> None:
    seeds = range(20_000)
    counts = torch.bincount(draw(Sampling(**settings), seeds), minlength=len(LOGITS))
    shares = expected(**settings)
    assert (counts[shares == 0] == 0).all(), "a token was drawn that may not be"
    possible = shares > 0
    assert possible.sum() > 2
    assert chisquare(counts[possible].numpy(), (shares[possible] * len(seeds)).numpy()).pvalue > 0.01


def test_one_row_s_later_draws_follow_the_softmax_too() -> None:
    ids = torch.zeros(1, 1, dtype=torch.long)
    processor = Draw(Sampling(temperature=1.0), [7])
    drawn = torch.cat([processor(ids, LOGITS[None]).argmax(-1) for _ in range(5_000)])
    counts = torch.bincount(drawn, minlength=len(LOGITS))[:-1]
    assert chisquare(counts.numpy(), (expected(1.0)[:-1] * 5_000).numpy()).pvalue > 0.01


@pytest.mark.parametrize("temperature", [1e-6, 1e-40, 1e-300])
def test_the_limit_of_no_temperature_is_the_likeliest_token(temperature: float) -> None:
    assert (draw(Sampling(temperature=temperature), range(200)) == 0).all()


def test_equal_tokens_stay_equally_likely_at_any_temperature() -> None:
    logits = torch.tensor([3.0, 1.0, 3.0])
    drawn = draw(Sampling(temperature=1e-6), range(4_000), logits)
    counts = torch.bincount(drawn, minlength=3)
    assert counts[1] == 0
    assert chisquare(counts[[0, 2]].numpy()).pvalue > 0.01


def test_the_largest_draw_takes_the_last_token_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if rounding had brought the draw up to the sum of all probabilities.
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.ones(1, dtype=torch.float64))
    assert draw(Sampling(temperature=1.0), [0]).item() == len(LOGITS) - 2


def test_the_smallest_draw_takes_the_first_token_that_is_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_, **__: torch.zeros(1, dtype=torch.float64))
    assert draw(Sampling(temperature=1.0), [0], LOGITS.flip(0)).item() == 1


def test_rows_draw_from_their_own_seeds() -> None:
    together = draw(Sampling(temperature=2.0), range(50))
    assert together.tolist() == [draw(Sampling(temperature=2.0), [seed]).item() for seed in range(50)]
    assert together.flip(0).tolist() == draw(Sampling(temperature=2.0), range(49, -1, -1)).tolist()


def test_presets() -> None:
    assert sampling_presets["greedy"].temperature == 0
    study = sampling_presets["study"]
    assert (study.temperature, study.max_new_tokens, study.seed) == (0.8, 1024, 0)
    assert (study.top_p, study.top_k) == (1, 0), "nothing is cut off"


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}, {"tau": 1}]
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Sampling(**wrong)


@pytest.fixture
def images() -> list[ImageTensors]:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [{"pixel_values": each} for each in pixels]


def complete(
    backbone: "LlavaBackbone", images: list[ImageTensors], numbers: Sequence[int], sampling: Sampling = HOT
) -> list[Completion]:
    prompts = [backbone.prompt_ids(PROMPTS[number]) for number in numbers]
    shown = [[images[image] for image in IMAGES[number]] for number in numbers]
    return backbone.complete(prompts, shown, sampling, [SEEDS[number] for number in numbers])


def test_an_answer_does_not_depend_on_what_stands_beside_it(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    alone = [complete(backbone, images, [number])[0] for number in range(len(PROMPTS))]
    assert len({answer.text for answer in alone}) == len(PROMPTS)
    for order in list(permutations(range(len(PROMPTS))))[::17]:
        for size in (2, 3, 5):
            for start in range(0, len(order), size):
                batch = order[start : start + size]
                assert complete(backbone, images, batch) == [alone[number] for number in batch]


def test_padding_does_not_matter(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    (alone,) = complete(backbone, images, [0])
    prompts = [backbone.prompt_ids(PROMPTS[0]), backbone.prompt_ids("Where is the lesion? " * 6)]
    assert len(prompts[1]) > len(prompts[0]) + 8
    padded = backbone.complete(prompts, [[images[0]], []], HOT, [SEEDS[0], 1])
    assert padded[0] == alone


def test_global_random_numbers_are_neither_used_nor_moved(
    backbone: "LlavaBackbone", images: list[ImageTensors]
) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = complete(backbone, images, range(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert complete(backbone, images, range(5)) == first


def test_one_seed_for_all_where_none_are_given(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    prompts = [backbone.prompt_ids(PROMPTS[2])] * 2
    first, second = backbone.complete(prompts, [[], []], HOT)
    assert first == second
    other = backbone.complete(prompts[:1], [[]], HOT.model_copy(update={"seed": 1}))
    assert other != [first]


@pytest.mark.parametrize(
    "said",
    [
        {"repetition_penalty": 5.0},
        {"do_sample": True, "top_k": 1, "top_p": 0.01},
        {"temperature": 0.01, "do_sample": True},
        {"min_new_tokens": 12},
        {"forced_eos_token_id": 5},
        {"suppress_tokens": list(range(5, 200))},
        {"bad_words_ids": [[token] for token in range(20, 200)]},
        {"no_repeat_ngram_size": 1},
        {"num_beams": 3},
        {"max_new_tokens": 2, "max_length": 3},
        {"eos_token_id": list(range(20, 200))},
    ],
)
def test_a_folder_s_own_generation_settings_have_no_influence(
    backbone: "LlavaBackbone", images: list[ImageTensors], said: dict[str, Any]
) -> None:
    greedy = Sampling(max_new_tokens=12)
    expected = [complete(backbone, images, range(5), each) for each in (HOT, greedy)]
    backbone.model.generation_config.update(**said)
    assert [complete(backbone, images, range(5), each) for each in (HOT, greedy)] == expected


def test_any_of_several_stop_tokens_ends_an_answer(
    backbone: "LlavaBackbone", images: list[ImageTensors], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [backbone.prompt_ids(PROMPTS[0])]
    whole = _ids(backbone, prompt, images, monkeypatch)
    assert len(whole) == 12
    end = next(place for place in range(3, 12) if whole[place] not in whole[:place])
    eos = backbone.tokenizer.eos_token_id
    monkeypatch.setattr(type(backbone), "stop_tokens", (eos, whole[end], whole[-1]))
    (answer,) = backbone.complete(prompt, [[images[0]]], HOT, [SEEDS[0]])
    place = min(end, whole.index(whole[-1]))
    assert answer.stopped
    assert answer.tokens == place + 1
    assert answer.text == backbone.decode(whole[:place])


def _ids(
    backbone: "LlavaBackbone",
    prompt: list[list[int]],
    images: list[ImageTensors],
    monkeypatch: pytest.MonkeyPatch,
) -> list[int]:
    """Return the ids of an answer."""
    seen: list[list[int]] = []
    decode = backbone.decode
    with monkeypatch.context() as patched:
        patched.setattr(backbone, "decode", lambda ids: (seen.append(list(ids)), decode(ids))[1])
        backbone.complete(prompt, [[images[0]]], HOT, [SEEDS[0]])
    return seen[0]


def test_a_completion_tells_how_it_ended(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    answers = complete(backbone, images, range(5), Sampling(max_new_tokens=4, temperature=1.0))
    cut = [answer for answer in answers if not answer.stopped]
    assert cut
    assert all(answer.tokens == 4 for answer in cut)


def test_an_answer_never_passes_the_context(backbone: "LlavaBackbone", images: list[ImageTensors]) -> None:
    short, long = backbone.prompt_ids(PROMPTS[2]), backbone.prompt_ids(PROMPTS[1])
    backbone.max_length = len(long) + 3
    sampling = Sampling(max_new_tokens=40, temperature=1.5)
    first, second = backbone.complete([short, long], [[], [images[1]]], sampling, [1, 2])
    assert second.tokens == 3
    assert second == backbone.complete([long], [[images[1]]], sampling, [2])[0]
    assert first.tokens > 3
    backbone.max_length = len(long)
    with pytest.raises(InputError, match=f"{len(long)} tokens"):
        backbone.complete([short, long], [[], [images[1]]], sampling)
