"""What has to be computed for the cells of a batch: each distinct image, prefix and branch once.

All paths (images → prompt → response) on the same images form a tree of tokens in which common beginnings,
within prompts and within responses too, stand once. A tree is one row:

    [images | prompt 1 | response 1a | response 1b | prompt 2 | response 2a | …]

in which a token sees exactly its own past, and positions count along the path from the root. The row
gives the same log-probs as one row for each path; `shared=False` builds those separate rows instead.
"""

from collections.abc import Iterator, Sequence
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

    @property
    def fed(self) -> tuple[int, ...]:
        """The tokens that the model has to see: the last one predicts nothing that is read."""
        return self.prompt + self.response[:-1]


@dataclass(slots=True)
class Node:
    """A run of tokens that no path leaves in the middle.

    Attributes:
        tokens: the run.
        children: the runs that continue it, by their first token.
        start: its column in the row.
        position: the position of its first token: how many tokens stand above it.
    """

    tokens: tuple[int, ...]
    children: dict[int, "Node"] = field(default_factory=dict)
    start: int = 0
    position: int = 0

    def insert(self, tokens: tuple[int, ...]) -> None:
        """Add a path that begins with this run's tokens, or with some of them."""
        common = _common(self.tokens, tokens)
        if common < len(self.tokens):
            self.children = {self.tokens[common]: Node(self.tokens[common:], self.children)}
            self.tokens = self.tokens[:common]
        rest = tokens[common:]
        if not rest:
            return
        if rest[0] in self.children:
            self.children[rest[0]].insert(rest)
        else:
            self.children[rest[0]] = Node(rest)

    def place(self, start: int, position: int) -> int:
        """Give the run and all below it their columns, the longest way down first; return the next column."""
        self.start, self.position = start, position
        column = start + len(self.tokens)
        for child in sorted(self.children.values(), key=lambda child: -child.depth()):
            column = child.place(column, position + len(self.tokens))
        return column

    def depth(self) -> int:
        """Return how many tokens the longest path from here down has."""
        return len(self.tokens) + max((child.depth() for child in self.children.values()), default=0)

    def columns(self, tokens: tuple[int, ...]) -> Iterator[int]:
        """Yield the column of each token of a path from here down."""
        yield from range(self.start, self.start + min(len(self.tokens), len(tokens)))
        rest = tokens[len(self.tokens) :]
        if rest:
            yield from self.children[rest[0]].columns(rest)

    def walk(self, above: tuple["Node", ...] = ()) -> Iterator[tuple["Node", tuple["Node", ...]]]:
        """Yield each run from here down, with the runs above it."""
        yield self, above
        for child in self.children.values():
            yield from child.walk((*above, self))


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Return how many tokens two runs begin with in common."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


class Plan(NamedTuple):
    """Rows for one language-model call, and where to read each distinct path's log-probs.

    Attributes:
        rows: the token rows.
        read: for every response token of every distinct path, the flat index (row × queries + number) of
            the query in `rows.queries` that predicts it.
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
        rest = (self.read, self.targets, self.owner, self.paths)
        return Plan(self.rows.to(device), *(tensor.to(device) for tensor in rest))


def make_plan(
    paths: Sequence[Path], *, image_token: int, pad: int, shared: bool = True, split: bool = True
) -> Plan:
    """Lay out `paths` in as few tokens as their common parts allow.

    Args:
        paths: what is to be scored; equal paths are computed once.
        image_token: the id that images stand at.
        pad: the id that fills short rows.
        shared: put all paths on the same images into one row; otherwise one row for each path.
        split: tell the columns that are plainly causal from the others; otherwise all need the mask.
    """
    distinct = {path: number for number, path in enumerate(dict.fromkeys(paths))}
    trees: dict[object, Node] = {}
    images: dict[object, tuple[int, ...]] = {}
    keys = [_row_key(path, image_token) if shared else number for path, number in distinct.items()]
    for key, path in zip(keys, distinct, strict=True):
        trees.setdefault(key, Node(path.fed)).insert(path.fed)
        images[key] = path.images
    for tree in trees.values():
        tree.place(0, 0)
    lines = {key: number for number, key in enumerate(trees)}
    queries: list[dict[int, int]] = [{} for _ in trees]
    read: list[tuple[int, int, int, int]] = []
    for key, (path, number) in zip(keys, distinct.items(), strict=True):
        line = lines[key]
        columns = list(trees[key].columns(path.fed))[len(path.prompt) - 1 :]
        for column, token in zip(columns, path.response, strict=True):
            read.append((line, queries[line].setdefault(column, len(queries[line])), token, number))
    table = torch.tensor(read)
    longest = max(map(len, queries))
    return Plan(
        rows=_to_rows(list(trees.values()), list(images.values()), queries, pad, split),
        read=table[:, 0] * longest + table[:, 1],
        targets=table[:, 2],
        owner=table[:, 3],
        paths=torch.tensor([distinct[path] for path in paths]),
    )


def _row_key(path: Path, image_token: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return what paths in one row have in common: the images with what stands before and between them.

    Without images that is the whole prompt: a common first token alone is no gain.
    """
    if image_token not in path.prompt:
        return path.images, path.prompt
    end = len(path.prompt) - path.prompt[::-1].index(image_token)
    return path.images, path.prompt[:end]


def _to_rows(
    trees: Sequence[Node],
    images: Sequence[tuple[int, ...]],
    queries: Sequence[dict[int, int]],
    pad: int,
    split: bool,
) -> Rows:
    lengths = [sum(len(node.tokens) for node, _ in tree.walk()) for tree in trees]
    tokens = max(lengths)
    # A tree's longest path stands first and sees all that stands before it, as in any causal row.
    trunk = min(tree.depth() for tree in trees) if split else 0
    ids = torch.full((len(trees), tokens), pad)
    positions = torch.zeros((len(trees), tokens), dtype=torch.long)
    longest = max(map(len, queries))
    asked = torch.tensor([[*columns, *[0] * (longest - len(columns))] for columns in queries])
    allowed = torch.zeros((len(trees), tokens - trunk, tokens), dtype=torch.bool)
    visible = torch.zeros((len(trees), longest, tokens), dtype=torch.bool)
    for number, tree in enumerate(trees):
        for node, _ in tree.walk():
            end = node.start + len(node.tokens)
            ids[number, node.start : end] = torch.tensor(node.tokens)
            positions[number, node.start : end] = node.position + torch.arange(len(node.tokens))
        seen = _visibility(tree, lengths[number], tokens)
        allowed[number], visible[number] = seen[trunk:], seen[asked[number]]
    return Rows(ids, positions, trunk, allowed, asked, visible, tuple(images))


def _visibility(tree: Node, length: int, tokens: int) -> Bool[Tensor, "tokens tokens"]:
    """Let each token see itself, what stands before it in its run, and all of the runs above."""
    seen = torch.zeros((tokens, tokens), dtype=torch.bool)
    for node, above in tree.walk():
        end = node.start + len(node.tokens)
        seen[node.start : end, node.start : end] = True
        for parent in above:
            seen[node.start : end, parent.start : parent.start + len(parent.tokens)] = True
    # Padding sees itself: a row of a mask without any key has no softmax.
    seen[range(length, tokens), range(length, tokens)] = True
    return seen.tril()
