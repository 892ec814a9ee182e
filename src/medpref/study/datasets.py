"""What a study may say of its data: one source, or several sets with a part to play; and their stages."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from medpref.errors import InputError, did_you_mean
from medpref.pairs.sources import sources
from medpref.study.explain import check_settings
from medpref.study.method import Name, Settled, located
from medpref.study.stage import Stage

Use = Literal["train", "pool", "validation", "test"]
USES: tuple[Use, ...] = get_args(Use)


class SetSpec(Settled):
    """One of several data sets: a source, its settings, and what it is for.

    Attributes:
        source: the source's name.
        use: which of its splits are used: ``train`` for SFT, ``pool`` for preference methods, ``validation``
            for the search, ``test``.
        backbones: those that learn from it and are asked; all by default.
    """

    source: str
    use: tuple[Use, ...] = Field(USES, min_length=1)
    backbones: tuple[str, ...] | None = Field(None, min_length=1)

    def check(self) -> None:
        """Look up the source and check its settings. Raises `InputError`."""
        check_settings(sources[self.source].settings, self.settings)


class DataSpec(Settled):
    """Where images, questions and pairs come from: a source and its settings, or several sets of them.

    Attributes:
        source: the source's name.
        per_seed: draw train, pool and validation anew for each of the study's seeds; the test stays the same.
        sets: in place of `source`, data sets by name. Each model learns from all that are for it together,
            and is asked all tasks.
    """

    source: str = ""
    per_seed: bool = False
    sets: dict[Name, SetSpec] = Field({})

    @model_validator(mode="after")
    def _one_or_several(self) -> "DataSpec":
        if bool(self.source) == bool(self.sets):
            raise ValueError("name one source, or several sets with a source each")
        if self.sets and (self.settings or self.per_seed):
            raise ValueError("with sets, settings of sources stand in the sets, and there is no per_seed")
        return self

    def check(self) -> None:
        """Look up the sources and check their settings. Raises `InputError`."""
        for name, part in self.parts().items():
            with located(f"sets.{name}" if self.sets else ""):
                part.check()
        for use in ("train", "test"):
            if not self.parts(use):
                raise InputError(f"no set is used for {use}", where="sets")
        if self.per_seed and sources[self.source].redraw is None:
            able = [name for name, other in sources.items() if other.redraw is not None]
            raise InputError(
                f"the source {self.source!r} cannot be drawn anew",
                where="per_seed",
                remedy=f"Leave it out; it is for {', '.join(able)}.",
            )

    def check_backbones(self, known: Iterable[str]) -> None:
        """Check that the sets name backbones of the study, and leave none untrained. Raises `InputError`."""
        names = list(known)
        for name, part in self.sets.items():
            for backbone in part.backbones or ():
                if backbone not in names:
                    raise InputError(
                        f"{backbone!r} is no backbone of this study",
                        where=f"sets.{name}.backbones",
                        remedy=did_you_mean(backbone, names),
                    )
        for backbone in names:
            if not self.parts("train", backbone):
                raise InputError(f"no set trains the backbone {backbone!r}", where="sets")

    def parts(self, use: Use | None = None, backbone: str | None = None) -> dict[str, SetSpec]:
        """Return the sets by name that have a use, for a backbone; a single source has the name ``""``."""
        if not self.sets:
            return {"": SetSpec(source=self.source, **self.settings)}
        return {
            name: part
            for name, part in self.sets.items()
            if (use is None or use in part.use)
            and (backbone is None or part.backbones is None or backbone in part.backbones)
        }

    def tasks(self, use: Use) -> list[str]:
        """Return the tasks that there is something to ask of."""
        return list(dict.fromkeys(task for p in self.parts(use).values() for task in sources[p.source].tasks))

    @property
    def differs(self) -> bool:
        """Whether backbones learn from different sets."""
        return any(part.backbones is not None for part in self.sets.values())


def data_stages(data: DataSpec, on_bad_row: str, seed: int) -> list[Stage]:
    """Return the stages that read the data of one of a study's seeds."""
    if not data.sets:
        return [data_stage(data, on_bad_row, seed)]
    return [
        Stage(
            f"data/{name}",
            "data",
            {**_params(part.source, part.settings), "fatal": on_bad_row == "fatal", "use": list(part.use)},
        )
        for name, part in data.sets.items()
    ]


def data_stage(data: DataSpec, on_bad_row: str, seed: int = 0) -> Stage:
    """Return the stage that reads a single source; its key changes with what lies behind the settings."""
    said = data.settings
    redraw = sources[data.source].redraw
    if data.per_seed and redraw is not None:
        settings = sources[data.source].settings.model_validate(said)
        said = redraw(settings, seed).model_dump(mode="json")
    name = f"data/seed-{seed}" if data.per_seed else "data"
    return Stage(name, "data", {**_params(data.source, said), "fatal": on_bad_row == "fatal"})


def _params(source: str, said: dict[str, Any]) -> dict[str, Any]:
    settings = sources[source].settings.model_validate(said)
    return {"source": source, "settings": said, "digest": sources[source].digest(settings)}


def data_needs(data: DataSpec, seed: int, backbone: str | None = None) -> dict[Use, dict[str, str]]:
    """Return, for each use, the stages with that data, by the role that they have in a stage's needs."""
    if not data.sets:
        name = f"data/seed-{seed}" if data.per_seed else "data"
        return {use: {"data": name} for use in USES}
    return {use: {f"data/{use}/{name}": f"data/{name}" for name in data.parts(use, backbone)} for use in USES}


def texts_params(stages: Mapping[str, Stage], needs: Mapping[Use, Mapping[str, str]]) -> dict[str, Any]:
    """Return what `training_texts` is to read: the sources that a backbone learns from, and their state."""
    names = dict.fromkeys([*needs["train"].values(), *needs["pool"].values()])
    keys = ("source", "settings", "digest")
    found = {name: {key: stages[name].params[key] for key in keys} for name in names}
    return found["data"] if list(found) == ["data"] else {"several": found}


def training_texts(said: Mapping[str, Any]) -> Iterable[str]:
    """Yield the texts that a tokenizer may learn from."""
    for each in said["several"].values() if "several" in said else (said,):
        source = sources[each["source"]]
        yield from source.texts(source.settings.model_validate(each["settings"]))
