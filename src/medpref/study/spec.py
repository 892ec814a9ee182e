"""What a study file may say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from medpref.errors import InputError, did_you_mean
from medpref.evaluation.conditions import conditions
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.looking import ErrorJudgeSettings
from medpref.evaluation.radiology import metrics
from medpref.evaluation.tasks import tasks
from medpref.files import UserPath
from medpref.objectives import objectives
from medpref.starts import backbones
from medpref.study.datasets import DataSpec, Use
from medpref.study.executors import executors
from medpref.study.explain import check_settings
from medpref.study.method import MethodSpec, Name, Settled, Strict, located
from medpref.study.presets import with_preset
from medpref.training.settings import TrainingSettings


class BackboneSpec(Settled):
    """One backbone: a name for the tables, a family, and the family's settings."""

    name: Name
    family: str


class SearchSpec(Strict):
    """How settings are chosen: by one metric on the validation split, with the same budget for each method.

    Attributes:
        task: whose validation samples are asked.
        metric: the score that decides.
        candidates: settings of training or objectives, one training run each.
        seeds: the seeds that candidates are tried with: what scores best there on average is taken with every
            seed. By default each seed tries them all and chooses for itself.
    """

    task: str
    metric: str = "accuracy"
    candidates: tuple[dict[str, Any], ...] = ({},)
    seeds: tuple[int, ...] | None = Field(None, min_length=1)


class JudgeSpec(Settled):
    """Who labels facts: a judge's name, and its settings."""

    judge: str


class ReportSpec(Strict):
    """How captions and reports are scored beside their words.

    Attributes:
        judge: labels the atomic facts of references and answers, such as ``rules``.
        facts: a file with the references' facts; those of other samples are split off by rules.
        metrics: radiology metrics of other packages.
        python: the interpreter of an environment that has these packages.
    """

    judge: JudgeSpec | None = None
    facts: UserPath | None = None
    metrics: tuple[str, ...] = ()
    python: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_judge(cls, value: Any) -> Any:
        """Let a judge's name stand for the judge."""
        if isinstance(value, dict) and isinstance(value.get("judge"), str):
            return {**value, "judge": {"judge": value["judge"]}}
        return value

    def check(self) -> None:
        """Look up the judge and the metrics, and check their settings. Raises `InputError`."""
        if self.judge is not None:
            with located("judge"):
                check_settings(judges[self.judge.judge].settings, self.judge.settings)
        with located("metrics"):
            for name in self.metrics:
                metrics[name]  # raises for an unknown name


class AttributionSpec(Strict):
    """How much of gradient × input lies in the region of interest.

    Attributes:
        samples: the most samples of a task that are looked at, drawn by their ids: the same for all methods.
            By default all that have a region.
    """

    samples: int | None = Field(None, ge=1)


class LaunchSpec(Strict):
    """Several processes for each training.

    Attributes:
        config: an accelerate configuration, such as those in ``configs``.
        processes: how many; by default as many as the configuration says.
    """

    config: UserPath
    processes: int | None = Field(None, ge=1)


class ExecutorSpec(Settled):
    """Where stages are worked on: an executor's name, and its settings."""

    on: str = "local"

    def check(self) -> None:
        """Look up the executor, and check its settings. Raises `InputError`."""
        check_settings(executors[self.on].settings, self.settings)


class StudySpec(Strict):
    """A whole study.

    Attributes:
        study: the name, also of the folder under ``runs/``.
        title: a line for the report.
        data: the source, or several.
        backbones: one or more.
        base: also ask the backbones as they are before SFT, as the method ``base``.
        sft: how the prepared backbone becomes the SFT model that every method starts from.
        methods: by the name that stands in the tables; what a preset says is in place.
        controls: the methods that all others are compared with; ``sft`` is the starting point itself.
        training: the settings that all methods share.
        search: how settings are chosen.
        tasks: what is asked on the test split.
        seeds: one whole run each: start, SFT and methods.
        conditions: how the test samples are shown, beside ``normal``: ``blank`` for a uniform image, …
        reports: how captions and reports are scored beside their words.
        error_judge: a model behind an endpoint that sorts wrong answers by their error, beside the rules.
        likelihood: also score closed answers by how likely the model finds them.
        attribution: also score how much of gradient × input lies in the region of interest; true for all
            samples that have one.
        on_bad_row: put rows that fail a check aside, or stop at the first.
        on_too_long: stop at a pair that does not fit the context, or leave it out, counted and named.
        generation_batch: questions that are answered at a time.
        workers: processes that run stages side by side; by default one for each core, two at most.
        threads: processor threads of starts and SFT, a part of what their results depend on; by default as
            many as the workers leave, two at most.
        executor: what works on the stages: processes on this machine, or a cluster's jobs.
        launch: train in several processes at once; by default each training is one process.
    """

    study: Name
    title: str = ""
    data: DataSpec
    backbones: tuple[BackboneSpec, ...] = Field(min_length=1)
    base: bool = False
    sft: TrainingSettings = TrainingSettings()
    methods: dict[Name, MethodSpec] = Field({})
    controls: tuple[str, ...] = ("sft",)
    training: TrainingSettings = TrainingSettings()
    search: SearchSpec | None = None
    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    conditions: tuple[str, ...] = ("normal", "blank")
    reports: ReportSpec | None = None
    error_judge: ErrorJudgeSettings | None = None
    likelihood: bool = True
    attribution: AttributionSpec | None = None
    on_bad_row: Literal["quarantine", "fatal"] = "quarantine"
    on_too_long: Literal["fatal", "skip"] = "fatal"
    generation_batch: int = Field(256, ge=1)
    workers: int | None = Field(None, ge=1)
    threads: int | None = Field(None, ge=1)
    executor: ExecutorSpec = ExecutorSpec()
    launch: LaunchSpec | None = None
    folder: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, value: Any) -> Any:
        """Put each method over the preset that it names."""
        if not isinstance(value, dict) or not isinstance(value.get("methods"), dict):
            return value
        methods = dict(value["methods"])
        for name, method in methods.items():
            if method is None or isinstance(method, dict):
                with located(f"methods.{name}"):
                    methods[name] = with_preset(str(name), method)
        return {**value, "methods": methods}

    @model_validator(mode="before")
    @classmethod
    def _short_attribution(cls, value: Any) -> Any:
        """Let true stand for all samples, and false for none."""
        if isinstance(value, dict) and isinstance(value.get("attribution"), bool):
            return {**value, "attribution": {} if value["attribution"] else None}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> "StudySpec":
        self._check_named()
        names = [spec.name for spec in self.backbones]
        if len(set(names)) < len(names):
            raise ValueError("two backbones have the same name")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is listed twice")
        for seed in (self.search and self.search.seeds) or ():
            if seed not in self.seeds:
                raise InputError(f"{seed} is no seed of this study", where="search.seeds")
        self._check_order()
        for name, what in (("sft", "the starting point"), ("base", "the backbone before SFT")):
            if name in self.methods:
                raise InputError(
                    f"a method cannot be called {name!r}: that is {what}",
                    where=f"methods.{name}",
                    remedy=f"Call it {name}-continued." if name == "sft" else "Give it another name.",
                )
        own = ["sft", *(["base"] if self.base else [])]
        for name in self.controls:
            if name not in own and name not in self.methods:
                remedy = did_you_mean(name, [*own, *self.methods])
                raise InputError(
                    f"control {name!r} is no method of this study", where="controls", remedy=remedy
                )
        self._check_probe("sft", self.sft)
        self._check_probe("training", self.training)
        self._check_candidates()
        return self

    def _check_named(self) -> None:
        """Look up everything that the study names, and check its settings."""
        with located("data"):
            self.data.check()
            self.data.check_backbones(spec.name for spec in self.backbones)
        for number, backbone in enumerate(self.backbones):
            with located(f"backbones.{number}"):
                check_settings(backbones[backbone.family].settings, backbone.settings)
        for name, method in self.methods.items():
            with located(f"methods.{name}"):
                method.check()
        with located("conditions"):
            for name in self.conditions:
                conditions[name]  # raises for an unknown name
        if self.attribution is not None and "normal" not in self.conditions:
            raise InputError(
                "it looks at the samples as they are, and they are not asked so",
                where="attribution",
                remedy="Add normal to conditions.",
            )
        if self.reports is not None:
            with located("reports"):
                self.reports.check()
                if not any(tasks[name].reports for name in self.tasks):
                    raise InputError("no task of this study has reports or captions to score")
        with located("executor"):
            self.executor.check()
        self._check_tasks("tasks", self.tasks, "test")
        if self.search:
            self._check_tasks("search.task", [self.search.task], "validation")

    def _check_tasks(self, key: str, names: Sequence[str], use: Use) -> None:
        """Look up tasks, and check that the data has something to ask of them. Raises `InputError`."""
        given = self.data.tasks(use)
        with located(key):
            for name in names:
                tasks[name]  # raises for an unknown name
                if name not in given:
                    what = f"data source {self.data.source!r} has" if self.data.source else "these sets have"
                    remedy = f"It gives {', '.join(given)}."
                    raise InputError(f"{what} no task {name!r}", remedy=remedy)

    def _check_order(self) -> None:
        """Check that methods which begin with others' models name methods, and no circle."""
        for name in self.methods:
            seen, at = [name], self.methods[name].after
            while at is not None:
                if at not in self.methods:
                    raise InputError(
                        f"{at!r} is no method of this study",
                        where=f"methods.{seen[-1]}.after",
                        remedy=did_you_mean(at, self.methods),
                    )
                if at in seen:
                    raise InputError(
                        f"the methods {', '.join(seen)} begin with each other's models",
                        where=f"methods.{name}.after",
                    )
                seen.append(at)
                at = self.methods[at].after

    def in_order(self) -> list[str]:
        """Return the methods' names, each behind the one whose model it begins with."""

        def depth(name: str) -> int:
            before = self.methods[name].after
            return 0 if before is None else 1 + depth(before)

        return sorted(self.methods, key=depth)

    def searched(self) -> tuple[int, ...]:
        """Return the seeds that all candidates are trained with."""
        return (self.search and self.search.seeds) or self.seeds

    def _check_candidates(self) -> None:
        budgets = {name: len(self.candidates(name)) for name in self.methods}
        if len(set(budgets.values())) > 1:
            raise ValueError(f"every method needs the same number of candidates; they have {budgets}")
        if self.search is None and any(count > 1 for count in budgets.values()):
            raise ValueError("candidates need a search, which says what task and metric choose among them")
        for name in self.methods:
            for candidate in self.candidates(name):
                self._check_probe(f"methods.{name}.training", self.resolve(name, candidate)[0])

    def _check_probe(self, where: str, training: TrainingSettings) -> None:
        """Check that there are samples to ask while a model is trained."""
        if training.probe_every is not None and self.search is None:
            raise InputError(
                "probe_every asks the validation samples of the search's task, and this study has no search",
                where=f"{where}.probe_every",
                remedy="Add search: {task: …}. One candidate is enough.",
            )

    def candidates(self, method: str) -> tuple[dict[str, Any], ...]:
        """Return the settings that are tried for a method."""
        own = self.methods[method].candidates
        return own if own is not None else self.search.candidates if self.search else ({},)

    def resolve(
        self, method: str, candidate: dict[str, Any]
    ) -> tuple[TrainingSettings, dict[str, dict[str, Any]]]:
        """Return a candidate's whole training settings, and each part's objective settings.

        A candidate's key is a training setting, or an objective's setting: of every part that has it.

        Raises:
            InputError: it is neither.
        """
        spec = self.methods[method]
        ours = {key: value for key, value in candidate.items() if key in TrainingSettings.model_fields}
        theirs = {key: value for key, value in candidate.items() if key not in ours}
        known = {key for part in spec.mixture.values() for key in objectives[part.objective].settings}
        for key in theirs.keys() - known:
            raise InputError(
                f"a candidate has the unknown setting {key!r}",
                where=f"methods.{method}.candidates" if spec.candidates else "search.candidates",
                remedy=did_you_mean(key, [*TrainingSettings.model_fields, *known]),
            )
        if "precision" in {**spec.training, **ours}:
            raise InputError(
                "precision is the same for all methods, as the reference is",
                where=f"methods.{method}",
                remedy="Set it in the study's training.",
            )
        merged = {**self.training.model_dump(), **spec.training, **ours}
        training = check_settings(TrainingSettings, merged, f"methods.{method}.training")
        settings = {}
        for name, part in spec.mixture.items():
            objective = objectives[part.objective]
            tried = {key: value for key, value in theirs.items() if key in objective.settings}
            objective.check_settings(tried, f"methods.{method}.candidates")
            settings[name] = {**objective.settings, **part.settings, **tried}
        return training, settings
