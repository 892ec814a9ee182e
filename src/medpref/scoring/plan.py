"""What has to be computed for the cells of a batch: each distinct image, prefix and branch once.

The distinct contents form a tree: images → prompt → response. All branches on the same images become one row,

    [images | prompt 1 | response 1a | response 1b | prompt 2 | response 2a | …]

in which a token sees exactly its own ancestors, and positions count along the path from the root. The row
gives the same log-probs as one row for each path; `shared=False` builds those separate rows instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from medpref.backbones.base import Rows


class Path(NamedTuple):
    """One thing to score: a prompt on images, followed by a response.

    Attributes:
        images: indices of the distinct images the prompt shows.
        prompt: the prompt's ids, image tokens in place.
        response: the response's ids, the end token last.
    """

    images: tuple[int, ...]
    prompt: tuple[int, ...]
    response: tuple[int, ...]


@dataclass(slots=True)
class Node:
    """A run of tokens in a row with the run it continues."""

    tokens: tuple[int, ...]
    start: int
    position: int
    parent: int | None


@dataclass(slots=True)
class Row:
    """One row under construction."""

    images: tuple[int, ...]
    nodes: list[Node] = field(default_factory=list)
    length: int = 0

    def add(self, tokens: tuple[int, ...], parent: int | None) -> int:
        """Append a run of tokens behind `parent` and return its number."""
        above = self.nodes[parent] if parent is not None else None
        position = above.position + len(above.tokens) if above else 0
        self.nodes.append(Node(tokens, self.length, position, parent))
        self.length += len(tokens)
        return len(self.nodes) - 1


class Plan(NamedTuple):
    """Rows for one language-model call, and where to read each distinct path's log-probs.

    Attributes:
        rows: the token rows.
        read: for every response token of every distinct path, the flat index (row × tokens + column) of
            the position that predicts it.
        targets: the token predicted there.
        owner: the distinct path that the token belongs to.
        paths: for every path asked for, its distinct path.
    """

    rows: Rows
    read: Int[Tensor, " response_tokens"]
    targets: Int[Tensor, " response_tokens"]
    owner: Int[Tensor, " response_tokens"]
    paths: Int[Tensor, " asked"]

    def to(self, device: torch.device) -> "Plan":
        """Return the plan with its tensors on `device`."""
        ids, positions, allowed, images = self.rows
        rows = Rows(ids.to(device), positions.to(device), allowed.to(device), images)
        return Plan(
            rows, *(tensor.to(device) for tensor in (self.read, self.targets, self.owner, self.paths))
        )


def make_plan(paths: Sequence[Path], *, image_token: int, pad: int, shared: bool = True) -> Plan:
    """Lay out `paths` in as few tokens as their common parts allow.

    Args:
        paths: what is to be scored; equal paths are computed once.
        image_token: the id that images stand at: a prompt is split behind its last one.
        pad: the id that fills short rows.
        shared: put all paths on the same images into one row; otherwise one row for each path.
    """
    distinct = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    rows: dict[object, Row] = {}
    known: dict[tuple[object, tuple[int, ...]], int] = {}
    read: list[tuple[int, int, int, int]] = []
    order: dict[object, int] = {}
    for path, number in distinct.items():
        stem, question = _split(path.prompt, image_token)
        key: object = (path.images, stem) if shared else number
        row = rows.setdefault(key, Row(path.images))
        line = order.setdefault(key, len(order))
        root = known.setdefault((key, ()), row.add(stem, None) if not row.nodes else 0)
        if (key, question) not in known:
            known[(key, question)] = row.add(question, root) if question else root
        prompt = row.nodes[known[(key, question)]]
        # The last response token predicts nothing that is read, so it needs no place in the row.
        branch = row.nodes[row.add(path.response[:-1], known[(key, question)])]
        columns = [
            prompt.start + len(prompt.tokens) - 1,
            *range(branch.start, branch.start + len(branch.tokens)),
        ]
        read += [(line, column, token, number) for column, token in zip(columns, path.response, strict=True)]
    tokens = max(row.length for row in rows.values())
    table = torch.tensor(read)
    return Plan(
        rows=_to_tensors(list(rows.values()), tokens, pad),
        read=table[:, 0] * tokens + table[:, 1],
        targets=table[:, 2],
        owner=table[:, 3],
        paths=torch.tensor([distinct[path] for path in paths]),
    )


def _split(prompt: tuple[int, ...], image_token: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split a prompt behind its last image token: all prompts on the images share what stands before."""
    if image_token not in prompt:
        return prompt, ()
    end = len(prompt) - prompt[::-1].index(image_token)
    return prompt[:end], prompt[end:]


def _to_tensors(rows: Sequence[Row], tokens: int, pad: int) -> Rows:
    ids = torch.full((len(rows), tokens), pad)
    positions = torch.zeros((len(rows), tokens), dtype=torch.long)
    allowed = torch.zeros((len(rows), tokens, tokens), dtype=torch.bool)
    for number, row in enumerate(rows):
        for node in row.nodes:
            end = node.start + len(node.tokens)
            ids[number, node.start : end] = torch.tensor(node.tokens, dtype=torch.long)
            positions[number, node.start : end] = torch.arange(
                node.position, node.position + len(node.tokens)
            )
        allowed[number] = _visibility(row, tokens)
    return Rows(ids, positions, allowed, tuple(row.images for row in rows))


def _visibility(row: Row, tokens: int) -> Bool[Tensor, "tokens tokens"]:
    """Let each token see itself, what stands before it in its run, and all of the runs above."""
    seen = torch.zeros((tokens, tokens), dtype=torch.bool)
    for node in row.nodes:
        end = node.start + len(node.tokens)
        seen[node.start : end, node.start : end] = (
            torch.ones(end - node.start, end - node.start).tril().bool()
        )
        above = node.parent
        while above is not None:
            parent = row.nodes[above]
            seen[node.start : end, parent.start : parent.start + len(parent.tokens)] = True
            above = parent.parent
    # Padding sees itself: a row of a mask without any key has no softmax.
    seen[range(row.length, tokens), range(row.length, tokens)] = True
    return seen
