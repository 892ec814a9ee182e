"""From a plain Hugging Face folder back to the authors' layout."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import LlavaConfig, PreTrainedTokenizerFast

from medpref.backbones.loading import read_config
from medpref.backbones.original import check_parts, check_understood
from medpref.backbones.original_config import (
    FAMILIES,
    HEAD_WIDTH,
    ORIGINAL_CONFIG,
    family_of_config,
    text_config,
)
from medpref.backbones.original_names import EMBEDDING, HEAD, ORIGINAL, PLAIN, layout_name, part_names
from medpref.backbones.original_tokenizer import image_id
from medpref.backbones.tensor_files import Placed, TensorFiles
from medpref.conversion.convert import SHARD_BYTES, Conversion
from medpref.conversion.folder import Say, Source, hash_source, write_folder
from medpref.conversion.stream import plan_shards
from medpref.errors import InputError
from medpref.files import disk_errors, file_hash, from_here, read_json, write_json

OPENAI_TOWER = "openai/clip-vit-large-patch14-336"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)
COPIED = ("generation_config.json", "preprocessor_config.json", "LICENSE", "LICENSE.txt", "LICENSE.md")


def restore_original(
    folder: Path,
    target: Path,
    like: Path | None = None,
    *,
    dry_run: bool = False,
    say: Say = lambda line: None,
    shard_bytes: int = SHARD_BYTES,
) -> Conversion:
    """Write a plain LLaVA folder in the authors' layout, so that their code can read it.

    Args:
        folder: in the Hugging Face layout: converted, or saved by medpref after training.
        target: where to.
        like: the original checkpoint, whose tokenizer files and other small files are copied: the authors'
            versions of the libraries may not read a tokenizer that today's wrote.
        dry_run: only check that every tensor finds its place.
        say: is told what happens, a line at a time.
        shard_bytes: the largest shard.

    Raises:
        InputError: the folder is no LLaVA that has an original layout, or the target holds something else.
        RunError: the disk is full or cannot be written.
    """
    folder, target = from_here(folder), from_here(target)
    config, where = read_config(folder), str(folder)
    if config.get("model_type") != "llava":
        raise InputError(
            f"model_type {config.get('model_type')!r} has no original LLaVA layout",
            where=where,
            remedy="Give a folder that `medpref convert` wrote, or one trained from it.",
        )
    files = TensorFiles(folder)
    names = part_names(PLAIN, files.infos, where)
    check_parts(config, {part: files.infos[name].shape for part, name in names.items()}, where)
    restored, dropped, notes = original_config(
        LlavaConfig.from_dict(config), files.infos[names[EMBEDDING]].shape[0], where
    )
    placed = tuple(
        Placed(layout_name(ORIGINAL, part), files, name, -dropped if part in (EMBEDDING, HEAD) else 0)
        for part, name in sorted(names.items())
    )
    notes = [*notes, *_image_row_notes(files, names, dropped)]
    for note in notes:
        say(note)
    conversion = Conversion(placed, tuple(notes))
    if dry_run:
        return conversion
    hashes = hash_source([files], say)
    if like is not None:
        hashes.update({f"like/{path.name}": file_hash(path) for path in _small_files(like)})
    source = Source(folder.name, hashes, {"layout": "original"})

    def write_rest(work: Path) -> None:
        write_json(work / "config.json", restored)
        with disk_errors(work):
            if like is None:
                write_tokenizer(folder, work, restored["vocab_size"])
                say("the tokenizer is as today's library writes it; --like copies the authors' own")
            for path in _small_files(like) if like else [folder / name for name in COPIED]:
                if path.is_file():
                    shutil.copyfile(path, work / path.name)

    write_folder(target, plan_shards(placed, shard_bytes), source, write_rest, say)
    return conversion


def original_config(plain: LlavaConfig, rows: int, where: str) -> tuple[dict[str, Any], int, list[str]]:
    """Return the authors' configuration, how many rows of the embedding it has no place for, and notes.

    Args:
        plain: of the folder.
        rows: of its embedding.
        where: for messages.

    Raises:
        InputError: no original model has such a language model or projector.
    """
    kept = getattr(plain, ORIGINAL_CONFIG, None)
    if isinstance(kept, dict):
        check_understood(text_config(kept, family_of_config(kept, where), where), plain.text_config, where)
        return dict(kept), rows - int(kept["vocab_size"]), []
    kinds = {family.text_type: kind for kind, family in FAMILIES.items()}
    kind = kinds.get(plain.text_config.model_type)
    strategy, layer = plain.vision_feature_select_strategy, plain.vision_feature_layer
    if (
        kind is None
        or strategy != "default"
        or not isinstance(layer, int)
        or plain.projector_hidden_act != "gelu"
    ):
        raise InputError(
            f"a LLaVA of {plain.text_config.model_type} with strategy {strategy!r}, layers {layer} and "
            f"projector {plain.projector_hidden_act!r} has no original layout",
            where=where,
            remedy=f"Language models that have one: {', '.join(kinds)}.",
        )
    dropped = int(plain.image_token_index == rows - 1)
    text, tower = plain.text_config.to_dict(), plain.vision_config
    keys = FAMILIES[kind].text_keys
    rope = plain.text_config.rope_parameters or {}
    config = {
        **{key: text[key] for key in (*keys, "bos_token_id", "eos_token_id", "pad_token_id") if key in text},
        "model_type": kind,
        "architectures": [FAMILIES[kind].architecture],
        "vocab_size": rows - dropped,
        "rope_theta": rope.get("rope_theta"),
        "tie_word_embeddings": False,
        "torch_dtype": str(plain.dtype).removeprefix("torch.") if plain.dtype else None,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": tower.hidden_size,
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": layer,
        "mm_vision_tower": OPENAI_TOWER,
        "use_mm_proj": True,
    }
    if tower.hidden_act != "quick_gelu" or tower.num_attention_heads * HEAD_WIDTH != tower.hidden_size:
        config["vision_config"] = {
            key: getattr(tower, key) for key in ("num_attention_heads", "hidden_act", "layer_norm_eps")
        }
    note = (
        f"config.json: made anew, since the folder keeps no original one; mm_vision_tower is {OPENAI_TOWER}"
    )
    return config, dropped, [note]


def _image_row_notes(files: TensorFiles, names: Mapping[str, str], dropped: int) -> list[str]:
    """Say what becomes of the rows that the original layout has no place for."""
    if dropped < 0:
        raise InputError(
            f"the embedding lacks {-dropped} rows of the original vocabulary", where=str(files.folder)
        )
    if not dropped:
        return []
    rows = {part: files.tensor(names[part])[-dropped:] for part in (EMBEDDING, HEAD)}
    filled = [part for part, row in rows.items() if bool(row.any())]
    note = f"left out: the last row of embedding and head, that of <image> ({dropped})"
    return [note + (f"; in {' and '.join(filled)} it was not zero" if filled else "; it was zero")]


def _small_files(folder: Path) -> list[Path]:
    return [folder / name for name in (*TOKENIZER_FILES, *COPIED) if (folder / name).is_file()]


def write_tokenizer(folder: Path, target: Path, vocabulary: int) -> None:
    """Write a plain folder's tokenizer without an ``<image>`` that lies behind the vocabulary.

    Merges are written as texts, which old versions of the library read as well.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    tokenizer.chat_template = None
    tokenizer.save_pretrained(target)
    path = target / "tokenizer.json"
    state = read_json(path)
    token = image_id(tokenizer)
    if token is not None and token >= vocabulary:
        state["added_tokens"] = [entry for entry in state["added_tokens"] if entry["id"] != token]
    merges = state["model"].get("merges", [])
    state["model"]["merges"] = [pair if isinstance(pair, str) else " ".join(pair) for pair in merges]
    path.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
    settings = read_json(target / "tokenizer_config.json")
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    write_json(target / "tokenizer_config.json", settings)
