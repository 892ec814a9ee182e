"""Time answering short questions against the naive loop: ``python benchmarks/eval.py``.

The naive loop is that of published evaluation scripts: one question at a time, the image read and encoded for
each. All variants answer the same questions of the same random weights greedily, and a row counts only where
all answers are equal. See `--help` for the options; `--quick` ends within a minute and is too small to quote.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

# Before anything imports transformers.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from PIL import Image

from benchmarks.machine import describe_machine
from benchmarks.models import SIZES, make_backbone, make_model, make_tokenizer
from medpref.backbones.llava import LlavaBackbone
from medpref.backbones.sampling import Sampling
from medpref.generation.local import LocalEngine
from medpref.generation.question import Answer, Question
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER
from medpref.phantoms import generate, vocabulary

# Questions on one image: VQA-RAD's test has 2.2, PathVQA's 7.8, SLAKE's 11.
SHAPES = {"two questions an image": 2, "eight questions an image": 8}
TOKENS = 8
BATCH = 16

Variant = Callable[[LlavaBackbone, Sequence[Question]], dict[str, str]]


def naive(backbone: LlavaBackbone, questions: Sequence[Question]) -> dict[str, str]:
    """Answer one question at a time; image and prompt are read anew for each."""
    answers = {}
    for question in questions:
        images = [backbone.read_image(open_image(path)) for path in question.images]
        (answer,) = backbone.generate(
            [backbone.prompt_ids(question.prompt)], [images], Sampling(max_new_tokens=TOKENS)
        )
        answers[question.id] = answer
    return answers


def batched(backbone: LlavaBackbone, questions: Sequence[Question]) -> dict[str, str]:
    """Answer in left-padded batches in the file's order, each image read for each question."""
    answers: dict[str, str] = {}
    for start in range(0, len(questions), BATCH):
        group = questions[start : start + BATCH]
        images = [[backbone.read_image(open_image(path)) for path in each.images] for each in group]
        prompts = [backbone.prompt_ids(each.prompt) for each in group]
        made = backbone.generate(prompts, images, Sampling(max_new_tokens=TOKENS))
        answers |= dict(zip((each.id for each in group), made, strict=True))
    return answers


def ours(backbone: LlavaBackbone, questions: Sequence[Question]) -> dict[str, str]:
    """Answer as ``medpref eval`` does."""
    engine = LocalEngine(backbone, batch=BATCH, fingerprint="benchmark")
    made = engine.answer(questions, Sampling(max_new_tokens=TOKENS))
    return {each.id: each.text for each in made if isinstance(each, Answer)}


VARIANTS: Mapping[str, Variant] = {"naive": naive, "batched": batched, "medpref": ours}


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Measure, print the table, write the JSON file, and return what stands in it."""
    options = _parse(arguments)
    torch.set_num_threads(options.threads)
    size = SIZES["quick" if options.quick else "P"]
    tokenizer = make_tokenizer(size, vocabulary())
    model = make_model(size, tokenizer, 0).eval()
    backbone = make_backbone(size, model.to("cuda") if torch.cuda.is_available() else model, tokenizer)
    found: dict[str, Any] = {"machine": describe_machine(options.threads), "rows": []}
    for name, each in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            questions = make_questions(Path(folder), 8 if options.quick else 24, each)
            found["rows"] += time_variants(backbone, name, questions, options.repeats)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return found


def make_questions(folder: Path, images: int, each: int) -> list[Question]:
    """Draw phantoms and return their questions, those of one image apart, as files have them."""
    rows = []
    for index in range(images):
        made = generate(0, index)
        path = folder / f"{index}.png"
        Image.fromarray(made.image).save(path)
        asked = made.questions * (1 + each // len(made.questions))
        rows += [
            (number, Question(f"{index}-{number}", f"{IMAGE_PLACEHOLDER}\n{question.prompt}", (path,)))
            for number, question in enumerate(asked[:each])
        ]
    return [question for _, question in sorted(rows, key=lambda row: row[0])]


def time_variants(
    backbone: LlavaBackbone, shape: str, questions: Sequence[Question], repeats: int
) -> list[dict[str, Any]]:
    """Time all variants in turn, `repeats` times; print and return their rows."""
    seconds: dict[str, list[float]] = {name: [] for name in VARIANTS}
    answers: dict[str, dict[str, str]] = {}
    for _ in range(repeats):
        for name, variant in VARIANTS.items():
            started = time.perf_counter()
            answers[name] = variant(backbone, questions)
            seconds[name].append(time.perf_counter() - started)
    rows = []
    for name, taken in seconds.items():
        ratios = [first / own for first, own in zip(seconds["naive"], taken, strict=True)]
        same = sum(answers[name][question.id] == answers["naive"][question.id] for question in questions)
        rows.append(
            {
                "shape": shape,
                "variant": name,
                "questions": len(questions),
                "equal_answers": same,
                "seconds": statistics.median(taken),
                "per_second": len(questions) / statistics.median(taken),
                "speedup": statistics.median(ratios),
                "speedup_min": min(ratios),
                "speedup_max": max(ratios),
            }
        )
        print(
            f"{shape:26} {name:8} {rows[-1]['per_second']:7.1f} a second, {rows[-1]['speedup']:5.2f} times "
            f"the naive loop, {same} of {len(questions)} answers equal",
            flush=True,
        )
    return rows


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time answering short questions against the naive loop.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--quick", action="store_true", help="a small model and few images")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each variant (3)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads (1)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
