"""Floating-point operations of a forward and backward pass, from sizes alone.

Counted are matrix products and attention; norms, activations and softmax are left out (a few in
a hundred). A multiplication with its addition counts as two. With p the weights that a token is multiplied
with and n the tokens, padding included, a forward pass takes 2·p·n; its backward pass takes as much again
for the gradient of the inputs, where something before it is trained, and as much again for that of the
weights, where they are trained (Kaplan et al. 2020, arXiv:2001.08361, section 2.1, and the chain rule).
Attention takes 4·width for each pair of a query and a key that it sees, and twice that backward.
"""

from typing import NamedTuple

from medpref.study.dry.sizes import NO_ADAPTERS, USUAL, Adapters, Load, Mode, Model, Trained


class Flops(NamedTuple):
    """Floating-point operations by part."""

    tower: float
    projector: float
    decoder: float
    attention: float
    head: float

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self)


class _Times(NamedTuple):
    """How often a part's forward operations count: once, and again for each gradient and recomputation."""

    tower: int = 1
    among_patches: int = 1
    projector: int = 1
    decoder: int = 1
    attention: int = 1
    head: int = 1
    adapters: int = 1


def forward_flops(model: Model, load: Load, adapters: Adapters = NO_ADAPTERS) -> Flops:
    """Return what a forward pass takes."""
    return _flops(model, load, adapters, _Times())


def training_flops(model: Model, load: Load, trained: Trained, mode: Mode = USUAL) -> Flops:
    """Return what a forward pass and its backward pass take; under checkpointing another forward pass."""
    adapters = trained.adapters
    in_tower = trained.tower or adapters.tower > 0
    in_projector = in_tower or trained.projector or adapters.projector > 0
    in_decoder = in_projector or trained.decoder or adapters.decoder > 0
    in_head = in_decoder or trained.head
    again = int(mode.checkpointing)
    times = _Times(
        tower=1 + in_tower * (1 + again) + trained.tower,
        among_patches=1 + in_tower * (2 + again),
        projector=1 + in_tower + trained.projector,
        decoder=1 + in_decoder * (1 + again) + trained.decoder,
        attention=1 + in_decoder * (2 + again),
        head=1 + in_decoder + trained.head + in_head * (load.positions > mode.head_chunk),
        adapters=3 + again,
    )
    return _flops(model, load, adapters, times)


def _flops(model: Model, load: Load, adapters: Adapters, times: _Times) -> Flops:
    tower, decoder = model.tower, model.decoder
    patches, patch_tokens = load.encoded * tower.patches, load.encoded * tower.tokens
    image_tokens = load.images * model.image_tokens
    tower_linear = patches * tower.patch_weights + patch_tokens * tower.layers * tower.layer_weights
    among_patches = 4 * tower.width * tower.tokens * patch_tokens * tower.layers
    if decoder.lean:
        of_queries = decoder.layer_weights - decoder.key_weights
        last = load.columns * decoder.key_weights + load.queries * of_queries
        visible_last = load.visible_last
    else:
        last, visible_last = load.columns * decoder.layer_weights, load.visible
    whole_layers = decoder.layers - 1
    layers = load.columns * decoder.layer_weights * whole_layers + last
    attention = 4 * decoder.attention * (load.visible * whole_layers + visible_last)
    head = load.positions * decoder.width * decoder.vocabulary
    return Flops(
        2 * (times.tower * tower_linear + times.adapters * adapters.tower * patch_tokens)
        + times.among_patches * among_patches,
        2 * image_tokens * (times.projector * model.projector_weights + times.adapters * adapters.projector),
        2 * (times.decoder * layers + times.adapters * adapters.decoder * load.columns),
        times.attention * attention,
        2 * times.head * head,
    )
