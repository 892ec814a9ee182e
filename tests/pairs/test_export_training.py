"""TRL's own trainer learns from the exports as they are: images in their places, prompts masked."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from medpref.pairs.export import export_pairs
from medpref.pairs.pair import ImageRole, Pair, Provenance, ResponseRole, Turn

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def from_parquet(folder: Path, cache: Path) -> Any:
    return datasets.load_dataset(str(folder), split="train", cache_dir=str(cache))


def from_jsonl(folder: Path, cache: Path) -> Any:
    """Read as the data card of the format ``trl`` says."""
    data = datasets.load_dataset(
        "json", data_files=str(folder / "pairs.jsonl"), split="train", cache_dir=str(cache)
    )
    data = data.map(lambda row: {"images": [str(folder / name) for name in row["images"]]})
    return data.cast_column("images", datasets.List(datasets.Image()))


READERS: dict[str, Callable[[Path, Path], Any]] = {"datasets": from_parquet, "trl": from_jsonl}


@pytest.fixture
def shareable(pairs: list[Pair], make_image, make_pair) -> list[Pair]:
    """Six pairs on an image each, one on two, one without, and one whose image stands in an earlier turn."""
    one, two = make_image("one.png", 1), make_image("two.png", 2)
    turns = replace(
        make_pair("turns", question="Where is the lesion?"),
        history=(Turn("<image>\nIs there a lesion?", "Yes, in the upper lobe."),),
        images={ImageRole.CLEAN: (one,)},
    )
    many = [*pairs, make_pair("two", (one, two)), make_pair("none"), turns]
    return [replace(pair, provenance=Provenance("own", licence="CC0-1.0")) for pair in many]


@pytest.mark.parametrize("name", READERS)
def test_trl_trains_two_steps(shareable, make_backbone, tmp_path, name: str) -> None:
    from transformers import AutoProcessor

    datasets.disable_progress_bars()
    backbone = make_backbone("mistral")
    backbone.save(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(tmp_path / "model", local_files_only=True)
    export_pairs(shareable, tmp_path / "out", name)
    data = READERS[name](tmp_path / "out", tmp_path / "cache")
    trainer = trl.DPOTrainer(
        model=backbone.model,
        ref_model=make_backbone("mistral").model,
        args=trl.DPOConfig(
            output_dir=str(tmp_path / "run"),
            use_cpu=True,
            bf16=False,
            report_to=[],
            max_length=None,
            max_steps=2,
            learning_rate=1e-3,
            per_device_train_batch_size=len(shareable),
            gradient_checkpointing=False,
            disable_tqdm=True,
            logging_steps=1,
            save_strategy="no",
        ),
        train_dataset=data,
        processing_class=processor,
    )
    check_batch(trainer.data_collator([dict(row) for row in data]), shareable, processor)
    trainer.train()
    first, second = (row["loss"] for row in trainer.state.log_history if "loss" in row)
    assert first == pytest.approx(0.6931, abs=1e-3), "at the start policy and reference are one model"
    assert second < first - 0.01


def check_batch(batch: dict[str, torch.Tensor], pairs: list[Pair], processor: Any) -> None:
    """All images are there twice, and what is learned are the responses alone."""
    assert batch["pixel_values"].shape[0] == 2 * sum(pair.placeholders for pair in pairs)
    said = [pair.responses[role] for role in ResponseRole for pair in pairs]
    for ids, mask, response in zip(batch["input_ids"], batch["completion_mask"], said, strict=True):
        text = processor.tokenizer.decode(ids[mask.bool()], skip_special_tokens=True)
        assert "".join(text.split()) == "".join(response.split())
