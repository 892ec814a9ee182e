"""From the authors' layout to a plain Hugging Face folder."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, LlavaConfig

from medpref.backbones.loading import SIDECAR, LoadSettings
from medpref.backbones.original import Original, check_parts, read_original
from medpref.backbones.original_config import ORIGINAL_CONFIG
from medpref.backbones.original_names import PLAIN, part_names
from medpref.backbones.plain import save_processor
from medpref.backbones.templates import templates
from medpref.backbones.tensor_files import Placed, TensorFiles
from medpref.conversion.card import find_licence, model_card
from medpref.conversion.folder import Say, Source, hash_source, write_folder
from medpref.conversion.stream import plan_shards
from medpref.conversion.towers import compare_towers
from medpref.files import disk_errors, from_here, read_json, write_json, write_text

SHARD_BYTES = 4 * 10**9


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a conversion does.

    Attributes:
        placed: every tensor with its new name.
        notes: what was decided, a sentence each.
    """

    placed: tuple[Placed, ...]
    notes: tuple[str, ...]


def convert_checkpoint(
    folder: Path,
    target: Path,
    settings: LoadSettings | None = None,
    *,
    dry_run: bool = False,
    say: Say = lambda line: None,
    shard_bytes: int = SHARD_BYTES,
) -> Conversion:
    """Convert an original LLaVA-Med or HuatuoGPT-Vision checkpoint to a plain Hugging Face folder.

    Args:
        folder: the original checkpoint.
        target: where to.
        settings: which tower; a template or length other than the family's.
        dry_run: only check that every tensor finds its place.
        say: is told what happens, a line at a time.
        shard_bytes: the largest shard.

    Raises:
        InputError: the checkpoint cannot be converted, or the target holds something else.
        RunError: the disk is full or cannot be written.
    """
    settings, folder, target = settings or LoadSettings(), from_here(folder), from_here(target)
    original = read_original(folder, settings)
    # Found now rather than behind the last shard.
    template, processor = templates[original.template], original.image_processor
    placed = tuple(original.parts.values())
    notes = [*original.notes, *compare_towers(original)]
    conversion = Conversion(placed, tuple(notes))
    for note in notes:
        say(note)
    if dry_run:
        return conversion
    source = Source(
        folder.name,
        hash_source([original.files, original.tower], say),
        {"template": original.template, "max_length": original.max_length},
    )

    def write_rest(work: Path) -> None:
        check_parts(original.config, _shapes(TensorFiles(work)), str(work))
        write_json(work / "config.json", original.config)
        config = LlavaConfig.from_dict(original.config)
        original.tokenizer.model_max_length = original.max_length
        save_processor(work, config, original.tokenizer, processor, template)
        generation, dropped = generation_config(folder, original)
        write_json(work / "generation_config.json", generation)
        side = {"template": original.template, "max_length": original.max_length}
        write_json(work / SIDECAR, side)
        licence, text = find_licence(folder)
        if text:
            with disk_errors(work):
                shutil.copyfile(text, work / text.name)
        kind = original.config[ORIGINAL_CONFIG]["model_type"]
        told = [*notes, *dropped]
        write_text(work / "README.md", model_card(source, kind, licence, text.name if text else None, told))
        for line in dropped:
            say(line)

    write_folder(target, plan_shards(placed, shard_bytes), source, write_rest, say)
    return conversion


def generation_config(folder: Path, original: Original) -> tuple[dict[str, Any], list[str]]:
    """Return the generation settings of a plain folder, and what had to be left out, as sentences.

    The source's own are kept where the library takes them. ``<image>`` is never generated.
    """
    config, tokenizer = original.config, original.tokenizer
    path = folder / "generation_config.json"
    own: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    tokens = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    given = {
        key: value for key, value in own.items() if key not in ("transformers_version", "_from_model_config")
    }
    fixed = {**tokens, **given, "suppress_tokens": [config["image_token_index"]]}
    try:
        GenerationConfig.from_dict(fixed).validate(strict=True)
    except ValueError:
        left = sorted(given.keys() - tokens.keys())
        note = f"generation_config.json contradicts itself; left out of it: {', '.join(left)}"
        return {**tokens, "suppress_tokens": [config["image_token_index"]]}, [note]
    return fixed, []


def _shapes(files: TensorFiles) -> dict[str, tuple[int, ...]]:
    names = part_names(PLAIN, files.infos, str(files.folder))
    return {part: files.infos[name].shape for part, name in names.items()}
