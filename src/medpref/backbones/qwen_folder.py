"""Read a Qwen-VL folder: model, tokenizer with chat template, image processor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoTokenizer, Qwen2VLImageProcessorPil

from medpref.backbones.loading import LoadSettings, read_model, read_sidecar
from medpref.errors import InputError
from medpref.files import read_json

# What is said of videos: other programs read it, and medpref hands it on.
VIDEO = "video_preprocessor_config.json"


class QwenFolder(NamedTuple):
    """What a folder holds: the arguments of `QwenVLBackbone`."""

    model: Any
    tokenizer: Any
    processor: Qwen2VLImageProcessorPil
    max_length: int
    beside: Mapping[str, str]


def read_folder(
    model_class: Any, folder: Path, settings: LoadSettings, *, weights: bool = True
) -> QwenFolder:
    """Read a folder in the Hugging Face layout.

    Args:
        model_class: a class of transformers.
        folder: of a model of that class.
        settings: limits of pixels and tokens, type of the weights.
        weights: otherwise the model has shapes and no weights.

    Raises:
        InputError: the folder is incomplete, weights are missing or left over, or a setting does not fit.
    """
    if settings.template is not None or settings.vision_tower != "embedded":
        raise InputError(
            "models of this family have their own chat template and tower",
            where=str(folder),
            remedy="Leave template and vision_tower out.",
        )
    model = read_model(model_class, folder, settings, weights=weights)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=settings.trust_remote_code
        )
        processor = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InputError(f"tokenizer or image processor cannot be read: {error}", where=str(folder)) from None
    tokenizer.chat_template = _chat_template(folder) or tokenizer.chat_template
    _limit_pixels(processor, settings)
    side = read_sidecar(folder)
    length = settings.max_length or side.get("max_length") or model.config.text_config.max_position_embeddings
    return QwenFolder(model, tokenizer, processor, length, _beside(folder))


def _chat_template(folder: Path) -> str | None:
    """Return the template that older processors kept in a file of its own: the tokenizer does not read it."""
    path = folder / "chat_template.json"
    if (folder / "chat_template.jinja").is_file() or not path.is_file():
        return None
    found = read_json(path)
    template = found.get("chat_template") if isinstance(found, dict) else None
    if not isinstance(template, str):
        raise InputError("there is no chat_template in this file", where=str(path))
    return template


def _limit_pixels(processor: Qwen2VLImageProcessorPil, settings: LoadSettings) -> None:
    """Let the processor resize within the settings' limits, where they name some."""
    least = settings.min_pixels or processor.size["shortest_edge"]
    most = settings.max_pixels or processor.size["longest_edge"]
    if least > most:
        raise InputError(
            f"min_pixels ({least:,}) is more than max_pixels ({most:,})",
            remedy="What is not set comes from the model's folder; set both.",
        )
    processor.size = type(processor.size)(shortest_edge=least, longest_edge=most)


def _beside(folder: Path) -> dict[str, str]:
    """Return the text of the file on videos; newer folders keep it inside the processor's own."""
    if (folder / VIDEO).is_file():
        return {VIDEO: (folder / VIDEO).read_text("utf-8")}
    path = folder / "processor_config.json"
    found = read_json(path) if path.is_file() else None
    if not isinstance(found, dict) or "video_processor" not in found:
        return {}
    return {VIDEO: json.dumps(found["video_processor"], indent=2) + "\n"}
