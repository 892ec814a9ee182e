"""Exports say what the pairs say, hold nothing but pixels, and do not pass on what may not be passed on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image, PngImagePlugin
from typer.testing import CliRunner

from medpref.cli import app
from medpref.errors import InputError
from medpref.files import file_hash
from medpref.pairs.export import export_formats, export_pairs, unpack_images
from medpref.pairs.export.licences import read_licence
from medpref.pairs.export.pictures import PictureFolder
from medpref.pairs.images import open_image, open_mask
from medpref.pairs.pair import Change, ImageRole, Pair, Provenance, ResponseRole, Turn
from medpref.pairs.recipes.base import LeftOut
from medpref.pairs.store import read_pairs, write_pairs

OPEN = Provenance("a source", "a recipe", 3, "CC BY 4.0")
FORMATS = list(export_formats)


@pytest.fixture
def varied(make_image, make_pair, tmp_path: Path) -> list[Pair]:
    """Pairs of every shape: one and two images, history, text alone, weights, kinds, regions, changes."""
    one, two, noise = make_image("one.png", 1), make_image("two.png", 2), make_image("noise.png", 3)
    copy = make_image("copy-of-one.png", 1)
    region = tmp_path / "mask.png"
    Image.fromarray((np.arange(1024).reshape(32, 32) < 300).astype(np.uint8)).save(region)
    made = [
        make_pair("whole", (one,), (noise,), weight=0.75, kind="side", region=region),
        make_pair("changed", (copy,), chosen="In the left lung.", refused="In the right lung."),
        make_pair("two", (one, two), (two, noise), kind="count"),
        make_pair("text", question="What is a nodule?\nSay it in one line.", weight=0.0),
        replace(
            make_pair("turns", question="And where?"),
            history=(Turn("<image>\nIs there a lesion?", "Yes."), Turn("One?", "Two, in fact.")),
            images={ImageRole.CLEAN: (two,)},
        ),
    ]
    made[1] = replace(made[1], changes=(Change("side", 7, 12, "left", "right"),))
    return [replace(pair, provenance=OPEN) for pair in made]


def shown(paths: tuple[Path, ...]) -> list[bytes]:
    return [np.asarray(open_image(path).convert("RGB")).tobytes() for path in paths]


def back(folder: Path, name: str) -> list[Pair]:
    """Read an export as anybody would."""
    file = folder / export_formats[name].file
    if export_formats[name].embeds:
        unpack_images(file, folder / "unpacked")
        return list(read_pairs(file, images=folder / "unpacked", fatal=True).pairs)
    return list(read_pairs(file, fatal=True).pairs)


@pytest.mark.parametrize("name", FORMATS)
def test_pairs_come_back_from_every_format(varied, tmp_path, name: str) -> None:
    export_pairs(varied, tmp_path / "out", name)
    found = back(tmp_path / "out", name)
    for pair, again in zip(varied, found, strict=True):
        assert again.id == pair.id
        assert (again.prompt, again.history, again.responses) == (pair.prompt, pair.history, pair.responses)
        assert (again.weight, again.kind) == (pair.weight, pair.kind)
        assert again.images.keys() == pair.images.keys()
        for role, paths in pair.images.items():
            assert shown(again.images[role]) == shown(paths)


def test_medprefs_own_format_keeps_everything_but_the_paths(varied, tmp_path) -> None:
    export_pairs(varied, tmp_path / "out", "medpref")
    found = back(tmp_path / "out", "medpref")
    for pair, again in zip(varied, found, strict=True):
        assert replace(again, images={}, region=None) == replace(pair, images={}, region=None)
    assert (open_mask(found[0].region) == open_mask(varied[0].region)).all()


@pytest.mark.parametrize("name", FORMATS)
def test_no_path_of_this_machine_is_told_and_images_lie_there_once(varied, tmp_path, name: str) -> None:
    export_pairs(varied, tmp_path / "out", name)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in files)
    assert not any(b"one.png" in path.read_bytes() for path in files), "nor what the images were called"
    images = [path for path in files if path.suffix == ".png"]
    assert len({file_hash(path) for path in images}) == len(images)
    expected = {"trl": 3, "llava": 3, "medpref": 4, "datasets": 0}
    assert len(images) == expected[name], "three pictures, of which one came in two files, and a mask"


def test_datasets_reads_typed_columns_and_trl_takes_them(varied, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    datasets.disable_progress_bars()
    export_pairs(varied, tmp_path / "out", "datasets")
    data = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert data.features["images"].feature == datasets.Image()
    assert data.features["region"] == datasets.Image()
    assert data.features["weight"] == datasets.Value("float64")
    assert data.features["seed"] == datasets.Value("int64")
    for row, pair in zip(data, varied, strict=True):
        assert [np.asarray(image.convert("RGB")).tobytes() for image in row["images"]] == shown(
            pair.images.get(ImageRole.CLEAN, ())
        )
        check_with_trl(data_utils, row, pair)


def check_with_trl(data_utils, row: dict, pair: Pair) -> None:
    """Ask TRL's own code: it counts images and placeholders, and takes nothing but its own shape."""
    assert data_utils.is_conversational(row)
    asked = data_utils.prepare_multimodal_messages(row["prompt"], images=row["images"])
    assert sum(part["type"] == "image" for one in asked for part in one["content"]) == pair.placeholders
    for role in ResponseRole:
        [said] = data_utils.prepare_multimodal_messages(row[str(role)], images=[])
        assert said["role"] == "assistant"
        assert [part["text"] for part in said["content"]] == [pair.responses[role]]


def test_trl_reads_the_jsonl_as_the_card_says(varied, tmp_path) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    datasets.disable_progress_bars()
    folder = tmp_path / "out"
    export_pairs(varied, folder, "trl")
    data = datasets.load_dataset(
        "json", data_files=str(folder / "pairs.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    data = data.map(lambda row: {"images": [str(folder / name) for name in row["images"]]})
    data = data.cast_column("images", datasets.List(datasets.Image()))
    for row, pair in zip(data, varied, strict=True):
        assert all(isinstance(image, Image.Image) for image in row["images"])
        check_with_trl(data_utils, row, pair)


def test_a_set_of_texts_has_no_images_key(make_pair, tmp_path) -> None:
    pairs = [replace(make_pair("a"), provenance=OPEN)]
    export_pairs(pairs, tmp_path / "trl", "trl")
    [row] = map(json.loads, (tmp_path / "trl" / "pairs.jsonl").read_text().splitlines())
    assert "images" not in row
    assert row["prompt"] == [{"role": "user", "content": "Is there a lesion?"}]
    export_pairs(pairs, tmp_path / "sets", "datasets")
    assert "images" not in pq.read_schema(tmp_path / "sets" / export_formats["datasets"].file).names


def test_trl_needs_rejected_responses(make_pair, tmp_path) -> None:
    pairs = [replace(make_pair("alone", refused=None), provenance=OPEN)]
    with pytest.raises(InputError, match="pair alone: the format trl needs a rejected response"):
        export_pairs(pairs, tmp_path / "trl", "trl")
    assert list(tmp_path.iterdir()) == [], "nothing half done is left"
    for name in ("llava", "datasets", "medpref"):
        export_pairs(pairs, tmp_path / name, name)
        assert list(back(tmp_path / name, name)[0].responses) == [ResponseRole.CHOSEN]


def test_llava_rows_have_the_published_keys(varied, tmp_path) -> None:
    export_pairs(varied, tmp_path / "out", "llava")
    whole, _, two, text, turns = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert whole.keys() == {
        *(
            "id",
            "image",
            "rejected_image",
            "conversations",
            "rejected_conversations",
            "weighted_score",
            "kind",
        )
    }
    assert isinstance(whole["image"], str)
    assert len(two["image"]) == 2
    assert "image" not in text
    assert [turn["from"] for turn in turns["conversations"]] == ["human", "gpt"] * 3


def test_a_plain_reader_of_llava_files_finds_images_and_turns(varied, tmp_path) -> None:
    """As published training code does it: one image file a placeholder, human and gpt in turn."""
    folder = tmp_path / "out"
    export_pairs(varied, folder, "llava")
    for row, pair in zip(json.loads((folder / "pairs.json").read_text()), varied, strict=True):
        for role, key in ((ImageRole.CLEAN, "image"), (ImageRole.REJECTED, "rejected_image")):
            named = row.get(key, [])
            named = [named] if isinstance(named, str) else named
            pixels = [np.asarray(Image.open(folder / name).convert("RGB")).tobytes() for name in named]
            assert pixels == shown(pair.images.get(role, ()))
        chosen, rejected = row["conversations"], row["rejected_conversations"]
        assert chosen[:-1] == rejected[:-1]
        assert [turn["from"] for turn in chosen] == ["human", "gpt"] * (len(chosen) // 2)
        assert sum(turn["value"].count("<image>") for turn in chosen) == pair.placeholders
        assert [said[-1]["value"] for said in (chosen, rejected)] == [pair.responses[r] for r in ResponseRole]


def with_metadata(path: Path, form: str) -> Path:
    image = Image.open(path).convert("RGB")
    target = path.with_name(f"told.{form}")
    if form == "png":
        about = PngImagePlugin.PngInfo()
        about.add_text("Patient", "SECRET-NAME")
        image.save(target, pnginfo=about)
    else:
        exif = Image.Exif()
        exif[0x010E] = "SECRET-NAME"
        image.save(target, exif=exif, comment=b"SECRET-NAME", quality=95)
    return target


@pytest.mark.parametrize("form", ["png", "jpg"])
@pytest.mark.parametrize("name", FORMATS)
def test_metadata_of_images_is_not_passed_on(make_image, make_pair, tmp_path, form: str, name: str) -> None:
    told = with_metadata(make_image("one.png", 1), form)
    assert b"SECRET-NAME" in told.read_bytes()
    pairs = [replace(make_pair("a", (told,)), provenance=OPEN)]
    export_pairs(pairs, tmp_path / "out", name)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"SECRET-NAME" in path.read_bytes() for path in files)
    assert shown(back(tmp_path / "out", name)[0].images[ImageRole.CLEAN]) == shown((told,))


def test_images_that_others_would_show_otherwise_become_plain_png(make_image, tmp_path) -> None:
    deep = tmp_path / "deep.png"
    Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 4).save(deep)
    clear = tmp_path / "clear.png"
    Image.open(make_image("one.png", 1)).convert("RGBA").save(clear)
    plain = make_image("plain.jpg", 2)
    pictures = PictureFolder(tmp_path / "out")
    assert Image.open(pictures.image(deep)).mode == "L"
    assert Image.open(pictures.image(clear)).mode == "RGB"
    assert pictures.image(plain).read_bytes() == plain.read_bytes(), "what is plain is not compressed again"


def test_links_are_made_where_asked(make_image, tmp_path) -> None:
    path = make_image("one.png", 1)
    linked = PictureFolder(tmp_path / "linked", link=True).image(path)
    copied = PictureFolder(tmp_path / "copied").image(path)
    assert linked.samefile(path)
    assert not copied.samefile(path)
    assert linked.name == copied.name


@pytest.mark.parametrize(
    ("text", "name", "shareable"),
    [
        ("CC0-1.0", "CC0-1.0", True),
        ("VQA-RAD CC0-1.0; MMedPO pairs Apache-2.0", "Apache-2.0", True),
        ("CC BY 4.0", "CC BY", True),
        ("cc-by-nc-4.0", "CC BY-NC", True),
        ("CC BY-NC-SA 4.0", "CC BY-NC-SA", True),
        ("CC BY-ND 4.0", "CC BY-ND", False),
        ("Apache-2.0; not verified", "not verified", False),
        ("CC0; something new", "not verified", False),
        ("PhysioNet Credentialed Health Data Use Agreement 1.5.0", "data use agreement", False),
        ("generated", "CC0-1.0", True),
        ("not stated", "not verified", False),
        ("", "not verified", False),
        (None, "not verified", False),
    ],
)
def test_licences(text: str | None, name: str, shareable: bool) -> None:
    found = read_licence(text)
    assert (found.name, found.shareable) == (name, shareable)


@pytest.mark.parametrize(
    ("provenance", "words"),
    [
        (Provenance("MIMIC-CXR", licence="DUA"), r"MIMIC-CXR \(licence: DUA, data use agreement; pairs: 1\)"),
        (Provenance("mimic_cxr", licence="CC0-1.0"), "mimic_cxr .*, data use agreement; pairs: 1"),
        (Provenance("PMC-VQA", licence="not verified"), "PMC-VQA .*, not verified; pairs: 1"),
        (Provenance("own"), "own .licence: not given, not verified; pairs: 1"),
    ],
)
def test_what_may_not_be_passed_on_is_refused(
    make_pair, tmp_path, provenance: Provenance, words: str
) -> None:
    pairs = [replace(make_pair("a"), provenance=OPEN), replace(make_pair("b"), provenance=provenance)]
    with pytest.raises(InputError, match=f"may be passed on: {words}"):
        export_pairs(pairs, tmp_path / "out", "medpref")
    assert not (tmp_path / "out").exists()
    export_pairs(pairs, tmp_path / "out", "medpref", may_share=True)
    assert "**Not for redistribution:**" in (tmp_path / "out" / "README.md").read_text()


def test_the_card_says_what_is_in_it(varied, make_pair, tmp_path) -> None:
    more = [
        replace(
            make_pair(f"m{n}", question=f"Q{n}?", chosen="Yes", refused="No, it is not."), provenance=OPEN
        )
        for n in range(30)
    ]
    removed = [LeftOut("x", "differing", "sounds | the same"), LeftOut("y", "leak", "told apart (p = 0.98)")]
    done = export_pairs([*varied, *more], tmp_path / "a | name", "datasets", left_out=removed)
    text = (tmp_path / "a | name" / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    about = yaml.safe_load(front)
    assert about["license"] == "cc-by-4.0"
    assert about["size_categories"] == ["n<1K"]
    assert about["configs"][0]["data_files"][0]["path"] == "data/train-*.parquet"
    assert (tmp_path / "a | name" / "data").is_dir()
    for line in (
        "| a source | 35 |",
        "| a recipe | 35 |",
        "| side | 1 |",
        "| differing | sounds \\| the same | 1 |",
    ):
        assert line in body
    assert "| leak | told apart | 1 |" in body
    assert "Seeds: 3" in body
    assert f"AUC of **{done.summary.leak.auc:.3f}**" in body
    assert done.licence.name == "CC BY"


def test_the_command(varied, tmp_path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, varied)
    good = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "out"), "--format", "trl"])
    assert good.exit_code == 0, good.output
    assert "5 pairs" in good.output
    assert "strictest licence CC BY" in good.output
    again = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "out")])
    assert isinstance(again.exception, InputError)
    with path.open("a") as file:
        file.write('{"id": "broken", "prompt": "Q", "responses": {}}\n')
    partly = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "partly")])
    assert partly.exit_code == 1
    assert "id broken: the chosen response is empty" in partly.output
    assert len(back(tmp_path / "partly", "medpref")) == 5


def test_unpacking_stays_in_its_folder(varied, tmp_path) -> None:
    export_pairs(varied, tmp_path / "out", "datasets")
    file = tmp_path / "out" / export_formats["datasets"].file
    table = pq.read_table(file)
    rows = table.to_pylist()
    rows[0]["images"][0]["path"] = "../outside.png"
    pq.write_table(table.from_pylist(rows, table.schema), file)
    with pytest.raises(InputError, match="has a folder in it"):
        unpack_images(file, tmp_path / "unpacked")
    assert not (tmp_path / "outside.png").exists()


def test_of_a_dicom_file_only_pixels_are_passed_on(make_pair, tmp_path) -> None:
    pytest.importorskip("pydicom")
    from dicoms import SECRETS, make_dicom

    path = make_dicom(tmp_path / "scan.dcm", np.arange(1024, dtype=np.uint8).reshape(32, 32))
    pairs = [replace(make_pair("a", (path,)), provenance=OPEN)]
    for name in FORMATS:
        export_pairs(pairs, tmp_path / name, name)
        written = b"".join(file.read_bytes() for file in (tmp_path / name).rglob("*") if file.is_file())
        assert not any(secret.encode() in written for secret in SECRETS)
        assert shown(back(tmp_path / name, name)[0].images[ImageRole.CLEAN]) == shown((path,))
