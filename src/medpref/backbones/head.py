"""The LM head of a model of any class: what it is given, and whether logits are all that it makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from medpref.errors import InputError


@contextmanager
def before(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Put a function between a module and its input."""
    handle = module.register_forward_pre_hook(lambda _, given: (change(given[0]), *given[1:]))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def head_is_plain(model: Any, run: Callable[[], Tensor], tokens: int) -> bool:
    """Tell whether a model's logits are its head's output; some models scale or cap them afterwards.

    Args:
        model: of the library.
        run: one forward pass of one row; returns its logits (1, tokens, vocabulary).
        tokens: how many the row has.

    Raises:
        InputError: the model has no head, or does not apply it to each token once.
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        raise InputError(f"{type(model).__name__} has no LM head")
    given: list[Tensor] = []

    def keep(hidden: Tensor) -> Tensor:
        given.append(hidden)
        return hidden

    with before(head, keep):
        logits = run()
    if len(given) != 1 or given[0].shape[:2] != (1, tokens):
        raise InputError(f"{type(model).__name__} does not apply its LM head to each token once")
    # The same module on the same tensor: not a bit differs, where nothing else is done.
    return torch.equal(head(given[0]).float(), logits.float())
