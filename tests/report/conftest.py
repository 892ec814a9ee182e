from pathlib import Path

import pytest
from synthetic import Shape, make_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it; tests do not change it."""
    return make_run(tmp_path_factory.mktemp("run"), Shape())


@pytest.fixture(scope="session")
def looking_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run under many conditions, with likelihoods and two seeds; tests do not change it."""
    shape = Shape(images=44, looking=True, seeds=(0, 1), methods=("sft", "dpo"), controls=("sft",))
    return make_run(tmp_path_factory.mktemp("looking"), shape)
