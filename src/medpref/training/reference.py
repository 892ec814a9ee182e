"""Reference log-probs: what the untouched starting weights say, computed once before training."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from medpref.errors import InputError
from medpref.files import write_bytes
from medpref.pairs.pair import Pair
from medpref.scoring.cells import Cell, missing_part
from medpref.scoring.features import evaluating
from medpref.scoring.scorer import Request, Scorer
from medpref.training.reference_store import ReferenceStore, entry_key

# The most responses that share a row: the attention mask grows with the square of a row's length.
LARGEST_ROW = 64
IMAGES_PER_BATCH = 32


class PassReport(NamedTuple):
    """What a reference pass did.

    Attributes:
        computed: responses that were scored; equal ones on equal images count once.
        reused: responses whose log-probs an earlier pass had stored.
        damaged: shards of the store that could not be trusted; what they held was scored again.
    """

    computed: int
    reused: int
    damaged: tuple[str, ...] = ()


class ReferenceLogps:
    """Log-probs of pairs' response tokens under the reference model, by cell.

    Args:
        ids: the pairs' ids.
        values: for each cell, the tokens' log-probs of one pair after the other, in nats; float32.
        lengths: for each cell, how many tokens each pair's response has.
        report: what the pass that made them did; None for values read from a file.

    Raises:
        InputError: two pairs have the same id.
    """

    def __init__(
        self,
        ids: Sequence[str],
        values: Mapping[Cell, Float[Tensor, " tokens"]],
        lengths: Mapping[Cell, Int[Tensor, " pairs"]],
        report: PassReport | None = None,
    ) -> None:
        self.ids = tuple(ids)
        self.report = report
        self.values = dict(values)
        self.lengths = dict(lengths)
        self._rows = {ident: row for row, ident in enumerate(self.ids)}
        _check_ids(self.ids)
        self._ends = {cell: counts.cumsum(0) for cell, counts in self.lengths.items()}

    def look_up(
        self, pairs: Sequence[Pair], cells: Sequence[Cell]
    ) -> dict[Cell, Float[Tensor, "pairs tokens"]]:
        """Return the tokens' log-probs of `pairs` in `cells`, zero behind each response's end.

        Raises:
            InputError: a pair or a cell was not part of the reference pass.
        """
        try:
            rows = [self._rows[pair.id] for pair in pairs]
            return {cell: self._table(cell, rows) for cell in cells}
        except KeyError as error:
            raise InputError(
                f"there is no reference log-prob for {error}", remedy="Compute the reference on these pairs."
            ) from None

    def _table(self, cell: Cell, rows: Sequence[int]) -> Float[Tensor, "pairs tokens"]:
        ends, lengths = self._ends[cell], self.lengths[cell]
        parts = [self.values[cell][ends[row] - lengths[row] : ends[row]] for row in rows]
        return pad_sequence(parts, batch_first=True)

    def save(self, path: Path) -> None:
        """Write the values as safetensors, whole or not at all."""
        tensors = {cell.key: values.contiguous() for cell, values in self.values.items()}
        lengths = {f"{cell.key}/lengths": counts.contiguous() for cell, counts in self.lengths.items()}
        write_bytes(path, save({**tensors, **lengths}, metadata={"ids": json.dumps(self.ids)}))

    @classmethod
    def load(cls, path: Path) -> "ReferenceLogps":
        """Read what `save` wrote."""
        with safe_open(path, framework="pt") as file:
            ids = json.loads(file.metadata()["ids"])
            cells = [cell for cell in Cell if cell.key in file.keys()]  # noqa: SIM118
            values = {cell: file.get_tensor(cell.key) for cell in cells}
            return cls(ids, values, {cell: file.get_tensor(f"{cell.key}/lengths") for cell in cells})


def _check_ids(ids: Sequence[str]) -> None:
    """Check that no id stands for two pairs. Raises `InputError`."""
    twice = next((ident for ident, count in Counter(ids).items() if count > 1), None)
    if twice is not None:
        raise InputError("two pairs have this id", where=f"pair {twice}", remedy="Give every pair its own.")


class Entry(NamedTuple):
    """One response on one set of images: what is scored once, whoever asks for it.

    Attributes:
        key: what `entry_key` returned.
        pair, cell: one of the places that ask for it.
        row: what tells the rows apart that it may stand in: its images, or its prompt where there are none.
        stem: how many of the prompt's tokens all prompts on the images share: those up to the last image.
        prompt, response: token ids.
    """

    key: bytes
    pair: Pair
    cell: Cell
    row: object
    stem: int
    prompt: tuple[int, ...]
    response: tuple[int, ...]


def compute_reference(
    scorer: Scorer,
    pairs: Sequence[Pair],
    cells: Sequence[Cell],
    *,
    store: ReferenceStore | None = None,
    images_per_batch: int = IMAGES_PER_BATCH,
    advance: Callable[[int], None] = lambda _: None,
) -> ReferenceLogps:
    """Return the log-probs of all `pairs` in `cells` under the scorer's model as it stands.

    What the store has is taken from there; the rest is scored in batches of rows of like length, and each
    batch is written to the store as soon as it is done, so that a killed pass goes on where it was. Values
    from another pass were computed in other batches, and differ by rounding (about 1e-6 nats in fp32).

    Args:
        scorer: scores with the starting weights, in evaluation mode.
        pairs: all pairs that will be trained on.
        cells: the union of the cells that the objectives need.
        store: values of earlier passes; without one everything is scored.
        images_per_batch: rows scored at a time: an image with all its prompts and responses.
        advance: called with the number of pairs done, for progress.

    Raises:
        InputError: a pair lacks what a cell needs, does not fit the context, or shares its id with another.
        RunError: the store cannot be written.
    """
    _check_ids([pair.id for pair in pairs])
    model = scorer.backbone.fingerprint() if store is not None else ""
    asked = {cell: [_entry(scorer, model, pair, cell) for pair in pairs] for cell in cells}
    entries = {entry.key: entry for column in asked.values() for entry in column}
    before = set(store.damaged) if store else set()
    found = store.get(model, entries) if store else {}
    damaged = tuple(str(shard) for shard in store.damaged if shard not in before) if store else ()
    missing = [entry for key, entry in entries.items() if key not in found]
    reused = len(found)
    progress = _Progress(asked, len(pairs), advance)
    progress.done(found)
    for batch in _batches(missing, images_per_batch, shared=scorer.shared):
        new = _score(scorer, batch)
        if store:
            store.put(model, new)
        found.update(new)
        progress.done(new)
    values = {cell: [found[entry.key] for entry in column] for cell, column in asked.items() if column}
    return ReferenceLogps(
        [pair.id for pair in pairs],
        {cell: torch.cat(tokens) for cell, tokens in values.items()},
        {cell: torch.tensor([len(each) for each in tokens]) for cell, tokens in values.items()},
        PassReport(len(missing), reused, damaged),
    )


def reference_batches(
    scorer: Scorer,
    pairs: Sequence[Pair],
    cells: Sequence[Cell],
    stored: Collection[bytes] = (),
    *,
    images_per_batch: int = IMAGES_PER_BATCH,
) -> list[list[Entry]]:
    """Return what `compute_reference` would score in each of its forward passes. Needs no weights.

    Args:
        scorer, pairs, cells, images_per_batch: as there.
        stored: the keys of what is in the store, from earlier calls of this function.

    Raises:
        InputError: as there.
    """
    entries = (_entry(scorer, "", pair, cell) for cell in cells for pair in pairs)
    missing = {entry.key: entry for entry in entries if entry.key not in stored}
    return list(_batches(list(missing.values()), images_per_batch, shared=scorer.shared))


def _entry(scorer: Scorer, model: str, pair: Pair, cell: Cell) -> Entry:
    lacking = missing_part(pair, cell)
    if lacking:
        raise InputError(f"{lacking}, which {cell.key} needs", where=f"pair {pair.id}")
    prompt, response = scorer.inputs.ids(pair, cell)
    images = [scorer.inputs.image_hash(path) for path in pair.images.get(cell.image, ())]
    key = entry_key(model, scorer.precision, prompt, response, images)
    token = scorer.inputs.image_token
    stem = len(prompt) - (prompt[::-1].index(token) if token in prompt else 0)
    return Entry(key, pair, cell, tuple(images) or prompt, stem, prompt, response)


class _Progress:
    """Counts pairs whose every cell is known.

    Args:
        asked: for each cell, the entries of all pairs in order.
        pairs: how many there are.
        advance: called with the number of pairs just done.
    """

    def __init__(
        self, asked: Mapping[Cell, Sequence[Entry]], pairs: int, advance: Callable[[int], None]
    ) -> None:
        self._open = [len(asked)] * pairs
        self._advance = advance
        self._waiting: dict[bytes, list[int]] = {}
        for column in asked.values():
            for number, entry in enumerate(column):
                self._waiting.setdefault(entry.key, []).append(number)

    def done(self, keys: Iterable[bytes]) -> None:
        """Tell that the entries with these keys are known."""
        finished = 0
        for key in keys:
            for number in self._waiting[key]:
                self._open[number] -= 1
                finished += self._open[number] == 0
        if finished:
            self._advance(finished)


def _batches(entries: Sequence[Entry], rows: int, *, shared: bool) -> Iterator[list[Entry]]:
    """Yield entries in batches of `rows` rows of like length, the longest first: it is the hardest to fit.

    The order depends on the entries alone, and a pass that goes on after a kill finds whole batches done: it
    makes the remaining ones as they would have been, to the last bit.
    """
    groups: dict[object, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.row, []).append(entry)
    parts = [
        group[start : start + LARGEST_ROW]
        for group in groups.values()
        for start in range(0, len(group), LARGEST_ROW)
    ]
    parts.sort(key=lambda part: _length(part, shared=shared), reverse=True)
    for start in range(0, len(parts), rows):
        yield [entry for part in parts[start : start + rows] for entry in part]


def _length(part: Sequence[Entry], *, shared: bool) -> int:
    """Return about how many tokens the row of `part` has, or its longest row where none are shared."""
    if not shared:
        return max(len(entry.prompt) + len(entry.response) for entry in part)
    stem = part[0].stem
    questions = sum(len(prompt) - stem for prompt in {entry.prompt for entry in part})
    return stem + questions + sum(len(entry.response) - 1 for entry in part)


@torch.no_grad()
def _score(scorer: Scorer, batch: Sequence[Entry]) -> dict[bytes, Float[Tensor, " tokens"]]:
    """Score a batch of entries in one forward pass, in evaluation mode."""
    columns = [[entry for entry in batch if entry.cell is cell] for cell in Cell]
    columns = [column for column in columns if column]
    with evaluating(scorer.backbone.model):
        scored = scorer.score_all([Request([e.pair for e in column], [column[0].cell]) for column in columns])
    values = {}
    for column, scores in zip(columns, scored, strict=True):
        tokens, lengths = scores[column[0].cell]
        table = tokens.float().cpu()
        for entry, row, length in zip(column, table, lengths.tolist(), strict=True):
            values[entry.key] = row[:length].clone()
    return values
