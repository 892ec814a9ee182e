import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard
from tests.report.synthetic import HEADLINE, Shape, edit_log, make_run
from typer.testing import CliRunner

from medpref.archive import pack, verify
from medpref.archive.contents import archived
from medpref.archive.sums import write_sums
from medpref.archive.tar import unpack_tar, write_tar
from medpref.cli import app
from medpref.errors import InputError
from medpref.evaluation.log import read_logs
from medpref.evaluation.results import build_results
from medpref.files import read_json, write_json
from medpref.pairs.sample import Sample, write_samples
from medpref.phantoms import VISUAL_KINDS, generate

SHAPE = Shape(images=6, methods=("sft", "dpo"), controls=("sft",))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the samples that its logs asked; tests do not change it."""
    run = make_run(tmp_path_factory.mktemp("pack") / "run", SHAPE)
    samples = [
        Sample(
            id=f"test-{index:05d}-{question.kind}",
            prompt=f"<image>\n{question.prompt}",
            images=(run / "images" / f"{index}.png",),
            gold=question.answer,
            kinds=(question.kind,),
            closed=question.closed,
            choices=tuple(question.choices),
            cluster=f"test-{index:05d}",
        )
        for index in range(SHAPE.images)
        for question in generate(7, index).questions
    ]
    write_samples(run / "stages" / "data" / "test.phantom-vqa.jsonl", samples)
    (run / "stages" / "train").mkdir()
    (run / "stages" / "train" / "model.safetensors").write_bytes(b"weights")
    summarise(run)
    return run


def summarise(run: Path) -> None:
    results = build_results(
        read_logs(run / "logs"),
        study="made-up",
        controls=SHAPE.controls,
        headline=HEADLINE,
        slices={"visual": VISUAL_KINDS},
    )
    write_json(run / "results.json", results)


@pytest.fixture(scope="module")
def archive(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(finished, tmp_path_factory.mktemp("packed") / "study.tar.gz")


def names(archive: Path) -> set[str]:
    with tarfile.open(archive) as tar:
        return {name.removeprefix("made-up/") for name in tar.getnames()}


def repacked(archive: Path, tmp_path: Path, change: Any, *, hashed: bool = True) -> dict[str, Any]:
    """Change an archive's files and return what is said of each part."""
    folder = unpack_tar(archive, tmp_path)
    change(folder)
    if hashed:
        write_sums(folder)
    write_tar(folder, tmp_path / "changed.tar.gz", folder.name)
    return {check.name: check for check in verify(tmp_path / "changed.tar.gz")}


def test_a_whole_archive_is_verified(archive: Path) -> None:
    checks = list(verify(archive))
    assert [check.name for check in checks] == ["files", "questions", "scores", "results", "pages"]
    assert [check.faults for check in checks] == [()] * 5
    assert all(check.passed for check in checks)
    asked = sum(len(log.records) for log in read_logs(unpacked(archive) / "logs"))
    assert f"{2 * asked:,} scores of answers computed anew" in checks[2].text
    assert "byte for byte" in checks[3].text


def unpacked(archive: Path) -> Path:
    folder = archive.with_name("unpacked")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return unpack_tar(archive, folder)


def test_no_image_and_no_weights_are_in_it(archive: Path) -> None:
    found = names(archive)
    assert {Path(name).suffix for name in found} <= {
        ".json", ".jsonl", ".html", ".md", ".cff", ".csv", ".tex", ""
    }  # fmt: skip
    assert {"report.html", "results.json", "README.md", "SHA256SUMS", "cards/model-card.md"} <= found
    page = (unpacked(archive) / "report.html").read_text(encoding="utf-8")
    assert "data:image" not in page
    assert "image left out" in page


def test_images_come_on_request(finished: Path, tmp_path: Path) -> None:
    archive = pack(finished, tmp_path / "x.tar.gz", images=True)
    found = names(archive)
    assert {f"images/{index}.png" for index in range(SHAPE.images)} <= found
    assert any(name.endswith("-mask.png") for name in found)
    assert not any(name.endswith(".safetensors") for name in found)
    assert all(check.passed for check in verify(archive))


def test_the_same_run_gives_the_same_bytes(finished: Path, archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(finished, other)
    assert pack(other, tmp_path / "again.tar.gz").read_bytes() == archive.read_bytes()


def test_no_place_of_this_machine_is_told(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    for log in (run / "logs").rglob("*.eval.jsonl"):
        edit_log(log, images=["/somewhere/private/hospital/1.png"])
    archive = pack(run, tmp_path / "x.tar.gz")
    folder = unpacked(archive)
    texts = [path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()]
    assert not any("/somewhere/private" in text or str(tmp_path) in text for text in texts)
    record = read_logs(folder / "logs")[0].records[0]
    assert record.images == (archived("/somewhere/private/hospital/1.png"),)
    assert record.images[0].startswith("elsewhere/")
    assert all(check.passed for check in verify(archive))


def test_an_answer_that_was_changed_is_found(archive: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        [log] = (folder / "logs").rglob("seed-0/dpo/phantom-vqa.normal.eval.jsonl")
        lines = log.read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[1])
        row["prediction"] = "nonsense" if row["scores"]["accuracy"] else row["gold"]
        log.write_text("\n".join([lines[0], json.dumps(row), *lines[2:], ""]), encoding="utf-8")

    found = repacked(archive, tmp_path, change)
    assert found["files"].passed
    assert not found["scores"].passed
    assert "test-00000-modality: accuracy is logged as" in found["scores"].faults[0]
    assert found["results"].passed, "the results are computed from logged scores"


def test_a_result_that_was_changed_is_found(archive: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        results = read_json(folder / "results.json")
        results["rows"][0]["value"] += 0.01
        results["rows"][1]["value"] += 0.000001
        write_json(folder / "results.json", results)

    found = repacked(archive, tmp_path, change)
    assert [name for name, check in found.items() if not check.passed] == ["results", "pages"]
    [fault] = found["results"].faults
    assert fault.startswith("results.json, rows 1, value: ")


def test_the_last_digit_may_be_rounded_otherwise(archive: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        results = read_json(folder / "results.json")
        results["rows"][0]["ci_low"] += 0.000001
        write_json(folder / "results.json", results)

    check = repacked(archive, tmp_path, change)["results"]
    assert check.passed
    assert check.text == "the same, but for the last digit of 1 numbers"


def test_a_table_and_a_question_that_were_changed_are_found(archive: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        table = next((folder / "tables").glob("scores.*.csv"))
        table.write_text(table.read_text().replace("0.", "0.9"))
        for log in (folder / "logs").rglob("seed-0/dpo/*.normal.eval.jsonl"):
            edit_log(log, prompt="another question")

    found = repacked(archive, tmp_path, change)
    assert not found["questions"].passed
    assert any(fault.startswith("tables/scores.") for fault in found["pages"].faults)


def test_files_that_are_not_those_of_the_list_are_named(archive: Path, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        (folder / "README.md").write_text("other")
        (folder / "more.txt").write_text("more")
        (folder / "study.json").unlink(missing_ok=True)

    found = repacked(archive, tmp_path, change, hashed=False)
    assert {"README.md is changed", "more.txt is not listed"} <= set(found["files"].faults)


def test_a_log_without_samples_is_told(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    shutil.rmtree(run / "stages")
    found = {check.name: check for check in verify(pack(run, tmp_path / "x.tar.gz"))}
    assert not found["scores"].passed
    [fault] = found["scores"].faults
    assert "no samples of phantom-vqa are in the archive" in fault


@pytest.mark.parametrize("missing", ["results.json", "run.json"])
def test_a_run_that_is_not_finished_is_refused(finished: Path, tmp_path: Path, missing: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / missing).unlink()
    with pytest.raises(InputError, match=missing):
        pack(run, tmp_path / "x.tar.gz")
    assert not (tmp_path / "x.tar.gz").exists()


def test_a_link_among_the_logs_is_refused(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "logs" / "passwd.json").symlink_to("/etc/passwd")
    with pytest.raises(InputError, match="link"):
        pack(run, tmp_path / "x.tar.gz")


def test_the_commands(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.tar.gz"
    told = CliRunner().invoke(app, ["pack", str(finished), "--out", str(target), "--author", "Doe, Ann"])
    assert told.exit_code == 0
    assert "holds no image" in told.stdout
    told = CliRunner().invoke(app, ["verify", str(target)])
    assert told.exit_code == 0
    assert told.stdout.count("ok  ") == 5
    citation = yaml.safe_load((unpacked(target) / "cards" / "CITATION.cff").read_text())
    assert citation["authors"] == [{"family-names": "Doe", "given-names": "Ann"}]


def test_the_cards_are_those_of_the_hub(archive: Path, finished: Path) -> None:
    folder = unpacked(archive) / "cards"
    model = ModelCard((folder / "model-card.md").read_text(encoding="utf-8"))
    assert model.data.pipeline_tag == "image-text-to-text"
    results = read_json(finished / "results.json")
    wanted = {"method": "dpo", "condition": "normal", "metric": "accuracy", "slice": "visual", "seed": 0}
    [row] = [r for r in results["rows"] if all(r[key] == value for key, value in wanted.items())]
    header = yaml.safe_load((folder / "model-card.md").read_text(encoding="utf-8").split("---\n")[1])
    index = {entry["name"]: entry["results"] for entry in header["model-index"]}
    assert set(index) == {"made-up/tiny/sft", "made-up/tiny/dpo"}
    metrics = {
        metric["config"]: metric["value"] for r in index["made-up/tiny/dpo"] for metric in r["metrics"]
    }
    assert metrics["visual"] == row["value"]
    data = DatasetCard((folder / "data-card.md").read_text(encoding="utf-8"))
    assert data.data.size_categories == ["n<1K"]
    assert "5 of 6 test images also occur" in data.text
    assert "3 rows put aside: qa.jsonl: the answer is empty" in data.text


def test_both_citation_files_are_whole(archive: Path) -> None:
    ours = Path(__file__).parents[2] / "CITATION.cff"
    for path, kind in ((ours, "software"), (unpacked(archive) / "cards" / "CITATION.cff", "dataset")):
        text = path.read_text(encoding="utf-8")
        found = yaml.safe_load(text)
        assert found["cff-version"] == "1.2.0"
        assert {"message", "title", "authors"} <= set(found)
        assert found["type"] == kind
        assert all(set(author) in ({"name"}, {"family-names", "given-names"}) for author in found["authors"])
        assert "&id" not in text
