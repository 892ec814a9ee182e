from pathlib import Path

import pytest
from synthetic import Shape, make_run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it; tests do not change it."""
    return make_run(tmp_path_factory.mktemp("run"), Shape())
