"""The pieces of lean layers against plain ones."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from medpref.backbones.lean import _GatedProduct, _norm, recomputed, rotate


def values_and_gradients(make, *inputs: Tensor) -> list[Tensor]:
    leaves = [value.clone().requires_grad_() for value in inputs]
    out = make(*leaves)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    return [out.detach(), *torch.autograd.grad((weights * out).sum(), leaves)]


def check(ours, theirs, *inputs: Tensor) -> None:
    found = values_and_gradients(ours, *inputs)
    for mine, expected in zip(found, values_and_gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)


class Norm(nn.Module):
    """What `_norm` reads of the library's norms."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = weight, 1e-6


def test_the_norm_is_rms_norm() -> None:
    torch.manual_seed(0)
    x, weight = 3 * torch.randn(2, 5, 8), torch.randn(8)
    check(
        lambda a, w: _norm(Norm(w), a)[0],
        lambda a, w: nn.functional.rms_norm(a, (8,), w, 1e-6),
        x,
        weight,
    )
    normed, again = _norm(Norm(weight), x)
    assert torch.equal(again(), normed)


def test_a_norm_in_bf16_keeps_its_type() -> None:
    x, weight = torch.randn(2, 8, dtype=torch.bfloat16), torch.ones(8, dtype=torch.bfloat16)
    found = values_and_gradients(lambda a, w: _norm(Norm(w), a)[0], x, weight)
    assert {value.dtype for value in found} == {torch.bfloat16}


def test_the_gated_product_is_silu_times_up() -> None:
    torch.manual_seed(0)
    check(_GatedProduct.apply, lambda gate, up: silu(gate) * up, torch.randn(3, 7), torch.randn(3, 7))


def test_rotation_is_the_librarys() -> None:
    torch.manual_seed(0)
    x, angles = torch.randn(2, 3, 5, 8), torch.randn(2, 5, 4).repeat(1, 1, 2)
    cos, sin = angles.cos(), angles.sin()
    check(
        lambda q: rotate(q, cos, sin),
        lambda q: apply_rotary_pos_emb(q, q, cos, sin)[0],
        x,
    )


def run_with(wanted: bool, x: Tensor, linear: nn.Linear, calls: list[int]) -> Tensor:
    value = x.sin()

    def again() -> Tensor:
        calls.append(1)
        return x.sin()

    with recomputed(value, again, wanted):
        return linear(value)


def test_what_is_computed_again_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    x, linear, calls = torch.randn(4, 6, requires_grad=True), nn.Linear(6, 2), []
    found = {}
    for wanted in (False, True):
        out = run_with(wanted, x, linear, calls).square().sum()
        found[wanted] = torch.autograd.grad(out, [x, linear.weight])
        assert len(calls) == int(wanted)
    assert all(torch.equal(lean, plain) for lean, plain in zip(found[True], found[False], strict=True))


def test_what_is_computed_again_is_not_held_by_the_graph() -> None:
    x, linear = torch.randn(4, 6), nn.Linear(6, 2)
    for wanted in (False, True):
        value = x.sin()
        with recomputed(value, x.sin, wanted):
            out = linear(value)
        saved = out.grad_fn._saved_mat1
        # Where it is computed again, what comes back is a new tensor.
        assert (saved.data_ptr() == value.data_ptr()) is not wanted
        assert torch.equal(saved, value)
