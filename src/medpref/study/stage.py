"""Stages: pieces of work with a folder each, keyed by everything their result depends on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medpref import __version__
from medpref.files import content_hash, read_json
from medpref.registry import Registry

STAMP = "stage.json"


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of work.

    Attributes:
        name: also its folder below the run's ``stages``.
        work: the name of the function in `stage_functions`.
        params: what the function is given besides earlier results; plain JSON values.
        needs: names of the stages whose folders it reads, by role.
        threads: processor threads it computes with. Part of the key: sums in another order round differently.
        after: names of stages that must have ended before it begins, though its result does not depend on
            theirs; no part of the key.
        workers: processes that it may use for work whose result does not depend on their number; no part of
            the key.
    """

    name: str
    work: str
    params: Mapping[str, Any] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    after: tuple[str, ...] = ()
    workers: int = 1

    def before(self) -> set[str]:
        """Return the names of the stages that must have ended before this one begins."""
        return {*self.needs.values(), *self.after}


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage function gets.

    Attributes:
        folder: where it writes; becomes the stage's folder when the function returns. What a killed run left
            there is still there, so that the function may go on from it.
        params: the stage's parameters.
        needs: folders of earlier stages, by role.
        run: the run's folder; files below it are named relative to it in logs.
        cache: where results that other stages or runs may use again are kept.
        advance: call with the amount of work done.
        expect: call with the whole amount of work, once it is known.
        workers: processes that it may use.
    """

    folder: Path
    params: Mapping[str, Any]
    needs: Mapping[str, Path]
    run: Path
    cache: Path
    advance: Callable[[int], None]
    expect: Callable[[int], None]
    workers: int = 1


stage_functions: Registry[Callable[[StageContext], None]] = Registry("stage function")


def stage_keys(stages: Mapping[str, Stage]) -> dict[str, str]:
    """Return each stage's key: a hash of its work, parameters, threads, our version and its needs' keys."""
    keys: dict[str, str] = {}
    for name, stage in stages.items():
        above = {role: keys[need] for role, need in stage.needs.items()}
        keys[name] = content_hash(__version__, stage.work, dict(stage.params), above, stage.threads)
    return keys


def stage_folder(run: Path, name: str) -> Path:
    """Return a stage's folder."""
    return run / "stages" / name


def is_done(run: Path, name: str, key: str) -> bool:
    """Tell whether a stage has been finished with this key: its stamp is written last."""
    stamp = stage_folder(run, name) / STAMP
    return stamp.is_file() and read_json(stamp).get("key") == key
