"""Chat templates: how a prompt and a response become token ids, with nothing but the answer to be learned."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.registry import Registry


class TextEncoder(Protocol):
    """The part of a tokenizer that a template needs."""

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Return the ids of `text`."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """The texts around a prompt and a response.

    Attributes:
        before: stands before the user's text, ``<image>`` included.
        after: stands between the user's text and the response.
        response_prefix: stands before every response.
        response_suffix: stands between a response and the end token.
        begins_with_bos: whether a row opens with the begin-of-sequence token.
    """

    before: str
    after: str
    response_prefix: str = ""
    response_suffix: str = ""
    begins_with_bos: bool = True

    def prompt_ids(
        self,
        tokenizer: TextEncoder,
        prompt: str,
        *,
        bos: int | None,
        image: int,
        image_tokens: int,
        reserved: Sequence[str] = (),
    ) -> list[int]:
        """Return the ids of a prompt, each ``<image>`` widened to `image_tokens` copies of the id `image`.

        The chunks around a placeholder are tokenised separately: in-line, a tokenizer may swallow the blank
        after an image. Special tokens that a user typed are removed, so that they cannot end the turn.
        """
        # Split first: what is left between placeholders must not form another one.
        chunks = [
            strip_reserved(chunk, (*reserved, IMAGE_PLACEHOLDER)) for chunk in prompt.split(IMAGE_PLACEHOLDER)
        ]
        chunks[0] = self.before + chunks[0]
        chunks[-1] += self.after
        ids = [bos] if self.begins_with_bos and bos is not None else []
        for position, chunk in enumerate(chunks):
            if position:
                ids += [image] * image_tokens
            if chunk:
                ids += tokenizer.encode(chunk, add_special_tokens=False)
        return ids

    def response_ids(
        self, tokenizer: TextEncoder, response: str, *, eos: int, reserved: Sequence[str] = ()
    ) -> list[int]:
        """Return the ids of a response and its end token; nothing merges with the prompt."""
        text = strip_reserved(response, (*reserved, IMAGE_PLACEHOLDER))
        full = f"{self.response_prefix}{text}{self.response_suffix}"
        return [*tokenizer.encode(full, add_special_tokens=False), eos]


def strip_reserved(text: str, reserved: Sequence[str]) -> str:
    """Remove special tokens that stand in a user's text as plain characters."""
    names = [re.escape(name) for name in reserved if name]
    if not names:
        return text
    # Again until nothing changes: what is left of "<s<s>>" is a special token itself.
    stripped, changed = re.subn("|".join(names), "", text)
    return strip_reserved(stripped, reserved) if changed else text


templates: Registry[Template] = Registry("template")
templates.add(
    "mistral-instruct",
    Template(before="[INST] ", after=" [/INST]", response_prefix=" ", response_suffix=" "),
)
templates.add(
    "huatuo",
    Template(before="<|user|>\n", after="\n<|assistant|>\n", begins_with_bos=False),
)


def fit(prompt: int, response: int, limit: int, pair_id: str) -> None:
    """Check that `prompt` and `response` tokens fit the context: cutting either would change what is learned.

    Raises:
        InputError: they do not fit.
    """
    if prompt + response > limit:
        raise InputError(
            f"{prompt} prompt tokens (images included) and {response} response tokens are more than "
            f"the {limit} that fit",
            where=f"pair {pair_id}",
            remedy="Raise the backbone's max_length, or set on_too_long: skip to leave it out.",
        )
