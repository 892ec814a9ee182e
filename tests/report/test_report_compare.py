import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from browser import EXECUTABLE, browser
from pages import Page
from scipy.stats import norm
from synthetic import HEADLINE, Shape, edit_log, make_run, write_results
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.evaluation.holm import holm
from medpref.evaluation.log import read_logs
from medpref.evaluation.results import build_results
from medpref.files import read_json, write_json
from medpref.phantoms import VISUAL_KINDS
from medpref.report.compare import read_studies, write_comparison
from medpref.report.compare.differences import Difference, find_differences
from medpref.report.compare.tables import warnings

SHAPE = Shape()


def exchanged(run: Path, target: Path, into: str, source: str) -> Path:
    """Copy a run whose answers of one method are those of another."""
    shutil.copytree(run, target)
    for log in (run / "logs").rglob(f"seed-*/{source}/*.eval.jsonl"):
        lines = log.read_text(encoding="utf-8").splitlines()
        header = {**json.loads(lines[0]), "method": into}
        place = target / log.relative_to(run).as_posix().replace(f"/{source}/", f"/{into}/")
        place.write_text("\n".join([json.dumps(header), *lines[1:], ""]), encoding="utf-8")
    write_results(target, SHAPE)
    return target


def of(found: list[Difference], method: str, part: str = "all") -> Difference:
    [one] = [d for d in found if d.first.method == method and d.figure.slice == part]
    return one


def within_one_study(run: Path) -> dict[str, Any]:
    return build_results(
        read_logs(run / "logs"),
        study="x",
        controls=["dpo"],
        headline=HEADLINE,
        slices={"visual": VISUAL_KINDS},
    )


def test_two_studies_are_compared_as_two_methods_of_one_are(whole_run: Path, tmp_path: Path) -> None:
    other = exchanged(whole_run, tmp_path / "other", into="dpo", source="irpo")
    found = find_differences(read_studies([whole_run, other]))
    results = within_one_study(whole_run)
    for part in ("all", "visual"):
        wanted = {"condition": "normal", "metric": "accuracy", "slice": part, "method": "irpo"}
        [row] = [r for r in results["comparisons"] if all(r[key] == value for key, value in wanted.items())]
        delta = of(found, "dpo", part).delta
        assert of(found, "dpo", part).paired
        assert delta.value == pytest.approx(row["difference"], abs=1e-6)
        assert (delta.low, delta.high) == pytest.approx((row["ci_low"], row["ci_high"]), abs=1e-6)
        assert delta.p_value == pytest.approx(row["p_value"], abs=1e-6)
        assert delta.n == row["n"]
    assert of(found, "copo").delta.value == 0.0
    assert of(found, "copo").delta.p_value == 1.0


def test_several_seeds_are_a_random_effect(looking_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(looking_run, other)
    for log in (looking_run / "logs").rglob("seed-*/sft/*.eval.jsonl"):
        lines = log.read_text(encoding="utf-8").splitlines()
        header = {**json.loads(lines[0]), "method": "dpo"}
        place = other / log.relative_to(looking_run).as_posix().replace("/sft/", "/dpo/")
        place.write_text("\n".join([json.dumps(header), *lines[1:], ""]), encoding="utf-8")
    found = find_differences(read_studies([looking_run, other]))
    wanted = {"condition": "normal", "metric": "accuracy", "slice": "all", "method": "sft", "seed": "all"}
    rows = within_one_study(looking_run)["comparisons"]
    [row] = [r for r in rows if all(r[key] == value for key, value in wanted.items())]
    delta = of(found, "dpo").delta
    assert (delta.low, delta.high) == pytest.approx((row["ci_low"], row["ci_high"]), abs=1e-6)
    assert delta.p_value == pytest.approx(max(row["p_value"], row["p_seeds"]), abs=1e-6)


def test_all_differences_are_corrected_together(whole_run: Path, tmp_path: Path) -> None:
    studies = [
        whole_run,
        exchanged(whole_run, tmp_path / "a", into="dpo", source="irpo"),
        exchanged(whole_run, tmp_path / "b", into="irpo", source="dpo"),
    ]
    found = find_differences(read_studies(studies))
    assert len(found) == 2 * 2 * 5
    p_values = [one.delta.p_value for one in found]
    assert all(p is not None for p in p_values)
    assert [one.delta.p_study for one in found] == holm([p for p in p_values if p is not None])


def test_other_samples_are_not_paired(whole_run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", Shape(images=9))
    studies = read_studies([whole_run, other])
    found = find_differences(studies)
    one = of(found, "dpo")
    assert not one.paired
    scores = [study.index.score("tiny", "dpo", one.figure) for study in studies]
    values = [score.value for score in scores if score and score.value is not None]
    delta = one.delta
    assert delta.value == pytest.approx(values[1] - values[0], abs=1e-6)
    assert delta.low is not None
    assert delta.high is not None
    half = (delta.high - delta.low) / 2
    assert (delta.high + delta.low) / 2 == pytest.approx(delta.value)
    assert delta.p_value == pytest.approx(2 * norm.sf(abs(delta.value or 0) / (half / norm.ppf(0.975))))
    # The variances of both add up: wider than the wider of the two intervals, narrower than both together.
    widths = [(s.high - s.low) / 2 for s in scores if s and s.low is not None and s.high is not None]
    assert max(widths) < half < sum(widths)
    [told] = [text for text in warnings(studies, found) if "phantom-vqa" in text]
    assert "the questions of the test differ" in told
    assert "unpaired" in told


def test_other_images_are_not_paired(whole_run: Path, tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        runs.append(tmp_path / f"run-{number}")
        shutil.copytree(whole_run, runs[-1])
        told = {"test": {"phantom-vqa": {"images_sha256": f"hash {number}"}}}
        write_json(runs[-1] / "logs" / "manifest.json", told)
    studies = read_studies(runs)
    assert not any(one.paired for one in find_differences(studies))
    write_json(runs[1] / "logs" / "manifest.json", read_json(runs[0] / "logs" / "manifest.json"))
    found = find_differences(read_studies(runs))
    assert all(one.paired and not one.note for one in found)


def test_backbones_of_other_names_are_compared_where_each_has_one(whole_run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", Shape(backbones=("wide",)))
    studies = read_studies([whole_run, other])
    found = find_differences(studies)
    assert {(one.first.backbone, one.second.backbone) for one in found} == {("tiny", "wide")}
    assert any("backbone tiny" in text and "wide" in text for text in warnings(studies, found))


def test_two_versions_of_a_task_are_refused(whole_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole_run, other)
    for log in (other / "logs").rglob("*.eval.jsonl"):
        lines = log.read_text(encoding="utf-8").splitlines()
        log.write_text("\n".join([json.dumps({**json.loads(lines[0]), "task_version": 2}), *lines[1:], ""]))
    with pytest.raises(InputError, match="versions 1, 2"):
        find_differences(read_studies([whole_run, other]))


def test_one_study_is_no_comparison(whole_run: Path) -> None:
    for runs in ([whole_run], [whole_run, whole_run]):
        with pytest.raises(InputError, match="at least two"):
            read_studies(runs)


def test_the_page_and_its_tables(whole_run: Path, tmp_path: Path) -> None:
    other = exchanged(whole_run, tmp_path / "other", into="dpo", source="irpo")
    about = read_json(other / "run.json")
    about["study"]["methods"]["dpo"]["settings"]["beta"] = 0.5
    about["study"]["data"]["folder"] = "/another/private/place"
    write_json(other / "run.json", about)
    studies = read_studies([whole_run, other])
    differences = write_comparison(studies, tmp_path / "x.html")
    html = (tmp_path / "x.html").read_text(encoding="utf-8")
    page = Page(html)
    text = " ".join("".join(page.text).split())
    assert page.sections == ["studies", "scores", "settings"]
    assert "methods.dpo.settings.beta" in text
    assert "/another/private" not in text
    assert "paired, n = " in text
    assert all("scope" in attributes for attributes in page.every("th"))
    [path] = (tmp_path / "x-tables").glob("compare.phantom-vqa.accuracy.visual.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = {row["Method"]: row for row in csv.DictReader(file)}
    first, second = (study.label for study in studies)
    assert float(rows["dpo"][f"{second} less {first}"]) == of(differences, "dpo", "visual").delta.value
    if EXECUTABLE:
        with browser(tmp_path / "profile") as chromium:
            chromium.open(tmp_path / "x.html", width=390, phone=True)
            assert chromium.complaints == []
            assert chromium.run("document.documentElement.scrollWidth") <= 390


def test_what_a_study_is_called_is_escaped(whole_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(whole_run, other)
    results = read_json(other / "results.json")
    write_json(other / "results.json", {**results, "study": "<script>alert(1)</script>"})
    write_comparison(read_studies([whole_run, other]), tmp_path / "x.html")
    assert Page((tmp_path / "x.html").read_text(encoding="utf-8")).every("script") == []


def test_the_command(whole_run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", Shape(images=9))
    edit_log(next((other / "logs").rglob("seed-0/dpo/training.jsonl")))
    told = CliRunner().invoke(app, ["compare", str(whole_run), str(other), "--out", str(tmp_path / "x.html")])
    assert told.exit_code == 0
    assert "the questions of the test differ" in told.stdout
    assert max(map(len, told.stdout.split("!")[0].splitlines())) <= 110
    assert (tmp_path / "x.html").is_file()
