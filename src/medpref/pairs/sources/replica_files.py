"""Phantoms written to disk in the shapes in which published data sets come."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from medpref.files import disk_errors, write_json, write_jsonl
from medpref.pairs.formats import CAPTION_PROMPT, REPORT_PROMPT
from medpref.pairs.images import save_png
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.phantoms import Phantom, Question, report

CONTENT = {
    "modality": "Modality",
    "plane": "Plane",
    "organ": "Organ",
    "presence": "Abnormality",
    "side": "Position",
    "vertical": "Position",
    "count": "Quantity",
    "size": "Size",
    "intensity": "Color",
}
"""SLAKE's ``content_type`` by our kind of question."""
RELEVANCE = {"modality": 0.2, "plane": 0.2, "organ": 0.2, "intensity": 0.6, "caption": 0.8, "report": 1.0}
"""Made-up clinical relevance of questions by kind; 1 for all others."""

Splits = Mapping[str, Sequence[Phantom]]
"""The phantoms of ``train``, ``validation`` and ``test``, and of ``pool`` where pairs are wanted."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How one data set is written.

    Attributes:
        task: whose samples its source gives.
        write: ``write(phantoms, folder)`` writes everything and returns the source's settings.
        source: that reads it.
    """

    source: str
    task: str
    write: Callable[[Splits, Path], dict[str, Any]]


def _asked(splits: Splits) -> Iterator[tuple[str, int, Phantom]]:
    """Yield split, number within it and phantom of all that is no pool."""
    for split, phantoms in splits.items():
        if split != "pool":
            yield from ((split, number, phantom) for number, phantom in enumerate(phantoms))


def _image(phantom: Phantom, path: Path) -> Path:
    save_png(path, Image.fromarray(phantom.image))
    return path


def _write_vqa_rad(splits: Splits, folder: Path) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for split, number, phantom in _asked(splits):
        name = _image(phantom, folder / "images" / f"{split}-{number}.png").name
        if split != "validation":
            rows += [
                {
                    "qid": f"{split}-{number}-{question.kind}",
                    "image": name,
                    "question": question.prompt,
                    "answer": question.answer,
                    "answer_type": "CLOSED" if question.closed else "OPEN",
                    "split": split,
                    "standard": True,
                }
                for question in phantom.questions
            ]
    write_jsonl(folder / "qa.jsonl", rows)
    return {"folder": folder}


def _write_slake(splits: Splits, folder: Path) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for place, (split, number, phantom) in enumerate(_asked(splits)):
        image = _image(phantom, folder / "imgs" / f"xmlab{place}" / "source.png")
        rows[split] += [
            {
                "qid": f"{number}-{question.kind}",
                "img_name": f"{image.parent.name}/{image.name}",
                "question": question.prompt,
                "answer": question.answer,
                "q_lang": "en",
                "answer_type": "CLOSED" if question.closed else "OPEN",
                "content_type": CONTENT[question.kind],
                "location": phantom.facts.site,
                "modality": phantom.facts.modality,
            }
            for question in phantom.questions
        ]
    for split, own in rows.items():
        write_json(folder / f"{split}.json", own)
    return {"folder": folder}


def _write_path_vqa(splits: Splits, folder: Path) -> dict[str, Any]:
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    for split, number, phantom in _asked(splits):
        name = f"{split}-{number}.png"
        image = {"bytes": _image(phantom, folder / "written" / name).read_bytes(), "path": name}
        rows[split] += [{"image": image, "question": q.prompt, "answer": q.answer} for q in phantom.questions]
    for split, own in rows.items():
        path = folder / "data" / f"{split}-00000-of-00001.parquet"
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.Table.from_pylist(own), path)
    return {"folder": folder}


def _write_amboss(splits: Splits, folder: Path) -> dict[str, Any]:
    rows = [
        {"image_path": _image(phantom, folder / f"{number}.png").name, "caption": phantom.caption.answer}
        for number, phantom in enumerate(splits["test"])
    ]
    write_jsonl(folder / "test.jsonl", rows)
    return {"test": folder / "test.jsonl"}


def _write_mimic_cxr(splits: Splits, folder: Path) -> dict[str, Any]:
    keys = {"train": "train", "validation": "val", "test": "test"}
    rows: dict[str, list[dict[str, Any]]] = {key: [] for key in keys.values()}
    for split, number, phantom in _asked(splits):
        name = f"p1{split}{number}/view.png"
        _image(phantom, folder / "images" / name)
        rows[keys[split]].append(
            {
                "id": f"{split}-{number}",
                "subject_id": f"{split}{number}",
                "report": report(phantom.facts),
                "image_path": [name],
            }
        )
    write_json(folder / "annotation.json", rows)
    return {"folder": folder}


def _dialogues(splits: Splits, folder: Path, several: bool) -> list[dict[str, Any]]:
    """Return conversations: questions on an image one after the other, its caption, and its report."""
    rows: list[dict[str, Any]] = []
    for split, number, phantom in _asked(splits):
        name = _image(phantom, folder / "images" / f"{split}-{number}.png").name
        half = len(phantom.questions) // 2
        talks = [
            [(question.prompt, question.answer) for question in phantom.questions[:half]],
            [(question.prompt, question.answer) for question in phantom.questions[half:]],
            [(CAPTION_PROMPT, phantom.caption.answer)],
            [(REPORT_PROMPT, report(phantom.facts))],
        ]
        rows += [
            {
                "id": f"{split}-{number}-{place}",
                "image": [name] if several else name,
                "conversations": [
                    {"from": speaker, "value": text}
                    for turn in talk
                    for speaker, text in zip(("human", "gpt"), turn, strict=True)
                ],
            }
            for place, talk in enumerate(talks)
        ]
    return rows


def _pairs(phantoms: Sequence[Phantom], folder: Path) -> list[dict[str, Any]]:
    """Return preference pairs with a wrong answer, a region and a weight each."""
    rows: list[dict[str, Any]] = []
    for number, phantom in enumerate(phantoms):
        image = _image(phantom, folder / "images" / f"pool-{number}.png")
        region = None
        if phantom.mask.any():
            region = folder / "masks" / f"pool-{number}.png"
            save_png(region, Image.fromarray(phantom.mask.astype(np.uint8) * 255).convert("1"))
        other = phantoms[(number + 1) % len(phantoms)]
        for kind, prompt, chosen, rejected in _disputed(phantom, other):
            rows.append(
                {
                    "id": f"pool-{number}-{kind}",
                    "prompt": f"{IMAGE_PLACEHOLDER}\n{prompt}",
                    "images": {"clean": [f"images/{image.name}"]},
                    "responses": {"chosen": chosen, "rejected": rejected},
                    "weight": RELEVANCE.get(kind, 1.0),
                    "region": f"masks/{region.name}" if region else None,
                }
            )
    return rows


def _disputed(phantom: Phantom, other: Phantom) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, prompt, right and wrong answer; texts about two phantoms that say the same are left out."""
    for question in phantom.questions:
        yield question.kind, question.prompt, question.answer, _wrong(question)
    for kind, prompt, right, wrong in (
        ("caption", CAPTION_PROMPT, phantom.caption.answer, other.caption.answer),
        ("report", REPORT_PROMPT, report(phantom.facts), report(other.facts)),
    ):
        if right != wrong:
            yield kind, prompt, right, wrong


def _wrong(question: Question) -> str:
    place = question.choices.index(question.answer)
    return question.choices[(place + 1) % len(question.choices)]


def _write_dialogues(name: str, several: bool) -> Callable[[Splits, Path], dict[str, Any]]:
    def write(splits: Splits, folder: Path) -> dict[str, Any]:
        path = folder / name
        with disk_errors(path):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(_dialogues(splits, folder, several)), encoding="utf-8")
        write_jsonl(folder / "pairs.jsonl", _pairs(splits["pool"], folder))
        # What is drawn for the other splits is learnt from as well: such data is not asked.
        return {"folder": folder, "pairs": folder / "pairs.jsonl", "validation_share": 0, "test_share": 0}

    return write


SHAPES: Mapping[str, Shape] = {
    "vqa-rad": Shape("vqa-rad", "vqa-rad", _write_vqa_rad),
    "slake": Shape("slake", "slake", _write_slake),
    "path-vqa": Shape("path-vqa", "path-vqa", _write_path_vqa),
    "amboss": Shape("release", "amboss", _write_amboss),
    "mimic-cxr": Shape("mimic-cxr", "mimic-cxr", _write_mimic_cxr),
    "llava-med": Shape(
        "llava-med", "vqa", _write_dialogues("llava_med_instruct_60k_inline_mention.json", several=False)
    ),
    "pubmedvision": Shape(
        "pubmedvision", "vqa", _write_dialogues("PubMedVision_InstructionTuning_VQA.json", several=True)
    ),
}
"""The data sets that phantoms can be written like, by name."""
