"""The recipe `llm-write`: a language model writes the rejected response, with one error of a named kind."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from medpref.errors import InputError
from medpref.files import UserPath, write_json, write_jsonl
from medpref.pairs.llm.asker import Asker, LiveAsker
from medpref.pairs.llm.batch import BatchAsker
from medpref.pairs.llm.checked import Outcome, ask_checked
from medpref.pairs.llm.cost import FollowUps
from medpref.pairs.llm.prompts import error_kinds, question_text, version, write_messages
from medpref.pairs.llm.replies import Task, Written, find_change, read_written
from medpref.pairs.llm.request import Reply, Request
from medpref.pairs.llm.settings import ModelSettings
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.recipes.base import Recipe, RecipeContext, generator, note_recipe, seed_of
from medpref.pairs.recipes.responses import response_recipes

NAME = "llm-write"
REPORT = f"{NAME}.json"
QUARANTINE = f"{NAME}.quarantine.jsonl"


class WriteSettings(ModelSettings):
    """Who writes rejected responses, and what is taken for one.

    Attributes:
        errors: the kinds of errors that may be made; all by default.
        length_ratio: the least and most words of a response, as multiples of the chosen response's.
        repairs: how often a faulty reply is asked for again, its fault named.
        mode: ``live`` asks the endpoint; ``batch`` writes requests to a file and reads results from others.
        batch_file: where requests go.
        results_file: what came back, of one batch or several.
    """

    errors: tuple[str, ...] | None = Field(None, min_length=1)
    length_ratio: tuple[float, float] = (0.5, 2.0)
    repairs: int = Field(1, ge=0, le=3)
    mode: Literal["live", "batch"] = "live"
    batch_file: UserPath | None = None
    results_file: UserPath | tuple[UserPath, ...] = ()

    @field_validator("errors")
    @classmethod
    def _known(cls, errors: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if unknown := [name for name in errors or () if name not in error_kinds()]:
            raise ValueError(f"no error kind is called {unknown[0]!r}; known: {', '.join(error_kinds())}")
        return errors

    @model_validator(mode="after")
    def _sound(self) -> "WriteSettings":
        least, most = self.length_ratio
        if not 0 <= least <= 1 <= most:
            raise ValueError("length_ratio is (least, most) with 0 ≤ least ≤ 1 ≤ most")
        if (self.mode == "batch") != (self.batch_file is not None):
            raise ValueError("mode: batch and batch_file belong together")
        if self.results and self.mode != "batch":
            raise ValueError("results_file needs mode: batch")
        if self.batch_file in self.results:
            raise ValueError("batch_file would be written over results_file: give it another name")
        return self

    @property
    def results(self) -> tuple[UserPath, ...]:
        """All results files."""
        return self.results_file if isinstance(self.results_file, tuple) else (self.results_file,)


def _batch_asker(settings: WriteSettings) -> Asker:
    # The settings were checked: in this mode there is a file.
    assert settings.batch_file is not None
    return BatchAsker(settings, settings.batch_file, settings.results)


ASKERS: Mapping[str, Callable[[WriteSettings], Asker]] = {"live": LiveAsker, "batch": _batch_asker}


def write(pairs: Sequence[Pair], settings: WriteSettings, context: RecipeContext) -> list[Pair]:
    """Reject what a language model wrote: the chosen response with one error of a named kind.

    Replies that cannot be used after all repairs are put aside in ``llm-write.quarantine.jsonl`` with the
    reason, and their pairs are left out; ``llm-write.json`` counts what was asked. In a dry run nobody is
    asked and another pair's chosen response is rejected.

    Raises:
        InputError: it may cost more than the settings allow, the endpoint refuses, or nothing usable came.
        RunError: the endpoint cannot be reached, or a batch waits to be sent.
    """
    if context.dry:
        return _stand_in(pairs, context)
    errors = [choose_error(pair, settings.errors or tuple(error_kinds()), context.seed) for pair in pairs]
    tasks = [_task(pair, error, settings) for pair, error in zip(pairs, errors, strict=True)]
    requests = [
        _request(pair, error, settings, context.seed) for pair, error in zip(pairs, errors, strict=True)
    ]

    def read(number: int, reply: Reply) -> Written:
        return read_written(reply.text, reply.finish, tasks[number])

    asker = ASKERS[settings.mode](settings)
    asker.foresee(requests, FollowUps(settings.repairs))
    outcomes = ask_checked(asker, requests, read, settings.repairs, context.advance)
    made = []
    for pair, error, outcome in zip(pairs, errors, outcomes, strict=True):
        if outcome.value is None:
            context.leave_out(pair, NAME, outcome.reason)
        else:
            made.append(_with_written(pair, outcome.value, error, settings.model, context.seed))
    _put_aside(pairs, errors, outcomes, context)
    _report(asker, made, errors, outcomes, context)
    if pairs and not made:
        raise InputError(
            f"no reply could be used; the first: {outcomes[0].reason}",
            where=f"{settings.model} at {settings.endpoint}",
            remedy=f"See {context.folder / QUARANTINE}; try another model, or more repairs.",
        )
    return made


def choose_error(pair: Pair, errors: Sequence[str], seed: int) -> str:
    """Return the kind of error that a pair's rejected response is to make.

    The kinds that the question's kind allows are taken, or all where it allows none; of these, those whose
    words occur in the chosen response, or else in the question. One of what is left is drawn.

    Args:
        pair: the pair.
        errors: the kinds that may be made.
        seed: of the draw, which depends on the pair's id besides.
    """
    known = [error_kinds()[name] for name in errors]
    asked = (pair.kind or "").casefold()
    allowed = [kind for kind in known if asked in kind.kinds] or known
    for text in (pair.responses[ResponseRole.CHOSEN], question_text(pair)):
        if spoken_of := [kind for kind in allowed if kind.cues.search(text)]:
            allowed = spoken_of
            break
    return allowed[int(generator(seed, NAME, pair.id).integers(len(allowed)))].name


def _task(pair: Pair, error: str, settings: WriteSettings) -> Task:
    system = write_messages(pair, error, shown=False)[0].text
    instruction = f"{system} {error_kinds()[error].rule}"
    chosen = pair.responses[ResponseRole.CHOSEN]
    return Task(question_text(pair), chosen, error, instruction, settings.length_ratio)


def _request(pair: Pair, error: str, settings: WriteSettings, seed: int) -> Request:
    images = pair.images.get(ImageRole.CLEAN, ()) if settings.allow_images else ()
    messages = write_messages(pair, error, shown=bool(images))
    return Request(pair.id, messages, images, seed_of(str(seed), NAME, pair.id))


def _with_written(pair: Pair, made: Written, error: str, model: str, seed: int) -> Pair:
    rejected = pair.with_response(ResponseRole.REJECTED, made.rejected)
    change = find_change(pair.responses[ResponseRole.CHOSEN], made)
    if change is not None:
        rejected = replace(rejected, changes=(change._replace(error=error),))
    return note_recipe(rejected, f"{NAME} (error: {error}; {model}, prompts {version()})", seed)


def _put_aside(
    pairs: Sequence[Pair],
    errors: Sequence[str],
    outcomes: Sequence[Outcome[Written]],
    context: RecipeContext,
) -> None:
    """Write what could not be used to the quarantine file, raw; the file is there even if it is empty."""
    rows = [
        {"id": pair.id, "error": error, "reason": outcome.reason, "replies": list(outcome.replies)}
        for pair, error, outcome in zip(pairs, errors, outcomes, strict=True)
        if outcome.value is None
    ]
    write_jsonl(context.folder / QUARANTINE, sorted(rows, key=lambda row: str(row["id"])))


def _report(
    asker: Asker,
    made: Sequence[Pair],
    errors: Sequence[str],
    outcomes: Sequence[Outcome[Written]],
    context: RecipeContext,
) -> None:
    written = [error for error, outcome in zip(errors, outcomes, strict=True) if outcome.value is not None]
    repaired = sum(len(outcome.replies) > 1 and outcome.value is not None for outcome in outcomes)
    report: dict[str, Any] = {
        "model": asker.settings.model,
        "endpoint": asker.settings.endpoint,
        "prompts": version(),
        "written": dict(sorted(Counter(written).items())),
        "asked_for": dict(sorted(Counter(errors).items())),
        "repaired": repaired,
        "quarantined": len(outcomes) - len(made),
        "with_known_span": sum(bool(pair.changes) for pair in made),
        "replies": asker.told(),
    }
    write_json(context.folder / REPORT, report)


def _stand_in(pairs: Sequence[Pair], context: RecipeContext) -> list[Pair]:
    """Reject the chosen response of another pair: about as long as what would be written."""
    ordered = sorted(pairs, key=lambda pair: pair.id)
    texts = {
        pair.id: other.responses[ResponseRole.CHOSEN]
        for pair, other in zip(ordered, [*ordered[1:], *ordered[:1]], strict=True)
    }
    return [
        note_recipe(pair.with_response(ResponseRole.REJECTED, texts[pair.id]), f"{NAME} (dry)", context.seed)
        for pair in pairs
    ]


response_recipes.add(
    NAME,
    Recipe(
        "written by a language model at an endpoint, with one error of a named kind", WriteSettings, write
    ),
)
