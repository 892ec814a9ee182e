"""Tensor names of LLaVA checkpoints: the authors' layout, and that of plain Hugging Face folders.

Both are read into one set of part names, so that either can be written from the other: ``tower.…``,
``projector.1.…``, ``projector.2.…``, ``text.…`` and ``head.…``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from medpref.errors import InputError


class Layout(NamedTuple):
    """How one layout names its tensors.

    Attributes:
        noun: what the layout is called in messages.
        read: pattern of a name's beginning → that of its part name.
        write: beginning of a part name → that of the name.
    """

    noun: str
    read: tuple[tuple[re.Pattern[str], str], ...]
    write: Mapping[str, str]


def _layout(noun: str, read: Mapping[str, str], write: Mapping[str, str]) -> Layout:
    return Layout(noun, tuple((re.compile(pattern), part) for pattern, part in read.items()), write)


ORIGINAL = _layout(
    "original LLaVA layout",
    {
        r"model\.vision_tower\.vision_tower\.(?:vision_model\.)?": "tower.",
        r"model\.mm_projector\.0\.": "projector.1.",
        r"model\.mm_projector\.2\.": "projector.2.",
        r"lm_head\.": "head.",
        r"model\.(?=(?:embed_tokens|layers|norm)\.)": "text.",
    },
    {
        "tower.": "model.vision_tower.vision_tower.vision_model.",
        "projector.1.": "model.mm_projector.0.",
        "projector.2.": "model.mm_projector.2.",
        "head.": "lm_head.",
        "text.": "model.",
    },
)
# Written as the models of the hub are, which all versions of transformers read; later versions name the
# modules otherwise and save under either name.
PLAIN = _layout(
    "Hugging Face layout",
    {
        r"(?:model\.)?vision_tower\.(?:vision_model\.)?": "tower.",
        r"(?:model\.)?multi_modal_projector\.linear_1\.": "projector.1.",
        r"(?:model\.)?multi_modal_projector\.linear_2\.": "projector.2.",
        r"(?:language_model\.)?lm_head\.": "head.",
        r"(?:language_model\.model|model\.language_model)\.": "text.",
    },
    {
        "tower.": "vision_tower.vision_model.",
        "projector.1.": "multi_modal_projector.linear_1.",
        "projector.2.": "multi_modal_projector.linear_2.",
        "head.": "language_model.lm_head.",
        "text.": "language_model.model.",
    },
)
CLIP = _layout(
    "CLIP layout",
    {r"(?:vision_model\.)?(?=(?:embeddings|encoder|pre_layrnorm|post_layernorm)\.)": "tower."},
    {"tower.": "vision_model."},
)
# The text side of a CLIP model, which a LLaVA has no use for.
CLIP_TEXT = re.compile(r"text_model\.|(?:visual|text)_projection\.|logit_scale$")
EMBEDDING, HEAD = "text.embed_tokens.weight", "head.weight"
TOWER = "tower."


def part_name(layout: Layout, name: str) -> str | None:
    """Return the part name of a tensor; none if the layout has no such name."""
    for pattern, part in layout.read:
        found = pattern.match(name)
        if found:
            return part + name[found.end() :]
    return None


def layout_name(layout: Layout, part: str) -> str:
    """Return the name that a layout gives to a part name."""
    prefix = next(prefix for prefix in layout.write if part.startswith(prefix))
    return layout.write[prefix] + part.removeprefix(prefix)


def part_names(layout: Layout, names: Iterable[str], where: str) -> dict[str, str]:
    """Return {part name: name} of all tensors of a checkpoint.

    Raises:
        InputError: a name is not of this layout, or two tensors have one place.
    """
    found: dict[str, str] = {}
    left = []
    for name in sorted(names):
        part = part_name(layout, name)
        if part is None:
            left.append(name)
        elif part in found:
            raise InputError(f"{found[part]} and {name} have one and the same place", where=where)
        else:
            found[part] = name
    if left:
        raise InputError(
            f"{len(left)} tensors are not of the {layout.noun}: {list_names(left)}",
            where=where,
            remedy="Nothing is left out silently: this checkpoint is of another architecture.",
        )
    return found


def list_names(names: list[str], most: int = 12) -> str:
    """Return the names in one line; behind the first ones only how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
