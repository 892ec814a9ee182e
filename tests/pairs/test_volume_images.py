import gzip
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medpref.errors import InputError
from medpref.pairs.images import image_fault, image_size, open_image
from medpref.pairs.images.export import ExportSettings, export_images
from medpref.pairs.images.nifti import nifti_slices, read_shape


def make_volume(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    image = nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.header["descrip"] = b"DOE^JANE"
    nibabel.save(image, path)
    return path


@pytest.fixture
def body() -> np.ndarray:
    """A volume (right, front, up) of 4 × 5 × 6 voxels: 1 at the right, 2 at the front, 4 at the top."""
    values = np.zeros((4, 5, 6), np.int16)
    values[-1] += 1
    values[:, -1] += 2
    values[:, :, -1] += 4
    return values


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_is_no_image(tmp_path: Path, name: str, body: np.ndarray) -> None:
    path = make_volume(tmp_path / name, body)
    for read in (open_image, image_size):
        with pytest.raises(InputError, match="a volume of 4 × 5 × 6 voxels where a pair shows one") as caught:
            read(path)
        assert "medpref images export" in str(caught.value.remedy)


WINDOW = (3.5, 7.0)
SHADE = 255 / 7
# Rows from the top, columns from the left, as values of the volume; of the slice in the middle.
VIEWS = {
    # The front is up, the patient's right at the left.
    "axial": [[3, 2, 2, 2]] + [[1, 0, 0, 0]] * 4,
    # The head is up, the patient's right at the left.
    "coronal": [[5, 4, 4, 4]] + [[1, 0, 0, 0]] * 5,
    # The head is up, the front at the left.
    "sagittal": [[6, 4, 4, 4, 4]] + [[2, 0, 0, 0, 0]] * 5,
}
TURNS = {"RAS": (), "LPS": (0, 1), "LAI": (0, 2)}


@pytest.mark.parametrize("stored", TURNS)
@pytest.mark.parametrize("axis", VIEWS)
def test_slices_lie_as_they_are_looked_at(tmp_path: Path, axis: str, stored: str, body: np.ndarray) -> None:
    affine = np.eye(4)
    for turned in TURNS[stored]:
        # Stored the other way round, which the header tells.
        affine[turned, turned] = -1
        affine[turned, 3] = body.shape[turned] - 1
    path = make_volume(tmp_path / "a.nii", np.flip(body, TURNS[stored]).copy(), affine)
    slices = dict(nifti_slices(path, axis, window=WINDOW))
    assert np.abs(np.asarray(slices[1]) - np.array(VIEWS[axis]) * SHADE).max() <= 1


def test_axes_in_another_order(tmp_path: Path, body: np.ndarray) -> None:
    # Voxels stored from bottom to top first, then to the front, then to the right.
    affine = np.eye(4)[[2, 1, 0, 3]]
    path = make_volume(tmp_path / "a.nii", body.transpose(2, 1, 0).copy(), affine)
    slices = dict(nifti_slices(path, "axial", window=WINDOW))
    assert len(slices) == 6
    assert np.abs(np.asarray(slices[1]) - np.array(VIEWS["axial"]) * SHADE).max() <= 1


def test_slices_share_a_range_that_outliers_do_not_set(tmp_path: Path) -> None:
    values = np.tile(np.linspace(0, 100, 50, dtype=np.float32), (20, 10, 1)).reshape(20, 50, 10)
    values[0, 0, 0] = 1e6
    path = make_volume(tmp_path / "a.nii", values)
    shades = np.stack([np.asarray(image) for _, image in nifti_slices(path)])
    assert 100 < shades.mean() < 155
    assert (shades.min(), shades.max()) == (0, 255)


def test_an_export_of_every_other_slice(tmp_path: Path, body: np.ndarray) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    make_volume(tmp_path / "in" / "sub" / "a.nii.gz", body)
    export = export_images(tmp_path / "in", tmp_path / "out", ExportSettings(axis="coronal", every=2))
    assert [picture.number for picture in export.written] == [0, 2, 4]
    assert [str(picture.image.relative_to(tmp_path / "out")) for picture in export.written] == [
        f"sub/a.nii.gz-000{number}.png" for number in (0, 2, 4)
    ]
    assert open_image(export.written[0].image).size == (4, 6)
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert b"DOE" not in written


def test_a_fourth_dimension_is_refused_unless_it_is_one(tmp_path: Path, body: np.ndarray) -> None:
    path = make_volume(tmp_path / "a.nii", np.stack([body, body], axis=-1))
    with pytest.raises(InputError, match="4 dimensions where a volume has three"):
        list(nifti_slices(path))
    path = make_volume(tmp_path / "b.nii", body[..., None])
    assert len(list(nifti_slices(path))) == 6


def test_nifti_2(tmp_path: Path, body: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti2Image(body, np.eye(4)), tmp_path / "a.nii")
    assert read_shape(tmp_path / "a.nii") == (4, 5, 6)
    assert len(list(nifti_slices(tmp_path / "a.nii"))) == 6


def header(**changes: object) -> bytes:
    made = nibabel.Nifti1Header()
    made.set_data_shape((4, 5, 6))
    made["vox_offset"] = 352
    for name, value in changes.items():
        made[name] = value
    return bytes(made.binaryblock) + b"\0" * 4


BROKEN = {
    "over 300,000,000 voxels": header(dim=[3, 30000, 30000, 30000, 1, 1, 1, 1]),
    "the volume is empty": header(dim=[3, 4, 0, 6, 1, 1, 1, 1]),
    "the volume's header is broken": header(vox_offset=2e9),
    "colours or complex numbers": header(datatype=128, bitpix=24),
    "cannot be read": b"\0" * 400,
    r"cannot be read \(": b"text",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("reason", BROKEN)
def test_broken_headers_are_told_of(tmp_path: Path, reason: str, packed: bool) -> None:
    path = tmp_path / ("a.nii.gz" if packed else "a.nii")
    path.write_bytes(gzip.compress(BROKEN[reason]) if packed else BROKEN[reason])
    with pytest.raises(InputError, match=reason):
        open_image(path)
    export = export_images(path, tmp_path / "out")
    assert (len(export.written), len(export.left_out)) == (0, 1)


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    # 64 MiB of zeros behind a small header: only what the header tells of is read.
    path = tmp_path / "a.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header(datatype=4, bitpix=16))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert str(image_fault(path)).startswith("the file is a volume of 4 × 5 × 6 voxels")
    assert len(list(nifti_slices(path))) == 6


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_volume_cut_short_is_left_out(tmp_path: Path, name: str) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (9, 9, 9)).astype(np.int16)
    path = make_volume(tmp_path / name, values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (left,) = export_images(path, tmp_path / "out").left_out
    assert left.reason.startswith("the image cannot be read (")


def test_without_the_library_its_extra_is_named(
    tmp_path: Path, body: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_volume(tmp_path / "a.nii", body)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"needs nibabel \(pip install 'medpref\[nifti\]'\)"):
        open_image(path)
