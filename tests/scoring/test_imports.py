import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_scorer_can_be_imported_first() -> None:
    code = "import medpref.scoring.scorer"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
