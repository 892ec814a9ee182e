"""Every way to compute the same scores: lean or library layers, checkpointed, chunked, with LoRA, in bf16."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from tests.scoring.conftest import check_gradients
from torch import Tensor, nn

from medpref.backbones.lean import LAYERS, make_lean
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.scoring.cells import Cell
from medpref.scoring.features import FeatureCache
from medpref.scoring.scorer import Scorer

if TYPE_CHECKING:
    from medpref.backbones.llava import LlavaBackbone

ALL = list(Cell)


@pytest.fixture
def mixed(make_image, make_pair) -> list[Pair]:
    """Several questions on one image, several images in one prompt, other lengths, and text alone."""
    a, b, c = (make_image(f"{name}.png", seed) for seed, name in enumerate("abc"))
    ra, rb, rc = (make_image(f"r{name}.png", 10 + seed) for seed, name in enumerate("abc"))
    return [
        make_pair("a-1", (a,), (ra,)),
        make_pair("a-2", (a,), (ra,), "Where is the lesion in this rather longer question?"),
        make_pair(
            "one-word", (a,), (ra,), chosen="Yes, in the upper lobe.", refused="Yes, in the left lobe."
        ),
        make_pair("two", (b, c), (rb, rc), "Which one is clear?", chosen="First"),
        Pair(
            "image-last",
            "Describe\n<image>",
            {ImageRole.CLEAN: (c,), ImageRole.REJECTED: (rc,)},
            {ResponseRole.CHOSEN: "A lung.", ResponseRole.REJECTED: "A brain."},
        ),
        Pair(
            "text",
            "Is pneumonia an infection?",
            {ImageRole.CLEAN: (), ImageRole.REJECTED: ()},
            {ResponseRole.CHOSEN: "Yes", ResponseRole.REJECTED: "No"},
        ),
    ]


def total(scorer: Scorer, pairs: list[Pair]) -> Tensor:
    return torch.stack([score.logps for score in scorer.score(pairs, ALL).values()])


def gradients(backbone: "LlavaBackbone", values: Tensor) -> dict[str, Tensor]:
    backbone.model.zero_grad()
    (torch.linspace(-1, 1, values.numel()).view(values.shape) * values).sum().backward()
    return {n: p.grad.clone() for n, p in backbone.model.named_parameters() if p.grad is not None}


def check_equal(backbone: "LlavaBackbone", pairs: list[Pair], change: Callable[[], Scorer]) -> None:
    """Compare scores and gradients before and after `change`, which returns the scorer to use then."""
    values = total(Scorer(backbone, shared=False), pairs)
    expected = gradients(backbone, values)
    other = total(change(), pairs)
    torch.testing.assert_close(other, values, rtol=1e-6, atol=1e-5)
    check_gradients(gradients(backbone, other), expected)


@pytest.fixture
def library(backbone: "LlavaBackbone") -> "LlavaBackbone":
    """A backbone that runs the library's own layers."""
    backbone.lean = False
    return backbone


def test_lean_layers_are_the_librarys(library: "LlavaBackbone", mixed: list[Pair]) -> None:
    def lean() -> Scorer:
        library.lean = True
        return Scorer(library)

    check_equal(library, mixed, lean)


@pytest.mark.parametrize(("split", "trim"), [(False, False), (True, False), (False, True)])
def test_each_saving_by_itself(library: "LlavaBackbone", mixed: list[Pair], split: bool, trim: bool) -> None:
    def lean() -> Scorer:
        library.lean, library.trim = True, trim
        return Scorer(library, split=split)

    check_equal(library, mixed, lean)


def test_computing_again_changes_nothing(library: "LlavaBackbone", mixed: list[Pair]) -> None:
    def lean() -> Scorer:
        library.lean, library.recompute = True, True
        return Scorer(library)

    check_equal(library, mixed, lean)


def test_shared_rows_of_the_librarys_layers(library: "LlavaBackbone", mixed: list[Pair]) -> None:
    check_equal(library, mixed, lambda: Scorer(library))


@pytest.mark.parametrize("lean", [True, False])
def test_gradient_checkpointing(backbone: "LlavaBackbone", mixed: list[Pair], lean: bool) -> None:
    backbone.lean = lean

    def checkpointed() -> Scorer:
        backbone.model.train()
        backbone.model.gradient_checkpointing_enable({"use_reentrant": False})
        assert backbone.model.model.language_model.gradient_checkpointing
        return Scorer(backbone)

    check_equal(backbone, mixed, checkpointed)


def test_a_head_in_chunks(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    check_equal(backbone, mixed, lambda: Scorer(backbone, head_chunk=7))


def with_lora(backbone: "LlavaBackbone") -> None:
    config = LoraConfig(r=4, target_modules=r".*language_model.*_proj", init_lora_weights=False)
    inject_adapter_in_model(config, backbone.model)
    for name, parameter in backbone.model.named_parameters():
        parameter.requires_grad_("lora_" in name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_lora(library: "LlavaBackbone", mixed: list[Pair], checkpointing: bool) -> None:
    torch.manual_seed(0)
    before = total(Scorer(library), mixed).detach()
    with_lora(library)
    assert (total(Scorer(library), mixed) - before).abs().min() > 1e-3

    def lean() -> Scorer:
        library.lean = True
        if checkpointing:
            library.model.train()
            library.model.gradient_checkpointing_enable({"use_reentrant": False})
        return Scorer(library)

    check_equal(library, mixed, lean)


@pytest.mark.parametrize(
    "frozen", [["tower"], ["tower", "projector"], ["tower", "projector", "language_model"]]
)
def test_frozen_parts(library: "LlavaBackbone", mixed: list[Pair], frozen: list[str]) -> None:
    library.freeze(frozen)

    def lean() -> Scorer:
        library.lean = True
        return Scorer(library)

    check_equal(library, mixed, lean)


def test_encoded_images_stand_for_pixels(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    scorer = Scorer(backbone)
    score = scorer.model.forward

    def encoded(plan, images, encoded=False):
        assert not encoded
        return score(plan, backbone.encode_images(images), encoded=True)

    def change() -> Scorer:
        scorer.model.forward = encoded
        return scorer

    check_equal(backbone, mixed, change)


def test_bf16_is_close(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    # bf16 has 8 bits of mantissa: a token's log-prob is off by 0.06 nats at most here and by 0.01 on average,
    # in shared and in separate rows. A leak between branches is off by whole nats (see test_shared_rows).
    exact = Scorer(backbone).score(mixed, ALL)
    for shared in (True, False):
        rough = Scorer(backbone, shared=shared, precision="bf16").score(mixed, ALL)
        for cell in ALL:
            assert rough[cell].tokens.dtype == torch.float32
            difference = (rough[cell].tokens - exact[cell].tokens).abs()
            assert difference.max() < 0.1
            assert difference.mean() < 0.02


def saved_bytes(backbone: "LlavaBackbone", pairs: list[Pair]) -> int:
    """Return how much memory the graph of one batch holds, weights left out, each storage counted once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in backbone.model.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        values = total(Scorer(backbone), pairs)
    assert values.requires_grad
    return sum(held.values())


def test_lean_layers_hold_less(library: "LlavaBackbone", mixed: list[Pair]) -> None:
    # Hooks that are already there do not see what `recomputed` replaces, so this counts the split alone.
    plain = saved_bytes(library, mixed)
    library.lean = True
    assert saved_bytes(library, mixed) < 0.9 * plain


def test_the_last_layer_computes_only_what_is_read(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    widths: dict[int, set[int]] = {0: set(), 1: set()}
    layers = backbone.model.model.language_model.layers
    for number, seen in widths.items():
        layers[number].mlp.up_proj.register_forward_hook(
            lambda m, given, out, seen=seen: seen.add(out.shape[1])
        )
    scorer = Scorer(backbone)
    scorer.score(mixed[:2], [Cell.CLEAN_CHOSEN])
    lengths = [len(backbone.response_ids(pair.responses[ResponseRole.CHOSEN])) for pair in mixed[:2]]
    assert widths[1] == {sum(lengths)}
    assert widths[0] == {scorer.tokens}


def test_generation_runs_the_librarys_layers(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    # Without a tree the layers run as before: the library's whole forward pass is untouched.
    ids = torch.tensor([backbone.prompt_ids("Is there a lesion?")])
    assert backbone.lean
    lean = backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    for layer in backbone.model.model.language_model.layers:
        del layer.forward
    assert torch.equal(lean, backbone.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)


@pytest.mark.parametrize(
    "change", [{"hidden_act": "gelu"}, {"attention_dropout": 0.1}, {"sliding_window": 64}]
)
def test_layers_of_another_kind_are_left_alone(make_backbone, change: dict[str, object]) -> None:
    decoder = make_backbone("mistral").model.model.language_model
    for layer in decoder.layers:
        del layer.forward
    for key, value in change.items():
        setattr(decoder.config, key, value)
    assert not make_lean(decoder, 128)
    assert not any("forward" in vars(layer) for layer in decoder.layers)


def test_unknown_layers_are_left_alone(make_backbone) -> None:
    class Other(nn.Module):
        pass

    decoder = make_backbone("qwen2").model.model.language_model
    decoder.layers.append(Other())
    assert not isinstance(decoder.layers[-1], LAYERS)
    assert not make_lean(decoder, 128)


def test_a_window_as_long_as_the_context_hides_nothing(make_backbone) -> None:
    decoder = make_backbone("mistral").model.model.language_model
    decoder.config.sliding_window = 128
    assert make_lean(decoder, 128)


def test_kept_features_of_a_frozen_tower(library: "LlavaBackbone", mixed: list[Pair]) -> None:
    library.freeze(["tower"])
    cache = FeatureCache()

    def kept() -> Scorer:
        scorer = Scorer(library, features=cache)
        scorer.score(mixed, ALL)
        return scorer

    check_equal(library, mixed, kept)
    assert cache.computed == 6


def test_features_of_a_tower_in_training_are_not_kept(backbone: "LlavaBackbone", mixed: list[Pair]) -> None:
    cache = FeatureCache()
    check_equal(backbone, mixed, lambda: Scorer(backbone, features=cache))
    assert cache.computed == 0
