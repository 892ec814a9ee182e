"""Chat templates: how a prompt and a response become token ids, with nothing but the answer to be learned."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn
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
        turn_suffix: stands between an earlier response and what follows it.
        turn_ends: whether the end token closes an earlier response.
        begins_with_bos: whether a row opens with the begin-of-sequence token.
        images_first: whether a turn's images move before its text, one a line, and the text loses the blanks
            around it.
        stand_in: stands for the prompt while a response is encoded. SentencePiece puts a blank before
            whatever comes first, which a response that begins with a blank of its own would have twice.
    """

    before: str
    after: str
    response_prefix: str = ""
    response_suffix: str = ""
    turn_suffix: str = ""
    turn_ends: bool = True
    begins_with_bos: bool = True
    images_first: bool = False
    stand_in: str = ""

    def prompt_ids(
        self,
        tokenizer: TextEncoder,
        prompt: str,
        history: Sequence[Turn] = (),
        *,
        bos: int | None,
        image: int,
        image_tokens: int,
        eos: int | None = None,
        reserved: Sequence[str] = (),
    ) -> list[int]:
        """Return the ids of a prompt, each ``<image>`` widened to `image_tokens` copies of the id `image`.

        The chunks around a placeholder are tokenised separately: in-line, a tokenizer may swallow the blank
        after an image. Special tokens that a user typed are removed, so that they cannot end the turn.

        Args:
            tokenizer: encodes the chunks.
            prompt: the user's text.
            history: earlier turns; the end token closes them where `turn_ends`.
            bos: the begin-of-sequence token, where the tokenizer has one.
            image: the id that stands at image positions.
            image_tokens: how many tokens stand for one image.
            eos: the end token.
            reserved: the special tokens as text.
        """
        ids = [bos] if self.begins_with_bos and bos is not None else []
        chunks = [""]
        for turn in history:
            said = strip_reserved(turn.assistant, (*reserved, IMAGE_PLACEHOLDER))
            user = self._user(turn.user, reserved)
            user[-1] += f"{self.response_prefix}{said}{self.response_suffix}{self.turn_suffix}"
            chunks = [*chunks[:-1], chunks[-1] + user[0], *user[1:]]
            if self.turn_ends and eos is not None:
                ids += [*_chunk_ids(tokenizer, chunks, image, image_tokens), eos]
                chunks = [""]
        asked = self._user(prompt, reserved)
        return ids + _chunk_ids(
            tokenizer, [*chunks[:-1], chunks[-1] + asked[0], *asked[1:]], image, image_tokens
        )

    def response_ids(
        self, tokenizer: TextEncoder, response: str, *, eos: int, reserved: Sequence[str] = ()
    ) -> list[int]:
        """Return the ids of a response and its end token; nothing merges with the prompt.

        Raises:
            InputError: the tokenizer merges the stand-in with what follows.
        """
        text = strip_reserved(response, (*reserved, IMAGE_PLACEHOLDER))
        full = f"{self.response_prefix}{text}{self.response_suffix}"
        return [*_encode_behind(tokenizer, self.stand_in, full), eos]

    def _user(self, text: str, reserved: Sequence[str]) -> list[str]:
        """Return the chunks of a user's turn, in its frame; an image stands between each two of them."""
        # Split first: what is left between placeholders must not form another one.
        chunks = [strip_reserved(c, (*reserved, IMAGE_PLACEHOLDER)) for c in text.split(IMAGE_PLACEHOLDER)]
        if self.images_first:
            # Joined, chunks may form a special token that neither of them held.
            words = strip_reserved("".join(chunks).strip(), (*reserved, IMAGE_PLACEHOLDER))
            chunks = ["", *["\n"] * (len(chunks) - 1)]
            chunks[-1] += words
        chunks[0] = self.before + chunks[0]
        chunks[-1] += self.after
        return chunks


def _chunk_ids(tokenizer: TextEncoder, chunks: Sequence[str], image: int, image_tokens: int) -> list[int]:
    ids: list[int] = []
    for position, chunk in enumerate(chunks):
        if position:
            ids += [image] * image_tokens
        if chunk:
            ids += tokenizer.encode(chunk, add_special_tokens=False)
    return ids


def _encode_behind(tokenizer: TextEncoder, stand_in: str, text: str) -> list[int]:
    """Return the ids that `text` has behind `stand_in`."""
    ids = tokenizer.encode(stand_in + text, add_special_tokens=False)
    if not stand_in:
        return ids
    first = tokenizer.encode(stand_in, add_special_tokens=False)
    if ids[: len(first)] != first:
        raise InputError(
            f"the tokenizer writes {stand_in!r} together with what follows it",
            remedy="This chat template does not suit the tokenizer; choose another one.",
        )
    return ids[len(first) :]


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
    Template(
        before="[INST] ",
        after=" [/INST]",
        response_prefix=" ",
        response_suffix=" ",
        images_first=True,
        stand_in="]",
    ),
)
templates.add(
    "huatuo",
    Template(
        before="<|user|>\n",
        after="\n<|assistant|>\n",
        turn_suffix=" \n",
        turn_ends=False,
        begins_with_bos=False,
        images_first=True,
    ),
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
