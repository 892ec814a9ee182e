"""Ask a model a task's questions, batch by batch, so that a killed run goes on where it was."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from medpref.backbones.base import Backbone
from medpref.evaluation.log import EvaluationLog, LogHeader, Record
from medpref.evaluation.tasks.base import Task
from medpref.files import disk_errors, relative_to
from medpref.pairs.sample import Sample
from medpref.scoring.inputs import InputCache

Advance = Callable[[int], None]


def predict(
    backbone: Backbone,
    samples: Sequence[Sample],
    path: Path,
    *,
    max_new_tokens: int,
    batch: int,
    blank: bool = False,
    inputs: InputCache | None = None,
    advance: Advance = lambda _: None,
) -> list[str]:
    """Answer all samples greedily, writing answers to `path` as they come.

    Batches are always the same, and whole batches are kept, so a run that was killed and started again gives
    the same answers as one that was not.

    Args:
        backbone: the model; put into evaluation mode.
        samples: what is asked.
        path: one JSON list of answers a line, a line a batch.
        max_new_tokens: the longest answer.
        batch: questions answered at a time.
        blank: show a uniform image in the images' mean colour instead of the image.
        inputs: token ids and pixels, kept between calls.
        advance: called with the number of answers done.
    """
    backbone.model.eval()
    cache = inputs or InputCache(backbone)
    # By length, so that little is padded; by image within a length, so that few images are encoded.
    order = sorted(
        range(len(samples)), key=lambda i: (len(cache.prompt_ids(samples[i].prompt)), samples[i].images, i)
    )
    starts = range(0, len(order), batch)
    done = _whole_lines(path, [len(order[start : start + batch]) for start in starts])
    advance(sum(map(len, done)))
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in done), encoding="utf-8")
        with path.open("a", encoding="utf-8") as file:
            for start in list(starts)[len(done) :]:
                asked = [samples[i] for i in order[start : start + batch]]
                done.append(_answer(backbone, asked, cache, max_new_tokens, blank))
                file.write(json.dumps(done[-1], ensure_ascii=False) + "\n")
                file.flush()
                advance(len(asked))
    answers = [""] * len(samples)
    for index, answer in zip(order, (answer for line in done for answer in line), strict=True):
        answers[index] = answer
    return answers


def _whole_lines(path: Path, sizes: Sequence[int]) -> list[list[str]]:
    """Return the batches that an earlier run finished; a line cut short and all behind it are dropped."""
    lines: list[list[str]] = []
    if not path.is_file():
        return lines
    for text, size in zip(
        path.read_text(encoding="utf-8", errors="replace").split("\n"), sizes, strict=False
    ):
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, list) or len(line) != size:
            break
        lines.append(line)
    return lines


def _answer(
    backbone: Backbone, samples: Sequence[Sample], cache: InputCache, max_new_tokens: int, blank: bool
) -> list[str]:
    numbers = {path: i for i, path in enumerate(dict.fromkeys(p for s in samples for p in s.images))}
    stack = [cache.pixels(path) for path in numbers]
    pixels = torch.stack(stack).to(backbone.device) if stack else None
    if blank and pixels is not None:
        # Pixels are normalised: 0 is the mean colour.
        pixels = torch.zeros_like(pixels)
    shown = [[numbers[path] for path in sample.images] for sample in samples]
    return backbone.generate([s.prompt for s in samples], pixels, shown, max_new_tokens=max_new_tokens)


def make_log(
    header: LogHeader, task: Task, samples: Sequence[Sample], answers: Sequence[str], root: Path
) -> EvaluationLog:
    """Score answers and put everything about them into a log, image files relative to `root`."""
    records = []
    for sample, answer in zip(samples, answers, strict=True):
        scored = task.score(sample, answer)
        records.append(
            Record(
                id=sample.id,
                prompt=sample.prompt,
                images=tuple(relative_to(path, root) for path in sample.images),
                cluster=sample.cluster,
                prediction=answer,
                gold=sample.gold,
                kinds=sample.kinds,
                closed=sample.closed,
                scores=scored.scores,
                unscored=scored.unscored,
                region=relative_to(sample.region, root) if sample.region else None,
            )
        )
    return EvaluationLog(header, tuple(records))
