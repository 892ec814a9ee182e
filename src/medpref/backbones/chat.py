"""Prompts in a model's own chat template: the Jinja text that comes with its tokenizer."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from medpref.backbones.templates import strip_reserved
from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Turn

PROBE = "medpref"


class Chat:
    """Renders conversations and finds the token that ends an answer.

    Args:
        tokenizer: a fast tokenizer.
        marker: the text that the template writes for one image.
        template: the Jinja template; by default the tokenizer's own. The library renders it in a sandbox.
    """

    def __init__(self, tokenizer: Any, marker: str, template: str | None = None) -> None:
        self._tokenizer = tokenizer
        self._marker = marker
        self._template = template or tokenizer.chat_template
        if not self._template:
            raise InputError("the model has no chat template", remedy="Put a chat_template.jinja beside it.")
        special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._reserved = tuple(dict.fromkeys([*tokenizer.all_special_tokens, *special, marker]))

    def prompt_text(
        self, prompt: str, history: Sequence[Turn] = (), images: Sequence[str] | None = None
    ) -> str:
        """Return the text of a prompt, up to where the answer begins.

        A newline behind an ``<image>`` is left out, since templates put their own text around images, and so
        are special tokens that a user typed.

        Args:
            prompt: the user's text.
            history: earlier turns.
            images: what stands for each image; the template's own marker by default.

        Raises:
            InputError: the template writes another number of images than the prompt has.
        """
        messages: list[dict[str, Any]] = []
        for turn in history:
            messages += [self._user(turn.user), self._assistant(turn.assistant)]
        text = self._render([*messages, self._user(prompt)], answer_follows=True)
        if images is None:
            return text
        parts = text.split(self._marker)
        if len(parts) - 1 != len(images):
            raise InputError(
                f"the chat template writes {len(parts) - 1} images where the prompt has {len(images)}"
            )
        return parts[0] + "".join(image + part for image, part in zip(images, parts[1:], strict=True))

    def prompt_ids(
        self, prompt: str, history: Sequence[Turn] = (), images: Sequence[str] | None = None
    ) -> list[int]:
        """Return the ids of `prompt_text`. Raises as it does."""
        return self._encode(self.prompt_text(prompt, history, images))

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a response and its end token."""
        blank, end = self._answer
        return [*self._encode(blank + self._strip(response)), end]

    @property
    def end(self) -> int:
        """The id of the token that the template writes behind an answer.

        Raises:
            InputError: the template writes no token of its own there.
        """
        return self._answer[1]

    @cached_property
    def _answer(self) -> tuple[str, int]:
        """The blank that the template writes before an answer, if it does, and the token behind it."""
        question = self._user(PROBE)
        before = self._render([question], answer_follows=True)
        whole = self._render([question, self._assistant(PROBE)], answer_follows=False)
        blank, found, rest = whole.removeprefix(before).partition(PROBE)
        ids = self._encode(rest.lstrip())
        if not whole.startswith(before) or not found or blank.strip() or not ids:
            raise InputError(
                "the chat template does not show where an answer ends",
                remedy="Use a template that writes an answer behind the generation prompt unchanged.",
            )
        return blank, ids[0]

    def _user(self, text: str) -> dict[str, Any]:
        content: list[dict[str, str]] = []
        for number, chunk in enumerate(text.split(IMAGE_PLACEHOLDER)):
            if number:
                content.append({"type": "image"})
                chunk = chunk.removeprefix("\n")
            chunk = self._strip(chunk)
            if chunk:
                content.append({"type": "text", "text": chunk})
        return {"role": "user", "content": content}

    def _assistant(self, text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": [{"type": "text", "text": self._strip(text)}]}

    def _strip(self, text: str) -> str:
        return strip_reserved(text, (*self._reserved, IMAGE_PLACEHOLDER))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _render(self, messages: list[dict[str, Any]], *, answer_follows: bool) -> str:
        text: str = self._tokenizer.apply_chat_template(
            messages, chat_template=self._template, tokenize=False, add_generation_prompt=answer_follows
        )
        return text
