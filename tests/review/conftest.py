import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.report.synthetic import Shape, make_run

from medpref.review.opening import Opened, open_review
from medpref.review.plan import Item

Opener = Callable[..., Opened]


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three methods; tests copy it."""
    shape = Shape(images=6, methods=("sft", "sft-continued", "dpo"), blank=False, search=False, curves=False)
    return make_run(tmp_path_factory.mktemp("made") / "run", shape)


@pytest.fixture
def run(made_run: Path, tmp_path: Path) -> Path:
    """A run of its own for each test."""
    return Path(shutil.copytree(made_run, tmp_path / "run"))


@pytest.fixture
def opened(run: Path) -> Iterator[Opened]:
    """A review that has begun, with the reviewers Ada and Grace."""
    with open_review(run, {"questions": 12, "reference": True}) as opened:
        for name in ("Ada", "Grace"):
            opened.access.add(name)
        yield opened


@pytest.fixture
def answer(opened: Opened) -> Item:
    """One answer to judge."""
    return next(item for item in opened.store.plan.items if item.kind == "answer")


@pytest.fixture
def comparison(opened: Opened) -> Item:
    """Two answers side by side."""
    return next(item for item in opened.store.plan.items if item.kind == "comparison")
