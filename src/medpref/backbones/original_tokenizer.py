"""Tokenizers of original LLaVA checkpoints, made so that all versions of the library split text alike."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from transformers import LlamaTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from medpref.errors import InputError
from medpref.pairs.pair import IMAGE_PLACEHOLDER

NO_LIMIT = 10**6
"""A `model_max_length` above this is the library's way to say that none is known."""
SLOW_FILES: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "mistral": (LlamaTokenizer, ("tokenizer.model",)),
    "qwen2": (Qwen2Tokenizer, ("vocab.json", "merges.txt")),
}
"""What reads a tokenizer without ``tokenizer.json``, and from which files: the library cannot tell from an
unknown model type."""
# What SentencePiece does with a text: a blank before its beginning, all blanks written as ▁.
_DUMMY_PREFIX = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": "▁"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    ],
}


def read_tokenizer(folder: Path, text_type: str) -> PreTrainedTokenizerFast:
    """Read the tokenizer of an original checkpoint; it has a padding token, and ``<image>`` only if it had.

    Args:
        folder: the checkpoint.
        text_type: the language model's ``model_type``: the checkpoint's own is unknown to the library.

    Raises:
        InputError: there is no tokenizer that can be read, or it has neither padding nor end token.
    """
    whole = (folder / "tokenizer.json").is_file()
    slow, needed = SLOW_FILES[text_type]
    # Without its files the library would make an empty tokenizer.
    if not whole and not all((folder / name).is_file() for name in needed):
        raise InputError(
            "the checkpoint holds no tokenizer",
            where=str(folder),
            remedy=f"Expected tokenizer.json or {' and '.join(needed)}.",
        )
    reader = PreTrainedTokenizerFast if whole else slow
    try:
        source = reader.from_pretrained(folder, local_files_only=True)
    # Without its SentencePiece package the library says so with an ImportError.
    except (OSError, ValueError, ImportError, KeyError) as error:
        raise InputError(
            f"the tokenizer cannot be read: {str(error).splitlines()[0]}",
            where=str(folder),
            remedy="A tokenizer.json is enough; a tokenizer.model needs `pip install sentencepiece`.",
        ) from None
    if source.eos_token is None:
        raise InputError("the tokenizer has no end token", where=str(folder))
    return _fast(source.backend_tokenizer, source)


def with_image(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """Return the tokenizer with ``<image>`` as its last token, if it had none."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens([AddedToken(IMAGE_PLACEHOLDER, special=True, normalized=False)])
    return _fast(backend, tokenizer)


def image_id(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """Return the id of ``<image>``, if the tokenizer has it as one token."""
    known: int | None = tokenizer.get_vocab().get(IMAGE_PLACEHOLDER)
    return known


def text_limit(tokenizer: PreTrainedTokenizerFast) -> int | None:
    """Return how many tokens the tokenizer says that fit, if it says so."""
    limit = tokenizer.model_max_length
    return int(limit) if limit and limit < NO_LIMIT else None


def _fast(backend: Tokenizer, like: Any) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose file alone says what it does, with the special tokens of `like`."""
    state = json.loads(backend.to_str())
    before = state.get("pre_tokenizer") or {}
    if before.get("type") == "Metaspace":
        # The library makes Llama's tokenizers so that a blank is put before a text's first piece alone, and
        # never before another blank. The authors encode the pieces around an image one by one.
        state["normalizer"], state["pre_tokenizer"] = _DUMMY_PREFIX, None
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        bos_token=like.bos_token,
        eos_token=like.eos_token,
        unk_token=like.unk_token,
        pad_token=like.pad_token or like.unk_token or like.eos_token,
        model_max_length=like.model_max_length,
        clean_up_tokenization_spaces=False,
    )
