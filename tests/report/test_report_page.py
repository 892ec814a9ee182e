import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pages import Page
from synthetic import Shape, edit_log, make_run, write_results

from medpref.errors import InputError
from medpref.files import read_json, write_json
from medpref.report import write_report

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\u2028 {{ 7 * 7 }}'
EVERY = ["scores", "kinds", "looking", "errors", "why", "curves", "search", "gallery", "details"]


@pytest.fixture(scope="module")
def page(whole_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    run = tmp_path_factory.mktemp("page") / "run"
    shutil.copytree(whole_run, run)
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_has_every_section(page: Page) -> None:
    assert page.sections == EVERY
    linked = {str(link["href"]).removeprefix("#") for link in page.every("a")}
    assert linked == set(page.sections)
    assert "Energy" in "".join(page.text)


def test_the_page_needs_nothing_but_itself(page: Page) -> None:
    sources = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert sources
    assert all(str(source).startswith(("data:image/", "#")) for source in sources)
    assert not page.every("link")
    assert "url(" not in "".join(page.text)
    [policy] = [meta["content"] for meta in page.every("meta") if meta.get("http-equiv")]
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_tables_and_images_can_be_read_aloud(page: Page) -> None:
    assert all("scope" in attributes for attributes in page.every("th"))
    assert all(attributes.get("alt") for attributes in page.every("img"))
    drawn = [svg for svg in page.every("svg") if "aria-hidden" not in svg]
    assert drawn
    assert all(svg.get("role") == "img" for svg in drawn)
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(names)) == len(names)


def test_ids_that_are_referred_to_exist(page: Page) -> None:
    names = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for attribute in ("aria-labelledby", "for"):
        for _, attributes in page.tags:
            assert set((attributes.get(attribute) or "").split()) <= names


def test_no_private_place_is_told(page: Page) -> None:
    text = "".join(page.text)
    assert "/somewhere/private" not in text
    assert "…/phantoms" in text


def test_what_models_and_studies_write_is_escaped(tmp_path: Path) -> None:
    shape = Shape(images=6, methods=("sft", "dpo"), controls=("sft",))
    run = make_run(tmp_path, shape)
    clean = Page(write_report(run).read_text(encoding="utf-8"))
    for log in (run / "logs").rglob("*.eval.jsonl"):
        edit_log(log, prediction=HOSTILE, gold=HOSTILE, prompt=HOSTILE, kinds=[HOSTILE])
    about = read_json(run / "run.json")
    about["study"] |= {"title": HOSTILE, "notes": HOSTILE}
    about["hardware"]["cpu"] = HOSTILE
    write_json(run / "run.json", about)
    write_json(
        run / "logs" / "data.json", {"source": HOSTILE, "notes": [HOSTILE], "quarantined": {HOSTILE: 1}}
    )
    write_results(run, shape)
    attacked = Page(write_report(run).read_text(encoding="utf-8"))
    assert len(attacked.every("script")) == len(clean.every("script")) == 1
    assert not any(image["src"] == "x" for image in attacked.every("img"))
    assert not any(name.startswith("on") for _, attributes in attacked.tags for name in attributes)
    assert "<script>alert(1)</script>" in "".join(attacked.text), "hostile text is shown as text"
    assert "{{ 7 * 7 }}" in "".join(attacked.text)


def test_a_hostile_method_name_is_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path, Shape(images=6, methods=("sft", "dpo"), controls=("sft",)))
    for name in ("results.json", "run.json"):
        text = (run / name).read_text(encoding="utf-8")
        (run / name).write_text(text.replace('"dpo"', '"<img src=x onerror=alert(3)>"'), encoding="utf-8")
    page = Page(write_report(run).read_text(encoding="utf-8"))
    assert not any(image["src"] == "x" for image in page.every("img"))


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"blank": False}, {"looking"}),
        ({"search": False}, {"search"}),
        ({"curves": False}, {"curves"}),
        ({"regions": False}, set()),
        ({"baselines": False}, set()),
        ({"methods": ("sft",), "controls": ("sft",)}, set()),
        ({"backbones": ("tiny", "wide"), "seeds": (0, 1)}, set()),
    ],
    ids=lambda value: ",".join(map(str, value)),
)
def test_what_is_not_there_is_left_out(tmp_path: Path, change: dict[str, object], missing: set[str]) -> None:
    shape = replace(Shape(images=6, methods=("sft", "sft-continued", "dpo")), **change)  # type: ignore[arg-type]
    page = Page(write_report(make_run(tmp_path, shape)).read_text(encoding="utf-8"))
    there = [name for name in EVERY if name not in missing]
    if len(shape.seeds) > 1:
        there.insert(there.index("errors") + 1, "seeds")
    assert page.sections == there
    lesions = [box for box in page.every("input") if box.get("id") == "lesions"]
    assert len(lesions) == shape.regions


def test_results_alone_make_a_page(whole_run: Path, tmp_path: Path) -> None:
    shutil.copy(whole_run / "results.json", tmp_path)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert page.sections == ["scores", "kinds", "looking", "errors", "why", "details"]


def test_the_same_logs_make_the_same_page(whole_run: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_run, tmp_path / "run")
    first = write_report(tmp_path / "run").read_bytes()
    assert write_report(tmp_path / "run").read_bytes() == first


def test_a_study_of_every_method_stays_small(tmp_path: Path) -> None:
    methods = ("sft", "sft-continued", "dpo", "irpo", "copo", "mdpo", "mmedpo")
    shape = Shape(images=30, methods=methods, backbones=("tiny", "wide"), seeds=(0, 1))
    assert write_report(make_run(tmp_path, shape)).stat().st_size < 2_000_000


def test_no_results_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results\.json"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_broken_files_are_named(whole_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    log = run / "logs" / "tiny" / "seed-0" / "dpo" / "training.jsonl"
    log.write_text('{"loss": 1}\n')
    with pytest.raises(InputError, match=re.escape(str(log))):
        write_report(run)
    log.unlink()
    search = log.with_name("search.json")
    write_json(search, {"method": "dpo"})
    with pytest.raises(InputError, match=re.escape(str(search))):
        write_report(run)
    search.unlink()
    write_json(run / "results.json", {"version": 99})
    with pytest.raises(InputError, match="version 99"):
        write_report(run)


def test_half_a_surrogate_pair_does_not_stop_the_page(whole_run: Path, tmp_path: Path) -> None:
    shutil.copytree(whole_run, tmp_path / "run")
    about = (tmp_path / "run" / "run.json").read_text(encoding="utf-8")
    (tmp_path / "run" / "run.json").write_text(about.replace("x86_64", "\\ud800"), encoding="utf-8")
    assert write_report(tmp_path / "run").is_file()
