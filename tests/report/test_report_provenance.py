import shutil
from pathlib import Path
from typing import Any

import pytest
from pages import Page

from medpref.files import read_json, write_json
from medpref.report import write_report
from medpref.report.energy import energy_text, estimate_energy
from medpref.report.layout import make_layout
from medpref.report.looking.errors import error_figures, error_tables
from medpref.report.provenance import hash_lines, leakage_facts, run_facts, summary
from medpref.report.seeds import seed_figures


def about(**hardware: Any) -> dict[str, Any]:
    return {"stages": {"data": 1800.0, "train": 1800.0}, "seconds": 12.0, "hardware": hardware}


def test_energy_of_a_processor() -> None:
    found = estimate_energy(about(cores=16, gpu=None))
    assert found is not None
    assert found.watt_hours == pytest.approx(20.0), "an hour of two cores of 10 W"
    assert found.basis.startswith("60 min 0 s of stages × (2 cores × 10 W)") or "1 h 0 min" in found.basis
    assert "Not measured" in found.basis


def test_energy_of_a_gpu_needs_its_power() -> None:
    found = estimate_energy(about(cores=1, gpu="A100", gpu_watts=400.0))
    assert found is not None
    assert found.watt_hours == pytest.approx(410.0)
    untold = estimate_energy(about(cores=1, gpu="A100"))
    assert untold is not None
    assert untold.watt_hours is None
    assert estimate_energy({"hardware": {"cores": 2}}) is None


def test_energies_are_told_to_two_digits() -> None:
    texts = {3.42: "about 3.4 Wh", 99.9: "about 100 Wh", 410.2: "about 410 Wh", 12_345.0: "about 12 kWh"}
    for watt_hours, text in texts.items():
        found = estimate_energy(about(cores=1, gpu="x", gpu_watts=watt_hours - 10.0))
        assert found is not None
        assert energy_text(found) == text


def test_leakage_is_told_even_where_there_is_none() -> None:
    data = {
        "leakage": {"test_images": 203, "also_in_train": 0},
        "leakage_by_content": {"test_images": 203, "also_in_train": 202, "test_patients": 90},
    }
    names = [(fact.name, fact.text.split(" also")[0]) for fact in leakage_facts(data)]
    assert names == [
        ("Leakage, by file", "0 of 203 test images"),
        ("Leakage, by the files’ bytes", "202 of 203 test images"),
        ("Leakage, patients", "0 of 90 test patients"),
    ]
    assert leakage_facts({}) == []
    assert summary(about(cpu="AMD", cores=2), data).endswith(
        "Computed in 1 h 0 min on AMD, about 20 Wh by estimate."
    )


def test_all_sessions_count_as_work() -> None:
    facts = {fact.name: fact.text for fact in run_facts(about(cpu="AMD", cores=2))}
    assert facts["Work"] == "1 h 0 min in 2 stages"
    assert facts["Last session"].startswith("12.0 s")
    assert facts["Processor"] == "AMD"


def test_hashes_are_on_the_page(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    manifest = {
        "test": {"vqa": {"samples": 2, "sha256": "a" * 64, "images": 1, "images_sha256": None}},
        "data": {"train": {"rows": 3, "sha256": "b" * 64}, "quarantine": {"rows": 0, "sha256": "c" * 64}},
        "pairs": {"crop": {"rows": 1, "sha256": "d" * 64}},
        "models": {"tiny/seed-0/dpo": "e" * 16},
    }
    lines = [(line.part, line.name, line.holds, line.digest) for line in hash_lines(manifest)]
    assert lines == [
        ("questions", "vqa", "2 questions", "a" * 64),
        ("images", "vqa", "1 image", "not all were there"),
        ("data", "train", "3 rows", "b" * 64),
        ("pairs", "crop", "1 row", "d" * 64),
        ("model", "tiny/seed-0/dpo", "", "e" * 16),
    ]
    write_json(run / "logs" / "manifest.json", manifest)
    text = "".join(Page(write_report(run).read_text(encoding="utf-8")).text)
    assert all(digest in text for *_, digest in lines)


def test_seeds_are_drawn_beside_their_mean(looking_run: Path) -> None:
    results = read_json(looking_run / "results.json")
    figures = seed_figures(results, make_layout(results))
    assert [figure.headline.slice for figure in figures] == ["all", "visual"]
    for figure in figures:
        assert figure.seeds == (0, 1)
        assert [row.method for row in figure.rows] == ["sft", "dpo"]
        for row in figure.rows:
            assert row.mean == pytest.approx(sum(row.scores.values()) / 2, abs=1e-6)
            assert str(round(100 * row.mean, 1)) in figure.drawing
        hollow = figure.drawing.count('class="mark hollow"')
        assert hollow == sum(len(row.scores) for row in figure.rows)


def test_one_seed_has_no_figure(whole_run: Path) -> None:
    results = read_json(whole_run / "results.json")
    assert seed_figures(results, make_layout(results)) == []


def test_kinds_of_errors_are_drawn(whole_run: Path) -> None:
    results = read_json(whole_run / "results.json")
    tables = error_tables(results, make_layout(results))
    [figure] = error_figures(tables)
    [table] = [table for table in tables if table.measure == "of_answers"]
    titles = [title for title, _, _ in figure.panels]
    assert titles[0] == "Any visual misreading"
    assert "Anatomical" in titles
    drawn = figure.panels[0][2]
    for row in table.rows:
        score = row.cells[0].score
        assert score is not None
        assert score.value is not None
        assert f"{row.method} {100 * score.value:.1f} [" in drawn
