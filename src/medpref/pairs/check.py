"""Checks that every pair passes on its way in."""

from collections.abc import Iterator
from functools import lru_cache

from medpref.pairs.images import image_fault
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, ResponseRole

# Many pairs show the same image, and a check decodes it whole.
cached_image_fault = lru_cache(maxsize=100_000)(image_fault)


def faults(pair: Pair, *, verify_images: bool = True) -> Iterator[str]:
    """Yield every reason why a pair cannot be used: none for a sound one.

    Args:
        pair: the pair.
        verify_images: also decode its image files.
    """
    yield from _text_faults(pair)
    yield from _count_faults(pair)
    if verify_images:
        yield from _file_faults(pair)
    if pair.weight is not None and not 0 <= pair.weight < float("inf"):
        yield f"the weight {pair.weight} is no finite number from 0 up"


def _text_faults(pair: Pair) -> Iterator[str]:
    said = [text for turn in pair.history for text in turn]
    for text in (pair.id, pair.prompt, *pair.responses.values(), *said):
        if not _is_encodable(text):
            yield "a text holds half of a character and cannot be written again"
            return
    if not pair.prompt.replace(IMAGE_PLACEHOLDER, "").strip():
        yield "the prompt is empty"
    for number, turn in enumerate(pair.history, start=1):
        if not turn.user.replace(IMAGE_PLACEHOLDER, "").strip() or not turn.assistant.strip():
            yield f"an earlier turn is empty: the history's question or answer {number}"
    chosen = pair.responses.get(ResponseRole.CHOSEN)
    rejected = pair.responses.get(ResponseRole.REJECTED)
    if chosen is None or not chosen.strip():
        yield "the chosen response is empty"
    if rejected is not None and not rejected.strip():
        yield "the rejected response is empty"
    elif chosen is not None and rejected is not None and chosen.strip() == rejected.strip():
        yield "the chosen and the rejected response are equal"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count_faults(pair: Pair) -> Iterator[str]:
    clean = pair.images.get(ImageRole.CLEAN, ())
    rejected = pair.images.get(ImageRole.REJECTED, ())
    placeholders = pair.placeholders
    if placeholders != len(clean):
        # A missing placeholder would drop the image silently; a spare one would have no image to show.
        place = "conversation" if pair.history else "prompt"
        yield f"{placeholders} {IMAGE_PLACEHOLDER} in the {place} for {len(clean)} images"
    if rejected and len(rejected) != len(clean):
        yield f"{len(rejected)} rejected images for {len(clean)} clean ones"


def _file_faults(pair: Pair) -> Iterator[str]:
    masks = (pair.region,) if pair.region else ()
    for path in (*(path for paths in pair.images.values() for path in paths), *masks):
        fault = cached_image_fault(path)
        if fault:
            yield f"{fault}: {path}"
