"""The README of a converted folder: what it is made from, under which licence, how it is used."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from medpref.conversion.folder import Source

LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
NOT_STATED = "not stated"


def find_licence(folder: Path) -> tuple[str, Path | None]:
    """Return the licence that a checkpoint's card names, and its licence file, where there are such."""
    text = next((folder / name for name in LICENCE_FILES if (folder / name).is_file()), None)
    card = folder / "README.md"
    front = ""
    if card.is_file():
        found = re.match(r"---\n(.*?)\n---\n", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        front = found[1] if found else ""
    named = re.search(r"^licen[sc]e:\s*(\S.*?)\s*$", front, re.MULTILINE)
    return (named[1] if named else NOT_STATED), text


def model_card(
    source: Source, original_type: str, licence: str, licence_file: str | None, notes: Sequence[str]
) -> str:
    """Return the README of a folder in the Hugging Face layout.

    Args:
        source: where it comes from.
        original_type: the ``model_type`` of the source.
        licence: what the source's card says, or `NOT_STATED`.
        licence_file: the name of the licence file that was copied along.
        notes: what was decided, a sentence each.
    """
    front = ["library_name: transformers", "pipeline_tag: image-text-to-text"]
    if licence != NOT_STATED:
        front.insert(0, f"license: {licence}")
    stated = f"The source's card says: {licence}." if licence != NOT_STATED else "Licence: not stated."
    file = f" Its text is in `{licence_file}`." if licence_file else ""
    decided = "\n".join(f"- {note}" for note in notes)
    return f"""---
{chr(10).join(front)}
---

# {source.name}, in the Hugging Face layout

Converted by medpref from `{source.name}` (`{original_type}`). The tensors are the source's byte for byte;
names and configuration changed.

{decided}

## Licence

{stated}{file} Check the terms of the source, of its language model and of its vision tower yourself before
you use or share this model.

## Use

```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained(FOLDER)
processor = AutoProcessor.from_pretrained(FOLDER)
image = {{"type": "image", "path": "image.png"}}
question = {{"type": "text", "text": "Is there a lesion?"}}
messages = [{{"role": "user", "content": [image, question]}}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
answer = model.generate(**inputs, max_new_tokens=64)
```

This is no medical device.

## Source files (SHA-256)

{_table(source.files)}
"""


def _table(hashes: Mapping[str, str]) -> str:
    rows = "\n".join(f"| `{name}` | `{digest}` |" for name, digest in hashes.items())
    return f"| file | SHA-256 |\n|---|---|\n{rows}"
