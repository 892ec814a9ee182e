"""Peak memory of a step, from sizes alone."""

from typing import NamedTuple

from medpref.study.dry.sizes import USUAL, Decoder, Load, Mode, Model, Trained


class Memory(NamedTuple):
    """Bytes at the peak of a step."""

    weights: float
    gradients: float
    optimizer: float
    activations: float

    @property
    def total(self) -> float:
        """All of them. Gradients come as activations go, so the true peak lies somewhat lower."""
        return sum(self)


def training_memory(
    model: Model, load: Load, trained: Trained, trained_bytes: int, mode: Mode = USUAL
) -> Memory:
    """Return what a training step holds: weights, gradients, AdamW's two means, and saved activations.

    What the library, allocator and kernels need besides is not counted.

    Args:
        model: the sizes.
        load: what one forward pass is given, the largest.
        trained: what is trained.
        trained_bytes: of all weights that are trained, adapters included.
        mode: how passes are computed.
    """
    activations = _saved(model, load, trained, mode)
    return Memory(model.weight_bytes, trained_bytes, 2 * trained_bytes, activations)


def forward_memory(model: Model, load: Load, mode: Mode = USUAL) -> Memory:
    """Return what a forward pass without gradients holds: the tower's states, or one layer, or the head."""
    wide, narrow = _elements(model, mode)
    # Without gradients a layer lets go of what it has used.
    layer = load.columns * _layer_bytes(model.decoder, wide, narrow, recompute=True)
    largest = max(layer, _tower_states(model, load), _head_bytes(model, load, mode))
    return Memory(model.weight_bytes, 0, 0, largest + load.mask)


def _elements(model: Model, mode: Mode) -> tuple[int, int]:
    """Return the bytes of an element of the residual stream, and of what matrix products give."""
    return model.element, min(model.element, 2) if mode.precision == "bf16" else model.element


def _head_bytes(model: Model, load: Load, mode: Mode) -> float:
    """Return the bytes of logits, their softmax and its gradient, all in fp32."""
    return 3 * 4 * min(load.positions, mode.head_chunk) * model.decoder.vocabulary


def _saved(model: Model, load: Load, trained: Trained, mode: Mode) -> float:
    """Return the bytes of what is kept for the backward pass, if some layer of the decoder needs it."""
    wide, narrow = _elements(model, mode)
    decoder, tower, adapters = model.decoder, model.tower, trained.adapters
    text = _saved_by_layers(model, load, mode) + load.queries * wide * decoder.width
    text += _head_bytes(model, load, mode)
    if narrow < wide:
        # Autocast keeps the weights that it has converted until the backward pass is done.
        text += narrow * (decoder.layers * decoder.layer_weights + decoder.width * decoder.vocabulary)
    in_tower = trained.tower or adapters.tower > 0
    if in_tower or trained.projector or adapters.projector:
        text += load.images * model.image_tokens * narrow * (tower.width + 2 * decoder.width)
    states = _tower_states(model, load)
    if not in_tower:
        # They are gone before the language model begins.
        return max(text, states) + load.mask
    if not mode.checkpointing:
        each = wide * 2 * tower.width + narrow * (6 * tower.width + 2 * tower.inner)
        states = load.encoded * tower.tokens * tower.layers * each
    return text + states + load.mask


def _saved_by_layers(model: Model, load: Load, mode: Mode) -> float:
    """Return the bytes of what the decoder's layers keep.

    For each column of a layer these are its input and the attention's input to the residual stream, in the
    weights' type; queries, keys, values, the attention's output, and the two factors of the gated product,
    in the type that is computed in. Unless that is computed again, a layer also keeps what follows from them
    by elementwise work. Under checkpointing each layer keeps its input, and one layer at a time the rest.
    """
    wide, narrow = _elements(model, mode)
    decoder = model.decoder
    layer = _layer_bytes(decoder, wide, narrow, recompute=mode.recompute)
    if mode.checkpointing:
        return load.columns * (decoder.layers * wide * decoder.width + layer)
    if not decoder.lean:
        return load.columns * layer * decoder.layers
    keys = wide * decoder.width + narrow * 2 * decoder.keys
    return load.columns * (layer * (decoder.layers - 1) + keys) + load.queries * (layer - keys)


def _layer_bytes(decoder: Decoder, wide: int, narrow: int, *, recompute: bool) -> int:
    """Return the bytes that one layer keeps for each column."""
    stream, gated = (4, 4) if decoder.lean else (6, 4)
    if decoder.lean and recompute:
        stream, gated = 2, 2
    inside = 2 * decoder.attention + 2 * decoder.keys + gated * decoder.inner
    return wide * stream * decoder.width + narrow * inside


def _tower_states(model: Model, load: Load) -> float:
    """Return the bytes of the tower's hidden states, all of which are there when one of them is chosen."""
    tower = model.tower
    return load.encoded * tower.tokens * tower.width * model.element * (tower.layers + 1)
