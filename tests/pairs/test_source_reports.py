"""MIMIC-CXR and IU X-ray read from small replicas of their folders."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.pairs.source_replicas import aside, load, write_array, write_images, write_lines

from medpref.errors import InputError
from medpref.pairs.formats import REPORT_PROMPT
from medpref.pairs.pair import ImageRole, ResponseRole
from medpref.pairs.sources import DataSet, sources
from medpref.pairs.sources.reports import patient_of, read_sections, section_of

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___F with cough.  Ratio 1:2.

 FINDINGS:

 The lungs are clear.
 Heart size: normal.

 IMPRESSION:   No acute
 process.
"""
STUDIES = [
    # dicom, study, subject, split, view, report
    ("d1", "50000001", "10000001", "train", "PA", REPORT),
    ("d2", "50000001", "10000001", "train", "LATERAL", REPORT),
    ("d3", "50000002", "10000001", "test", "AP", REPORT),
    ("d4", "50000003", "10000002", "validate", "AP", REPORT),
    ("d5", "50000004", "10000003", "train", "LATERAL", REPORT),
    ("d6", "50000005", "10000004", "train", "PA", " FINAL REPORT\n IMPRESSION: Clear.\n"),
    ("d7", "50000006", "10000005", "train", "PA", None),
    ("d8", "50000007", "10000006", "train", "AP", REPORT),
    ("d9", "50000007", "10000006", "train", "PA", REPORT),
    ("d10", "50000008", "10000007", "holdout", "PA", REPORT),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    split = ["dicom_id,study_id,subject_id,split"]
    views = ["dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition"]
    for seed, (dicom, study, subject, part, view, report) in enumerate(STUDIES):
        place = f"files/p{subject[:2]}/p{subject}/s{study}"
        write_images(tmp_path, {f"{place}/{dicom}.jpg": seed})
        split.append(f"{dicom},{study},{subject},{part}")
        views.append(f'{dicom},{subject},{study},"CHEST (PA, LAT)",{view}')
        if report is not None:
            (tmp_path / f"{place}.txt").write_text(report)
    (tmp_path / "mimic-cxr-2.0.0-split.csv").write_text("\n".join(split) + "\n")
    packed = gzip.compress("\n".join(views).encode())
    (tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz").write_bytes(packed)
    return tmp_path


def read(folder: Path, **settings: Any) -> DataSet:
    return load("mimic-cxr", folder / "out", folder=folder, **settings)


def test_findings_and_one_frontal_image_of_each_study(folder: Path) -> None:
    data = read(folder)
    assert [pair.id for pair in data.train] == ["s50000001", "s50000007"]
    first = data.train[0]
    place = folder / "files" / "p10" / "p10000001" / "s50000001" / "d1.jpg"
    assert first.images == {ImageRole.CLEAN: (place,)}
    assert first.prompt == f"<image>\n{REPORT_PROMPT}"
    assert first.responses == {ResponseRole.CHOSEN: "The lungs are clear. Heart size: normal."}
    assert first.kind == "report"
    assert "PhysioNet" in str(first.provenance.licence)
    assert data.train[1].images[ImageRole.CLEAN][0].name == "d8.jpg"


def test_studies_that_are_not_asked_for_are_counted_and_faults_put_aside(folder: Path) -> None:
    data = read(folder)
    assert "1 rows are left out: the study has no image of the views asked for." in data.facts["notes"]
    assert "1 rows are left out: the report has no findings section." in data.facts["notes"]
    assert [row[1:] for row in aside(data)] == [
        (8, "the report is missing"),
        (11, "the split 'holdout' is unknown"),
    ]


def test_patients_are_clusters_and_their_leakage_is_counted(folder: Path) -> None:
    data = read(folder)
    assert [sample.cluster for sample in data.samples["test", "mimic-cxr"]] == ["10000001"]
    assert [sample.id for sample in data.samples["validation", "mimic-cxr"]] == ["s50000003"]
    leak = data.facts["leakage_by_content"]
    assert (leak["test_patients"], leak["patients_also_in_train"]) == (1, 1)


def test_views_sections_and_images_on_request(folder: Path) -> None:
    data = read(folder, views="all", section="both", images_per_study=2)
    pairs = {pair.id: pair for pair in data.train}
    assert [path.name for path in pairs["s50000001"].images[ImageRole.CLEAN]] == ["d1.jpg", "d2.jpg"]
    assert pairs["s50000001"].prompt.count("<image>") == 2
    said = pairs["s50000001"].responses[ResponseRole.CHOSEN]
    assert said == "The lungs are clear. Heart size: normal. No acute process."
    assert pairs["s50000005"].responses[ResponseRole.CHOSEN] == "Clear."
    assert "s50000004" in pairs


def test_reports_may_lie_apart(folder: Path, tmp_path_factory) -> None:
    apart = tmp_path_factory.mktemp("reports")
    (folder / "files" / "p10" / "p10000001" / "s50000001.txt").rename(apart / "s50000001.txt")
    place = apart / "p10" / "p10000001"
    place.mkdir(parents=True)
    (apart / "s50000001.txt").rename(place / "s50000001.txt")
    assert [pair.id for pair in read(folder, reports=apart).train] == ["s50000001"]


def test_a_test_file_of_the_study_takes_the_place_of_the_split(folder: Path) -> None:
    image = "files/p10/p10000002/s50000003/d4.jpg"
    rows = [
        {"id": "d4", "report": " The heart is large. ", "image_path": [image]},
        {"id": 5, "report": "", "image_path": [image]},
    ]
    data = read(folder, test=write_array(folder / "mimic_test.json", rows))
    (sample,) = data.samples["test", "mimic-cxr"]
    assert (sample.id, sample.gold, sample.cluster) == ("d4", "The heart is large.", "10000002")
    assert ("mimic_test.json", 2, "the chosen response is empty") in aside(data)


def test_without_metadata_the_views_are_unknown(folder: Path) -> None:
    (folder / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    with pytest.raises(InputError, match=r"views of the images is not there[\s\S]*views: all"):
        read(folder)
    assert len(read(folder, views="all").train) == 3


def test_the_digest_sees_another_patient(folder: Path) -> None:
    source = sources["mimic-cxr"]
    settings = source.settings.model_validate({"folder": folder})
    before = source.digest(settings)
    (folder / "files" / "p11" / "p11000000").mkdir(parents=True)
    assert before != source.digest(settings)


def test_sections_are_told_by_headings_in_capitals() -> None:
    found = read_sections(REPORT)
    assert found["INDICATION"] == "___F with cough. Ratio 1:2."
    assert found["FINDINGS"] == "The lungs are clear. Heart size: normal."
    assert section_of("FINDINGS AND IMPRESSION: Clear.", ("findings",)) == "Clear."
    assert section_of("CONCLUSION: Clear.\nFINDINGS: Old.\nFINDINGS: New.", ("findings", "impression")) == (
        "Old. New. Clear."
    )
    assert section_of("The lungs are clear.", ("findings",)) == ""


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("files/p10/p10000032/s5/x.jpg", "10000032"),
        ("p10000032/x.jpg", "10000032"),
        ("CXR2384_IM-0942", "2384"),
        ("images/lamp12345678.jpg", None),
    ],
)
def test_patients_are_told_by_paths_and_ids(name: str, patient: str | None) -> None:
    assert patient_of([name]) == patient


def study(ident: str, report: Any, *images: str) -> dict[str, Any]:
    return {"id": ident, "report": report, "image_path": list(images), "split": "ignored"}


@pytest.fixture
def iu_folder(tmp_path: Path) -> Path:
    names = {f"images/CXR{n}_IM-1/{view}.png": n * 2 + view for n in range(1, 5) for view in range(2)}
    write_images(tmp_path, names)
    content = {
        "train": [
            study("CXR1_IM-1", "Clear lungs .", "CXR1_IM-1/0.png", "CXR1_IM-1/1.png"),
            study("CXR2_IM-1", "A nodule.", "CXR2_IM-1/0.png"),
            study("CXR9_IM-1", "Gone.", "CXR9_IM-1/0.png"),
            study("CXR3_IM-1", None, "CXR3_IM-1/0.png"),
        ],
        "val": [],
        "test": [study("CXR1_IM-2", "Still clear.", "CXR1_IM-1/0.png", "CXR4_IM-1/1.png")],
    }
    (tmp_path / "annotation.json").write_text(json.dumps(content))
    return tmp_path


def test_iu_xray_has_two_views(iu_folder: Path) -> None:
    data = load("iu-xray", iu_folder / "out", folder=iu_folder)
    assert [len(pair.images[ImageRole.CLEAN]) for pair in data.train] == [2, 1]
    assert data.train[0].prompt == f"<image>\n<image>\n{REPORT_PROMPT}"
    assert [sample.cluster for sample in data.samples["test", "iu-xray"]] == ["1"]
    assert ("validation", "iu-xray") not in data.samples
    assert data.facts["leakage_by_content"] == {
        "test_images": 2,
        "also_in_train": 1,
        "test_patients": 1,
        "patients_also_in_train": 1,
    }
    assert [row[1:] for row in aside(data)] == [
        (3, "the image is missing"),
        (4, "the chosen response is empty"),
    ]


def test_iu_xray_with_one_view_and_its_own_test_file(iu_folder: Path) -> None:
    path = write_lines(iu_folder / "test.jsonl", [study("CXR4_IM-1", "New.", "CXR4_IM-1/1.png")])
    data = load("iu-xray", iu_folder / "out", folder=iu_folder, images_per_study=1, test=path)
    assert [len(pair.images[ImageRole.CLEAN]) for pair in data.train] == [1, 1]
    assert [sample.gold for sample in data.samples["test", "iu-xray"]] == ["New."]


def test_the_same_annotation_of_mimic_cxr(iu_folder: Path) -> None:
    data = load("mimic-cxr", iu_folder / "out", folder=iu_folder, images_per_study=1)
    assert [pair.id for pair in data.train] == ["CXR1_IM-1", "CXR2_IM-1"]


FLAT = [
    {**study("CXR1_IM-1", "Clear lungs.", "CXR1_IM-1/0.png", "CXR1_IM-1/1.png"), "split": "train"},
    {**study("CXR2_IM-1", "A nodule.", "CXR2_IM-1/0.png"), "split": "val"},
    {**study("CXR3_IM-1", "A mass.", "CXR3_IM-1/0.png"), "split": "test"},
    {**study("CXR4_IM-1", "Nothing.", "CXR4_IM-1/0.png"), "split": "spare"},
]


@pytest.mark.parametrize("name", ["iu-xray", "mimic-cxr"])
@pytest.mark.parametrize("form", [write_array, write_lines], ids=["array", "lines"])
def test_one_list_whose_rows_tell_their_splits(iu_folder: Path, form: Any, name: str) -> None:
    form(iu_folder / "annotation.json", FLAT)
    data = load(name, iu_folder / "out", folder=iu_folder)
    assert [pair.id for pair in data.train] == ["CXR1_IM-1"]
    asked = {split: [sample.id for sample in samples] for (split, _), samples in data.samples.items()}
    assert asked == {"train": ["CXR1_IM-1"], "validation": ["CXR2_IM-1"], "test": ["CXR3_IM-1"]}
    assert [row[2] for row in aside(data)] == ["the split 'spare' is unknown"]
    own = write_lines(iu_folder / "test.jsonl", [study("CXR4_IM-1", "New.", "CXR4_IM-1/1.png")])
    data = load(name, iu_folder / "out", folder=iu_folder, test=own)
    assert [sample.gold for sample in data.samples["test", name]] == ["New."]
    assert "1 rows are left out: another file takes the place of the test split." in data.facts["notes"]
