"""Original LLaVA-Med v1.5 and HuatuoGPT-Vision checkpoints, read as they are into the library's LLaVA."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    PreTrainedTokenizerFast,
)

from medpref.backbones.families import ModelFamily, model_families
from medpref.backbones.llava import LlavaBackbone
from medpref.backbones.loading import LoadSettings, read_config
from medpref.backbones.original_config import (
    FAMILIES,
    family_of_config,
    image_row,
    plain_config,
    text_limit_of,
    tower_config,
)
from medpref.backbones.original_names import (
    CLIP,
    CLIP_TEXT,
    EMBEDDING,
    HEAD,
    ORIGINAL,
    PLAIN,
    TOWER,
    layout_name,
    list_names,
    part_names,
)
from medpref.backbones.original_tokenizer import image_id, read_tokenizer, text_limit, with_image
from medpref.backbones.tensor_files import TORCH_NAMES, Placed, TensorFiles
from medpref.errors import InputError


@dataclass(frozen=True)
class Original:
    """An original checkpoint, understood; no weights are read yet.

    Attributes:
        folder: that it is in.
        files: its tensors.
        tower: the tensors of the tower that was chosen.
        parts: part name → what goes there.
        config: ``config.json`` of the plain folder.
        tokenizer: with ``<image>``.
        template: the chat template's name.
        max_length: how many tokens of prompt (images included) and response fit.
        notes: what was decided, a sentence each.
    """

    folder: Path
    files: TensorFiles
    tower: TensorFiles
    parts: Mapping[str, Placed]
    config: dict[str, Any]
    tokenizer: PreTrainedTokenizerFast
    template: str
    max_length: int
    notes: tuple[str, ...]

    @cached_property
    def image_processor(self) -> LlavaImageProcessorPil:
        """Pads to a square in the mean colour, then does what CLIP does; mean and deviation are the tower's.

        Raises:
            InputError: the tower's own processor makes images of another size than the tower takes.
        """
        size = self.config["vision_config"]["image_size"]
        clip = CLIPImageProcessorPil(crop_size={"height": size, "width": size})
        if (self.tower.folder / "preprocessor_config.json").is_file():
            clip = CLIPImageProcessorPil.from_pretrained(self.tower.folder, local_files_only=True)
        if clip.crop_size["height"] != size:
            raise InputError(
                f"images of {clip.crop_size['height']} pixels for a tower that takes {size}",
                where=str(self.tower.folder / "preprocessor_config.json"),
            )
        return LlavaImageProcessorPil(
            do_pad=True,
            size={"shortest_edge": size},
            crop_size={"height": size, "width": size},
            image_mean=clip.image_mean,
            image_std=clip.image_std,
        )


def read_original(folder: Path, settings: LoadSettings) -> Original:
    """Understand an original checkpoint: every tensor has a place, every place a tensor of its shape.

    Raises:
        InputError: the checkpoint is incomplete, or of another architecture.
    """
    config = read_config(folder)
    where = str(folder)
    family = family_of_config(config, where)
    files = TensorFiles(folder)
    names = part_names(ORIGINAL, files.infos, where)
    sources = {part: (files, name) for part, name in names.items()}
    described, tower = config.get("vision_config"), files
    notes = ["the tower is the checkpoint's own"]
    if settings.vision_tower != "embedded":
        tower = TensorFiles(settings.vision_tower)
        described, found, note = _read_tower(tower)
        sources = {part: place for part, place in sources.items() if not part.startswith(TOWER)}
        sources.update({part: (tower, name) for part, name in found.items()})
        notes = [note]
    tokenizer = read_tokenizer(folder, family.text_type)
    shapes = {part: place[0].infos[place[1]].shape for part, place in sources.items()}
    image, extra = image_row(shapes, len(tokenizer), image_id(tokenizer), where)
    parts = {
        part: Placed(layout_name(PLAIN, part), *place, extra if part in (EMBEDDING, HEAD) else 0)
        for part, place in sorted(sources.items())
    }
    notes.append(
        f"<image> is token {image}, {f'{extra} row of zeros added for it' if extra else 'an existing row'}"
    )
    plain = plain_config(
        config, tower_config(shapes, described, where), image, shapes[EMBEDDING][0], extra, where
    )
    plain["torch_dtype"] = plain["torch_dtype"] or TORCH_NAMES[parts[EMBEDDING].dtype]
    check_parts(plain, {part: placed.shape for part, placed in parts.items()}, where)
    check_understood(plain["text_config"], LlavaConfig.from_dict(plain).text_config, where)
    limit = settings.max_length or text_limit_of(config) or text_limit(tokenizer)
    return Original(
        folder,
        files,
        tower,
        parts,
        plain,
        with_image(tokenizer),
        settings.template or family.template,
        limit or config["max_position_embeddings"],
        tuple(notes),
    )


def _read_tower(tower: TensorFiles) -> tuple[dict[str, Any] | None, dict[str, str], str]:
    """Return a CLIP folder's vision configuration, its tower's tensors by part name, and a note."""
    where = str(tower.folder)
    text = [name for name in tower.infos if CLIP_TEXT.match(name)]
    found = part_names(CLIP, tower.infos.keys() - set(text), where)
    config = read_config(tower.folder)
    described = config.get("vision_config", config)
    note = f"the tower is that of {tower.folder.name}"
    if text:
        note += f" (without the {len(text)} tensors of CLIP's text side, such as {min(text)})"
    return (described if isinstance(described, dict) else None), found, note


def outline(config: Mapping[str, Any]) -> LlavaForConditionalGeneration:
    """Return a plain folder's model with shapes and no weights."""
    with torch.device("meta"):
        return LlavaForConditionalGeneration._from_config(
            LlavaConfig.from_dict(dict(config)), attn_implementation="sdpa"
        )


def check_parts(config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Check that the tensors are exactly those of the model that a plain configuration describes.

    Raises:
        InputError: a tensor is missing, left over or of the wrong shape.
    """
    state = outline(config).state_dict()
    wanted = {part: tuple(state[name].shape) for part, name in part_names(PLAIN, state, where).items()}
    faults = {
        "missing": sorted(wanted.keys() - shapes.keys()),
        "left over": sorted(shapes.keys() - wanted.keys()),
        "of the wrong shape": [
            f"{part} {tuple(shapes[part])} instead of {wanted[part]}"
            for part in sorted(wanted.keys() & shapes.keys())
            if wanted[part] != tuple(shapes[part])
        ],
    }
    told = [f"{len(names)} {what}: {list_names(names)}" for what, names in faults.items() if names]
    if told:
        raise InputError(
            f"the tensors do not fit the configuration. {'; '.join(told)}",
            where=where,
            remedy="The checkpoint is incomplete, or of another architecture.",
        )


def check_understood(told: Mapping[str, Any], text: Any, where: str) -> None:
    """Check that the library reads the language model's settings as they were written.

    Args:
        told: what `text_config` returned.
        text: the library's configuration of the language model.
        where: for messages.

    Raises:
        InputError: a setting differs.
    """
    theta = (text.rope_parameters or {}).get("rope_theta")
    window = told["sliding_window"] if told.get("use_sliding_window", True) else None
    expected = {**told, "rope_theta": theta, "sliding_window": window}
    # The rows of <image> come on top.
    expected.pop("vocab_size")
    wrong = [key for key, value in expected.items() if getattr(text, key, value) != value]
    if theta != told["rope_theta"]:
        wrong.append("rope_theta")
    if wrong:
        raise InputError(
            f"the installed version of transformers reads {', '.join(wrong)} otherwise",
            where=where,
            remedy="Install another version of transformers.",
        )


def load_original(folder: Path, settings: LoadSettings, *, weights: bool = True) -> LlavaBackbone:
    """Load an original checkpoint without writing anything; `save` then writes a plain folder.

    Raises:
        InputError: the checkpoint is incomplete or of another architecture, or it is to be quantised.
    """
    if settings.quantize:
        raise InputError(
            "an original checkpoint cannot be quantised while it is read",
            where=str(folder),
            remedy="Convert it first: medpref convert SOURCE TARGET.",
        )
    original = read_original(folder, settings)
    model = _fill(original, settings) if weights else outline(original.config)
    Console(stderr=True, soft_wrap=True).print(
        f"{folder.name}: read from the original layout as a plain LLaVA; {'; '.join(original.notes)}.",
        markup=False,
        highlight=False,
    )
    return LlavaBackbone(
        model, original.tokenizer, original.image_processor, original.template, original.max_length
    )


def _fill(original: Original, settings: LoadSettings) -> LlavaForConditionalGeneration:
    names = part_names(PLAIN, outline(original.config).state_dict(), str(original.folder))
    model = LlavaForConditionalGeneration.from_pretrained(
        None,
        config=LlavaConfig.from_dict(original.config),
        state_dict={names[part]: placed.tensor() for part, placed in original.parts.items()},
        dtype=settings.dtype,
        attn_implementation="sdpa",
    )
    # Otherwise the model would be saved under the names that it was given here.
    vars(model).pop("_weight_conversions", None)
    return model.eval()


model_families.add(
    "llava-original",
    ModelFamily("original LLaVA-Med and HuatuoGPT-Vision checkpoints", load_original, tuple(FAMILIES)),
)
