"""Sizes that a cost depends on: of a model, of what is trained, and of a forward pass."""

from typing import NamedTuple


class Tower(NamedTuple):
    """Sizes of a vision tower.

    Attributes:
        layers, width, inner: how many layers; their width; the width inside their MLPs.
        patches: how many an image has.
        tokens: how many tokens an image takes: its patches and the CLS token.
        patch_weights: of the patch embedding, by which each patch is multiplied.
        layer_weights: of one layer, by which each token is multiplied.

    Where patches and tokens depend on an image's size, they are means.
    """

    layers: int
    width: int
    inner: int
    patches: float
    tokens: float
    patch_weights: int
    layer_weights: int


class Decoder(NamedTuple):
    """Sizes of a language model with gated MLPs.

    Attributes:
        layers, width, inner: how many layers; their width; the width inside their MLPs.
        attention: the width of all query heads together.
        keys: the width of all key heads together.
        vocabulary: how many tokens the head tells apart.
        lean: whether the last layer computes only what is read, and layers keep only what they need.
    """

    layers: int
    width: int
    inner: int
    attention: int
    keys: int
    vocabulary: int
    lean: bool

    @property
    def layer_weights(self) -> int:
        """The weights of one layer that a token is multiplied with."""
        return 2 * self.width * self.attention + self.key_weights + 3 * self.width * self.inner

    @property
    def key_weights(self) -> int:
        """Those of them that make keys and values."""
        return 2 * self.width * self.keys


class Adapters(NamedTuple):
    """The weights of low-rank adapters in each part of a model."""

    tower: int = 0
    projector: int = 0
    decoder: int = 0


class Trained(NamedTuple):
    """Which parts' own weights are trained, and which adapters."""

    tower: bool
    projector: bool
    decoder: bool
    head: bool
    adapters: Adapters = Adapters()


class Model(NamedTuple):
    """Sizes of a vision-language model.

    Attributes:
        tower, decoder: the parts.
        projector_weights: by which each image token is multiplied.
        image_tokens: how many an image takes in the language model.
        weight_bytes: of all weights.
        element: bytes of one weight.
    """

    tower: Tower
    decoder: Decoder
    projector_weights: int
    image_tokens: float
    weight_bytes: int
    element: int


class Load(NamedTuple):
    """What one forward pass is given; means over passes may be fractions.

    Attributes:
        columns: tokens of all rows, padding included.
        queries: columns that are computed in a lean last layer, the filled places of short rows included.
        positions: places at which the head is applied.
        visible: pairs of a column and one that it sees, in all layers but a lean last one.
        visible_last: the same for the queries.
        images: distinct images in the rows.
        encoded: images that the tower is run on.
        mask: entries of the attention masks.
    """

    columns: float
    queries: float
    positions: float
    visible: float
    visible_last: float
    images: float
    encoded: float
    mask: float = 0.0


class Mode(NamedTuple):
    """How passes are computed.

    Attributes:
        precision: fp32, or bf16 autocast.
        checkpointing: layers keep their inputs and compute the rest again in the backward pass.
        head_chunk: the most positions that the head is applied to at a time; where there are more, their
            logits are computed again in the backward pass.
        recompute: lean layers compute cheap activations again in the backward pass.
    """

    precision: str = "fp32"
    checkpointing: bool = False
    head_chunk: int = 512
    recompute: bool = False


NO_ADAPTERS = Adapters()
USUAL = Mode()
