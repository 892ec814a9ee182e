"""Floating-point operations of a training step at the real 7B shape: what to expect there.

A multiplication with an addition counts as two. Counted are matrix products and attention, causal attention
at half of the square. A backward pass costs twice the forward pass, or once where weights are frozen and only
their inputs need gradients (LoRA, whose own products are left out: less than 2 %). Norms, rotations and the
optimizer are left out, and the hardware is taken to be used equally well on both sides.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Shape:
    """A model and the lengths of what it reads.

    Attributes:
        width, layers, heads, groups, mlp, vocabulary: of the language model; `width` is that of all heads.
        tower_width, tower_layers: of the vision tower, with an MLP four times as wide.
        image: tokens of an image.
        prompt: tokens of a prompt beside the image's.
        response: tokens of a response.
    """

    width: int
    layers: int
    heads: int
    groups: int
    mlp: int
    vocabulary: int
    tower_width: int
    tower_layers: int
    image: int
    prompt: int
    response: int


LLAVA_7B = Shape(4096, 32, 32, 8, 14336, 32000, 1024, 24, 576, 40, 100)


def layer_weights(shape: Shape) -> float:
    """Return the weights of one layer's projections: queries and output, keys and values, gated MLP."""
    keys = shape.width * shape.groups // shape.heads
    return 2 * shape.width**2 + 2 * shape.width * keys + 3 * shape.width * shape.mlp


def attention(shape: Shape, seen: float) -> float:
    """Return the operations of one layer's attention, where all queries together see `seen` keys."""
    return 4 * shape.width * seen


def tower(shape: Shape) -> float:
    """Return the operations of the tower on one image: its tokens and the class token, without causality."""
    tokens, width = shape.image + 1, shape.tower_width
    return shape.tower_layers * (2 * tokens * 12 * width**2 + 4 * width * tokens**2)


def projector(shape: Shape) -> float:
    """Return the operations of the projector's two layers on one image."""
    return 2 * shape.image * shape.width * (shape.tower_width + shape.width)


def row(shape: Shape, responses: int, *, trimmed: bool) -> float:
    """Return the operations of one forward pass over a row: image, prompt, and responses beside each other.

    Args:
        shape: model and lengths.
        responses: how many share the row.
        trimmed: the last layer computes queries, attention and MLP for the responses' positions only.
    """
    prefix, own = shape.image + shape.prompt, shape.response
    tokens = prefix + responses * own
    seen_by_responses = responses * (own * prefix + own**2 / 2)
    seen = prefix**2 / 2 + seen_by_responses
    layer = 2 * tokens * layer_weights(shape) + attention(shape, seen)
    keys = 2 * 2 * shape.width * (shape.width * shape.groups // shape.heads)
    short = (
        2 * responses * own * layer_weights(shape)
        + keys * (tokens - responses * own)
        + attention(shape, seen_by_responses)
    )
    head = 2 * responses * own * shape.width * shape.vocabulary
    return (shape.layers - 1) * layer + (short if trimmed else layer) + head


@dataclass(frozen=True, slots=True)
class Cost:
    """Operations for one pair.

    Attributes:
        step: in each epoch.
        once: before the first.
    """

    step: float
    once: float = 0.0

    def run(self, epochs: int) -> float:
        """Return the operations of a whole run."""
        return self.once + epochs * self.step


def rival_cost(shape: Shape, rows: int, *, lora: bool) -> Cost:
    """Return what a scheme of separate rows costs: each row has its image, and the reference runs each time.

    The LM head scores labelled positions only.
    """
    forward = row(shape, 1, trimmed=False)
    policy = forward * (2 if lora else 3)
    return Cost(rows * (policy + forward + 2 * (tower(shape) + projector(shape))))


def our_cost(shape: Shape, responses: tuple[int, ...], *, lora: bool) -> Cost:
    """Return what shared rows cost, with the reference and the tower's output cached before the first epoch.

    Args:
        shape: model and lengths.
        responses: for each distinct image of a pair, how many responses are scored on it.
        lora: train adapters only.
    """
    forward = sum(row(shape, number, trimmed=True) for number in responses)
    images = len(responses)
    # Features are kept before the projector, which so runs in each step and in the reference pass.
    return Cost(
        forward * (2 if lora else 3) + images * projector(shape),
        once=forward + images * (tower(shape) + projector(shape)),
    )


def estimate() -> list[dict[str, float | str]]:
    """Return how many times fewer operations medpref needs at 7B: a later step, one epoch, three epochs."""
    cases = {"dpo": (2, (2,)), "mdpo, 3+3 rows": (3, (2, 1)), "mdpo, 4+4 rows": (4, (2, 1))}
    return [
        {
            "objective": objective,
            "training": "lora" if lora else "full",
            "response_tokens": length,
            "steady": rival.step / ours.step,
            "one_epoch": rival.run(1) / ours.run(1),
            "three_epochs": rival.run(3) / ours.run(3),
        }
        for objective, (rows, responses) in cases.items()
        for lora in (False, True)
        for length in (30, 100, 400)
        for shape in [replace(LLAVA_7B, response=length)]
        for rival in [rival_cost(shape, rows, lora=lora)]
        for ours in [our_cost(shape, responses, lora=lora)]
    ]
