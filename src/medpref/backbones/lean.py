"""Decoder layers of the Llama shape on rows that branch, computing and keeping no more than is needed.

The same weights and the same numbers as the library's layers, to rounding, with three differences:

- attention is split: the columns of the trunk are plainly causal, so that the kernel skips what they don't
  see; only the branches behind it need a mask. Keys and values are not repeated for grouped heads.
- the last layer computes queries, attention and MLP for the columns that are read, and no others.
- norms save their inputs alone. On request that goes for the gated product too, and what a projection needs
  of their outputs is computed again in the backward pass: elementwise work for a third of the memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLDecoderLayer
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLDecoderLayer
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextDecoderLayer

from medpref.backbones.base import Rows

LAYERS = (
    LlamaDecoderLayer,
    MistralDecoderLayer,
    Qwen2DecoderLayer,
    Qwen2VLDecoderLayer,
    Qwen2_5_VLDecoderLayer,
    Qwen3VLTextDecoderLayer,
)


class Tree(NamedTuple):
    """What the layers are told about a call's rows.

    Attributes:
        trunk: how many columns at the left are plainly causal.
        allowed: which key each column behind the trunk may see.
        queries: the columns that are read behind the last layer.
        visible: which key each of `queries` may see.
        trim: let the last layer compute nothing but `queries`; otherwise it computes all columns.
        recompute: save inputs and compute again, rather than save what follows from them.
    """

    trunk: int
    allowed: Bool[Tensor, "rows 1 branches tokens"]
    queries: Int[Tensor, "rows queries"]
    visible: Bool[Tensor, "rows 1 queries tokens"]
    trim: bool
    recompute: bool


class _RMSNorm(Function):
    """x · w / √(mean(x²) + ε), saving x and the root only."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        root = torch.rsqrt(x.float().square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, root)
        ctx.mark_non_differentiable(root)
        return _normed(x, weight, root), root

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, root = ctx.saved_tensors
        straight = x.float() * root
        scaled = grad.float() * weight.float()
        along = (scaled * straight).mean(-1, keepdim=True)
        to_weight = (grad.float() * straight).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        to_x = torch.addcmul(scaled, straight, along, value=-1).mul_(root)
        return to_x.to(x.dtype), None if to_weight is None else to_weight.to(weight.dtype), None


def _normed(x: Tensor, weight: Tensor, root: Tensor) -> Tensor:
    return weight * (x.float() * root).to(x.dtype)


class _GatedProduct(Function):
    """silu(gate) · up, saving the two factors only."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return torch.ops.aten.silu_backward(grad * up, gate), silu(gate).mul_(grad)


def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return silu(gate) * up


@contextmanager
def recomputed(value: Tensor, make: Callable[[], Tensor], wanted: bool) -> Iterator[None]:
    """Let autograd keep `make` in place of `value`: what is saved of it is made again when it is needed.

    Args:
        value: what `make` returns, and what the operations inside the context are applied to.
        make: computes `value` from tensors that are kept anyway.
        wanted: whether to do so at all.
    """
    if not wanted:
        yield
        return
    address = value.data_ptr()

    def pack(saved: Tensor) -> Any:
        same = saved.data_ptr() == address and saved.numel() == value_size and saved.dtype == dtype
        return saved.shape if same else saved

    def unpack(kept: Any) -> Tensor:
        return make().view(kept) if isinstance(kept, torch.Size) else kept

    value_size, dtype = value.numel(), value.dtype
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def rotate(x: Float[Tensor, "rows heads tokens dim"], cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings. Su et al. 2021, arXiv:2104.09864, in the two-halves layout."""
    half = x.shape[-1] // 2
    first, second = x[..., :half], x[..., half:]
    # Both halves of a position's angles are the same.
    cos, sin = cos[:, None, :, :half].to(x.dtype), sin[:, None, :, :half].to(x.dtype)
    return torch.cat(
        [
            torch.addcmul(first * cos, second, sin, value=-1),
            torch.addcmul(second * cos, first, sin),
        ],
        dim=-1,
    )


def attend(
    query: Float[Tensor, "rows heads tokens dim"],
    key: Float[Tensor, "rows groups tokens dim"],
    value: Float[Tensor, "rows groups tokens dim"],
    tree: Tree,
) -> list[Float[Tensor, "rows part width"]]:
    """Return the attention's output for the trunk and for the branches, where there are such columns."""
    trunk, parts = tree.trunk, []
    if trunk:
        seen = slice(None, trunk)
        parts.append(_sdpa(query[:, :, seen], key[:, :, seen], value[:, :, seen], None))
    if trunk < query.shape[2]:
        parts.append(_sdpa(query[:, :, trunk:], key, value, tree.allowed))
    return parts


def _sdpa(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None and query.is_cuda:
        # CUDA's kernels take a mask or grouped heads, not both; the slow path would keep all scores.
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    out = scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, enable_gqa=True
    )
    return out.transpose(1, 2).flatten(2)


def take(x: Float[Tensor, "rows tokens width"], columns: Int[Tensor, "rows queries"]) -> Tensor:
    """Return some columns of each row."""
    return x.gather(1, columns[..., None].expand(-1, -1, x.shape[-1]))


def lean_forward(
    layer: Any,
    hidden: Float[Tensor, "rows tokens width"],
    places: tuple[Tensor, Tensor],
    tree: Tree,
    last: bool,
) -> Tensor:
    """Run one decoder layer.

    Args:
        layer: a decoder layer of the library.
        hidden: the states that come in.
        places: cosines and sines of the positions.
        tree: which columns see which, and which are read.
        last: compute only the columns that are read.

    Returns:
        The states that go out: one for each column, or one for each of `tree.queries` in the last layer.
    """
    attention, mlp = layer.self_attn, layer.mlp
    normed, again = _norm(layer.input_layernorm, hidden)
    with recomputed(normed, again, tree.recompute):
        key, value = (
            _heads(project(normed), attention.head_dim) for project in (attention.k_proj, attention.v_proj)
        )
        asking = take(normed, tree.queries) if last else normed
        query = _heads(attention.q_proj(asking), attention.head_dim)
    # Qwen3 norms each head's queries and keys.
    query, key = _norm_heads(attention, "q_norm", query), _norm_heads(attention, "k_norm", key)
    key = rotate(key, *places)
    if last:
        query = rotate(query, *(take(angles.expand(len(hidden), -1, -1), tree.queries) for angles in places))
        parts = [_sdpa(query, key, value, tree.visible)]
        hidden = take(hidden, tree.queries)
    else:
        parts = attend(rotate(query, *places), key, value, tree)
    joined = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
    with recomputed(joined, lambda: torch.cat(parts, dim=1), tree.recompute and len(parts) > 1):
        hidden = hidden + attention.o_proj(joined)
    normed, again = _norm(layer.post_attention_layernorm, hidden)
    with recomputed(normed, again, tree.recompute):
        gate, up = mlp.gate_proj(normed), mlp.up_proj(normed)
    gated: Callable[..., Tensor] = _GatedProduct.apply if tree.recompute else _gated
    product = gated(gate, up)
    with recomputed(product, lambda: silu(gate).mul_(up), tree.recompute):
        out: Tensor = hidden + mlp.down_proj(product)
    return out


def _norm(module: Any, x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
    """Return the normed states and what makes them again."""
    weight: Tensor = module.weight
    normed, root = _RMSNorm.apply(x, weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed, lambda: _normed(x, weight, root)


def _norm_heads(attention: Any, name: str, x: Tensor) -> Tensor:
    module = getattr(attention, name, None)
    return x if module is None else _norm(module, x)[0]


def _heads(x: Tensor, size: int) -> Tensor:
    return x.view(*x.shape[:-1], -1, size).transpose(1, 2)


def read_rows(
    run: Callable[..., Any], decoder: Any, rows: Rows, *, lean: bool, trim: bool, recompute: bool
) -> Float[Tensor, "rows queries width"]:
    """Return the last hidden states at `rows.queries`.

    Args:
        run: runs the decoder, given a mask and, where its layers are lean, a tree.
        decoder: the language model without its head.
        rows: the token rows.
        lean: whether `make_lean` taught the decoder's layers, and they are to be used.
        trim: let the last layer compute nothing but what is read.
        recompute: save inputs and compute again, rather than save what follows from them.
    """
    if not lean:
        # One mask for all heads; Boolean masks are exact under sdpa and silently wrong under eager.
        return take(run(attention_mask=rows.mask()[:, None]).last_hidden_state, rows.queries)
    allowed, visible = rows.allowed[:, None], rows.visible[:, None]
    # Checkpointing keeps nothing of a layer, so there is nothing to save by computing it again.
    again = recompute and not decoder.gradient_checkpointing
    tree = Tree(rows.trunk, allowed, rows.queries, visible, trim, again)
    # A mask with four axes passes through the library untouched; the layers read the tree instead.
    states: Tensor = run(attention_mask=visible, tree=tree).last_hidden_state
    return states if trim else take(states, rows.queries)


def make_lean(decoder: nn.Module, longest: int) -> bool:
    """Teach a decoder's layers to take a `Tree`; without one they run as before.

    Args:
        decoder: a language model of the library without its head.
        longest: the longest path in tokens: a sliding window that is no shorter hides nothing.

    Returns:
        Whether the layers are of a kind that can do so; if not, they are left as they are.
    """
    config: Any = decoder.config
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    plain = config.hidden_act == "silu" and not config.attention_dropout and (not window or window >= longest)
    layers: Any = decoder.layers
    if not plain or not all(isinstance(layer, LAYERS) for layer in layers):
        return False
    for number, layer in enumerate(layers):
        layer.forward = MethodType(_with_tree(type(layer).forward, number == len(layers) - 1), layer)
    return True


def _with_tree(plain: Callable[..., Tensor], last: bool) -> Callable[..., Tensor]:
    """Return a layer's forward that takes a `Tree` and falls back on the library's without one."""
    # Newer versions of the library checkpoint within the `forward` replaced here, older ones around it.
    own_checkpoint = "__call__" not in vars(GradientCheckpointingLayer)

    def forward(
        layer: nn.Module, hidden_states: Tensor, *args: Any, tree: Tree | None = None, **rest: Any
    ) -> Tensor:
        # A keyword argument: what checkpoints around this function hands it to the second pass as well.
        if tree is None:
            return plain(layer, hidden_states, *args, **rest)
        run = partial(
            lean_forward, layer, places=rest["position_embeddings"], tree=tree, last=last and tree.trim
        )
        if own_checkpoint and layer.gradient_checkpointing and layer.training:
            checkpoint: Any = layer._gradient_checkpointing_func
            done: Tensor = checkpoint(run, hidden_states)
            return done
        return run(hidden_states)

    return forward
