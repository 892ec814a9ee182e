"""Read a folder's processor, also where torchvision is missing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoProcessor, AutoTokenizer, AutoVideoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.utils import is_torchvision_available
from transformers.video_processing_utils import BaseVideoProcessor

from medpref.errors import InputError


class NoVideos(BaseVideoProcessor):  # type: ignore[misc]
    """Stands where a processor wants a video processor, which needs torchvision; no videos are read here.

    Args:
        said: what the model's folder says about videos; it is saved again as it was.
    """

    def __init__(self, said: Mapping[str, Any]) -> None:
        self._said = dict(said)

    def to_dict(self) -> dict[str, Any]:
        """Return what the folder said."""
        return dict(self._said)


def without_videos(kind: Any) -> Any:
    """Return a processor's class that takes `NoVideos`: without torchvision, its own check refuses all."""
    if is_torchvision_available() or "video_processor" not in kind.get_attributes():
        return kind
    return type(kind.__name__, (kind,), {"check_argument_for_proper_class": lambda *_: None})


def read_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Read a folder's processor, with the image processor that computes with Pillow where there is one.

    Raises:
        InputError: the folder has none, or it needs what is not installed.
    """
    options = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(folder, **options)
        known = PROCESSOR_MAPPING.get(type(config), None)
        parts = set(known.get_attributes()) if known else {"own"}
        if parts - {"tokenizer", "image_processor", "video_processor"}:
            processor = AutoProcessor.from_pretrained(folder, **options)
        else:
            processor = _assemble(known, folder, options)
    except (OSError, ValueError, ImportError, TypeError) as error:
        raise InputError(
            f"the model's processor cannot be read: {str(error).strip()}",
            where=str(folder),
            remedy="Some processors need further packages, such as torchvision; the message names them.",
        ) from None
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise InputError(
            f"{type(processor).__name__} has no tokenizer or no image processor", where=str(folder)
        )
    return processor


def _assemble(known: Any, folder: Path, options: Mapping[str, Any]) -> Any:
    said, _ = known.get_processor_dict(folder, local_files_only=True)
    load = {
        "tokenizer": lambda: AutoTokenizer.from_pretrained(folder, **options),
        "image_processor": lambda: AutoImageProcessor.from_pretrained(folder, backend="pil", **options),
        "video_processor": lambda: _read_videos(folder, options),
    }
    return without_videos(known).from_args_and_dict([load[part]() for part in known.get_attributes()], said)


def _read_videos(folder: Path, options: Mapping[str, Any]) -> Any:
    try:
        return AutoVideoProcessor.from_pretrained(folder, **options)
    except (OSError, ValueError, ImportError):
        try:
            said, _ = BaseVideoProcessor.get_video_processor_dict(folder, local_files_only=True)
        except OSError:
            said = {}
        return NoVideos(said)
