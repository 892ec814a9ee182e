from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.pairs.dicoms import make_dicom

from medpref.errors import InputError, RunError
from medpref.files import read_jsonl
from medpref.pairs.images import open_image
from medpref.pairs.images.export import LISTING, ExportSettings, export_images

SHADES = (0, 120, 240)
FRAMES = [Image.new("L", (4, 3), shade) for shade in SHADES]


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with a film of three frames in three kinds of file, a single image and what is none."""
    folder = tmp_path / "scans"
    (folder / "b").mkdir(parents=True)
    FRAMES[0].save(folder / "film.gif", save_all=True, append_images=FRAMES[1:])
    FRAMES[0].save(folder / "b" / "film.tif", save_all=True, append_images=FRAMES[1:])
    film = np.stack([np.asarray(frame) for frame in FRAMES])
    make_dicom(folder / "b" / "film.dcm", film, NumberOfFrames=3)
    make_dicom(folder / "film.dcm", film[1])
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden").write_text("")
    (folder / "b" / "DICOMDIR").write_text("")
    return folder


def test_every_frame_becomes_a_file(scans: Path, tmp_path: Path) -> None:
    done: list[int] = []
    export = export_images(scans, tmp_path / "out", advance=done.append)
    sources = ("b/film.dcm", "b/film.tif", "film.gif")
    films = [f"{name}-000{number}.png" for name in sources for number in range(3)]
    assert names(tmp_path / "out") == sorted([*films, "film.dcm-0000.png"])
    for picture in export.written:
        assert np.ptp(np.asarray(open_image(picture.image))) == 0
    shades = [int(np.asarray(open_image(tmp_path / "out" / name).convert("L"))[0, 0]) for name in films]
    assert shades == [*SHADES] * 3
    assert [left.source.name for left in export.left_out] == ["notes.txt"]
    assert sum(done) == 5
    assert export.summary() == "10 pictures of 4 files, 1 files left out"


def test_the_listing_tells_which_is_which(scans: Path, tmp_path: Path) -> None:
    export_images(scans, tmp_path / "out")
    rows = [row for _, row in read_jsonl(tmp_path / "out" / LISTING)]
    assert rows[1] == {"image": "b/film.dcm-0001.png", "source": "b/film.dcm", "number": 1}
    assert sorted(row["image"] for row in rows) == names(tmp_path / "out")


def test_one_file_and_every_other_frame(scans: Path, tmp_path: Path) -> None:
    export_images(scans / "b" / "film.dcm", tmp_path / "out", ExportSettings(every=2))
    assert names(tmp_path / "out") == ["film.dcm-0000.png", "film.dcm-0002.png"]


def test_again_below_its_own_source(scans: Path) -> None:
    first = export_images(scans, scans / "out")
    assert export_images(scans, scans / "out").written == first.written


def test_a_film_that_breaks_off_leaves_nothing(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def breaks(image: Image.Image) -> Image.Image:
        seen.extend((tmp_path / "out").rglob("*.png"))
        if image.convert("L").getpixel((0, 0)) == SHADES[2]:
            raise ValueError("cut short")
        return image

    monkeypatch.setattr("medpref.pairs.images.ordinary.show", breaks)
    export = export_images(scans / "b" / "film.tif", tmp_path / "out")
    assert [left.reason for left in export.left_out] == ["the image cannot be read (ValueError)"]
    assert seen
    assert names(tmp_path / "out") == []


def test_nothing_to_export(tmp_path: Path) -> None:
    for source in (tmp_path / "gone", tmp_path):
        with pytest.raises(InputError, match="there are no files to export"):
            export_images(source, tmp_path / "out")


def test_a_disk_that_cannot_be_written_stops_it(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where the folder should be")
    with pytest.raises(RunError):
        export_images(scans, tmp_path / "out")
