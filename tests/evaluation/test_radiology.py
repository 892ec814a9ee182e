"""The metrics' packages are faked: what is tested is that nothing they do crashes or becomes a zero."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medpref.errors import InputError
from medpref.evaluation.radiology import Unscored, metrics, score_reports

Fake = Callable[..., None]

RADGRAPH = """
import os, signal, sys, time
class F1RadGraph:
    def __init__(self, reward_level, model_type, batch_size):
        assert (reward_level, model_type) == ("partial", "radgraph-xl")
        {load}
    def __call__(self, hyps, refs):
        with open({calls!r}, "a") as calls: calls.write(f"{{len(hyps)}}\\n")
        values = []
        for hyp, ref in zip(hyps, refs, strict=True):
            {score}
            words, known = set(hyp.split()), set(ref.split())
            values.append(len(words & known) / len(words | known))
        return sum(values) / len(values), values, [], []
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes before all installed packages, with a torch that takes no time to import."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "torch.py").write_text("class cuda:\n    is_available = staticmethod(lambda: False)\n")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return packages


@pytest.fixture
def radgraph(folder: Path) -> Fake:
    def write(load: str = "pass", score: str = "pass") -> None:
        text = RADGRAPH.format(load=load, score=score, calls=str(folder / "calls"))
        (folder / "radgraph.py").write_text(text)

    return write


def calls(folder: Path) -> list[int]:
    file = folder / "calls"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def reasons(results: list[float | Unscored]) -> list[str]:
    return [result.reason if isinstance(result, Unscored) else f"scored {result}" for result in results]


def test_scores_come_back_in_order(radgraph: Fake) -> None:
    radgraph()
    answers = ["clear lungs", "clear lungs", "effusion", "clear heart"]
    assert score_reports("radgraph-f1", answers, ["clear lungs"] * 4, batch=2) == [
        1,
        1,
        0,
        pytest.approx(1 / 3),
    ]


def test_batches(radgraph: Fake, folder: Path) -> None:
    radgraph()
    score_reports("radgraph-f1", [str(number) for number in range(5)], ["1"] * 5, batch=2)
    assert calls(folder) == [2, 2, 1]


def test_nothing_to_score() -> None:
    assert score_reports("radgraph-f1", [], []) == []


def test_blank_reports(radgraph: Fake) -> None:
    radgraph()
    results = score_reports("radgraph-f1", ["", " \n", "clear", ""], ["clear", "clear", " ", ""])
    nothing = Unscored("the reference is empty")
    assert results == [0, 0, nothing, nothing]


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("raise ImportError('no CUDA kernels')", "ImportError: no CUDA kernels"),
        ("raise ModuleNotFoundError('No module', name='h5py')", "needed by radgraph"),
        ("raise ImportError('cannot import name', name='radgraph')", "ImportError: cannot import name"),
        ("raise MemoryError", "MemoryError"),
        ("sys.exit('no licence')", "SystemExit: no licence"),
        ("raise OSError('cannot connect to the hub\\nlong text')", "HF_HUB_OFFLINE"),
        ("raise FileNotFoundError('weights.th')", "radgraph-xl"),
        ("os._exit(3)", "code 3"),
        ("print('out of patience'); os._exit(3)", "code 3"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "out of memory"),
    ],
)
def test_what_cannot_be_loaded_is_unscored(radgraph: Fake, folder: Path, load: str, said: str) -> None:
    radgraph(load=load)
    results = score_reports("radgraph-f1", ["clear", "", "dense"], ["clear"] * 3)
    assert all(said in reason for reason in reasons(results)), results
    assert calls(folder) == []


def test_a_package_that_is_not_installed(folder: Path) -> None:
    (folder / "radgraph.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'radgraph'\", name='radgraph')"
    )
    expected = "radgraph is not installed: pip install 'medpref[radgraph]'"
    assert reasons(score_reports("radgraph-f1", ["clear", ""], ["clear", "clear"])) == [expected] * 2


@pytest.mark.parametrize(("said", "expected"), [(None, "1"), ("0", "0"), ("1", "1")])
def test_offline_unless_the_environment_says_otherwise(
    radgraph: Fake, monkeypatch: pytest.MonkeyPatch, said: str | None, expected: str
) -> None:
    if said is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", said)
    radgraph(load="raise OSError('offline is ' + os.environ['HF_HUB_OFFLINE'])")
    (reason,) = reasons(score_reports("radgraph-f1", ["clear"], ["clear"]))
    assert f"offline is {expected}" in reason
    assert ("nothing is downloaded" in reason) == (expected == "1")


@pytest.mark.parametrize(
    ("score", "said"),
    [
        ("if hyp == 'bad': raise ValueError('cannot read this')", "cannot read this"),
        ("if hyp == 'bad': values += [1.0]", "2 scores for 1 reports"),
        ("if hyp == 'bad': values.append(float('nan')); continue", "nan"),
        ("if hyp == 'bad': values.append(1.5); continue", "1.5"),
        ("if hyp == 'bad': os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("if hyp == 'bad': os._exit(0)", "code 0"),
    ],
)
def test_one_report_does_not_spoil_the_others(radgraph: Fake, score: str, said: str) -> None:
    radgraph(score=score)
    results = score_reports("radgraph-f1", ["clear", "bad", "dense", "clear"], ["clear"] * 4, batch=1)
    assert [results[0], *results[2:]] == [1, 0, 1]
    assert said in reasons(results)[1]


def test_a_batch_that_fails_is_scored_one_by_one(radgraph: Fake, folder: Path) -> None:
    radgraph(score="if hyp == 'bad': raise RuntimeError('too long')")
    results = score_reports("radgraph-f1", ["clear", "bad", "dense"], ["clear"] * 3, batch=3)
    assert results == [1, Unscored("RuntimeError: too long"), 0]
    assert calls(folder) == [3, 1, 1, 1]


def test_a_metric_that_always_dies_is_given_up(radgraph: Fake, folder: Path) -> None:
    radgraph(score="os._exit(5)")
    results = score_reports("radgraph-f1", list("abcdefgh"), ["clear"] * 8, batch=1)
    assert all("code 5" in reason for reason in reasons(results))
    assert calls(folder) == [1, 1, 1]


def test_the_cache_keeps_scores_and_no_reasons(radgraph: Fake, folder: Path, tmp_path: Path) -> None:
    radgraph(score="if hyp == 'bad': raise ValueError('no')")
    ask = ["clear lungs", "bad", ""], ["clear lungs"] * 3
    first = score_reports("radgraph-f1", *ask, cache=tmp_path / "cache", batch=1)
    assert first == [1, Unscored("ValueError: no"), 0]
    radgraph()
    again = score_reports("radgraph-f1", *ask, cache=tmp_path / "cache", batch=1)
    assert again == [1, 0, 0]
    assert len(calls(folder)) == 2 + 1, "only the report without a score was asked again"
    (file,) = (tmp_path / "cache").iterdir()
    assert "lungs" not in file.read_text(), "reports may be confidential"


def test_a_full_cache_needs_no_package(radgraph: Fake, folder: Path, tmp_path: Path) -> None:
    radgraph()
    ask = ["clear"], ["clear lungs"]
    first = score_reports("radgraph-f1", *ask, cache=tmp_path / "cache")
    with (tmp_path / "cache" / "radgraph-f1.jsonl").open("a") as file:
        file.write('["cut sho')
    radgraph(load="raise OSError('gone')")
    assert score_reports("radgraph-f1", *ask, cache=tmp_path / "cache") == first == [0.5]


def test_an_interpreter_that_is_not_there() -> None:
    (reason,) = reasons(score_reports("radgraph-f1", ["clear"], ["clear"], python="/nowhere/python"))
    assert "/nowhere/python cannot be started" in reason


def test_chexbert(folder: Path) -> None:
    inner = folder / "radeval" / "metrics" / "f1chexbert"
    inner.mkdir(parents=True)
    (inner / "f1chexbert.py").write_text(
        "class F1CheXbert:\n"
        "    def __init__(self, device, batch_size): assert device == 'cpu'\n"
        "    def get_labels(self, reports): return [[int(c) for c in report] for report in reports]\n"
    )
    results = score_reports("chexbert-f1", ["1100", "0000", "0000", "1111"], ["1010", "0001", "0000", "1111"])
    assert results == [0.5, 0, Unscored("CheXbert finds nothing in either report"), 1]


def test_ratescore_without_entities_is_no_half(folder: Path) -> None:
    (folder / "RaTEScore.py").write_text(
        "class RaTEScore:\n"
        "    def __init__(self, use_gpu, batch_size): assert not use_gpu\n"
        "    def compute_score(self, candidates, references): return [float(text) for text in candidates]\n"
    )
    results = score_reports("ratescore", ["0.5", "0.75", "0"], ["x"] * 3)
    assert results == [Unscored("RaTEScore finds no entity in one of the reports"), 0.75, 0]


def test_green_replies_that_cannot_be_read_are_no_zero(folder: Path) -> None:
    inner = folder / "radeval" / "metrics" / "green_score"
    inner.mkdir(parents=True)
    (inner / "green.py").write_text(
        "class GREEN:\n"
        "    def __init__(self, model_name, cpu, num_gpus): assert cpu\n"
        "    def __call__(self, refs, hyps):\n"
        "        self.completions = hyps\n"
        "        return 0.0, 0.0, [0.25 if 'Matched' in hyp else 0 for hyp in hyps], None\n"
        "    def parse_error_counts(self, text, category, for_reward=False):\n"
        "        return (1, []) if category in text else (None, None)\n"
    )
    whole = "[Clinically Significant Errors]: … [Matched Findings]: …"
    results = score_reports("green", [whole, "I am sorry", "[Matched Findings]: 1"], ["x"] * 3)
    assert results[0] == 0.25
    assert ["has no part" in reason for reason in reasons(results)] == [False, True, True]


def test_calls_that_make_no_sense() -> None:
    with pytest.raises(InputError, match="no report metric called 'radgraf'"):
        score_reports("radgraf", [], [])
    with pytest.raises(ValueError, match="1 predictions, 2 references"):
        score_reports("green", ["a"], ["a", "b"])
    with pytest.raises(ValueError, match="batch"):
        score_reports("green", ["a"], ["a"], batch=0)


def test_every_metric_has_its_scorer_and_its_extra() -> None:
    text = Path(__file__).parents[2].joinpath("pyproject.toml").read_text()
    for name, metric in metrics.items():
        assert metric.scorer.is_file(), name
        assert f'\n{metric.extra} = ["{metric.distribution}' in text, name


@pytest.mark.slow
def test_meteor_itself() -> None:
    pytest.importorskip("pycocoevalcap")
    if shutil.which("java") is None:
        pytest.skip("there is no java")
    answers = ["the lungs are clear", "a physician looked", "xyz", "clear\nlungs ||| heart"]
    golds = ["the lungs are clear", "a doctor looked", "the lungs are clear", "clear lungs heart"]
    scores = [score for score in score_reports("meteor", answers, golds) if isinstance(score, float)]
    assert scores[0] == scores[3] == 1
    assert 0.8 < scores[1] < 1, "physician and doctor are synonyms"
    assert scores[2] == 0


def test_what_takes_too_long_is_ended(radgraph: Fake, folder: Path) -> None:
    radgraph(load=f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    assert score_reports("radgraph-f1", ["clear"], ["clear"], timeout=4) == [Unscored("took over 4 s")]
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)
