import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.pixels import convert_color_space, set_pixel_data
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.pairs.dicoms import DX, SECRETS, compressed, described, groups, make_dicom, table

from medpref.errors import InputError
from medpref.files import file_hash
from medpref.pairs.images import image_fault, image_size, open_image, open_mask, save_png
from medpref.pairs.images.export import export_images
from medpref.pairs.pair import ImageRole, Pair, ResponseRole
from medpref.pairs.store import read_pairs, write_pairs

# Two rows, three columns: not square, so that rows and columns cannot be confused.
GREY = np.array([[0, 100, 200], [300, 400, 1000]], dtype=np.uint16)
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
REPORT = "1.2.840.10008.5.1.4.1.1.88.11"


def shown(path: Path) -> np.ndarray:
    image = open_image(path)
    assert image_size(path) == image.size
    assert image.mode in ("L", "RGB")
    return np.asarray(image)


def scaled(values: Any, low: float, high: float) -> np.ndarray:
    """Return what a range of values shows, by hand."""
    return np.rint(255 * np.clip((np.asarray(values, float) - low) / (high - low), 0, 1)).astype(np.uint8)


def test_without_a_window_the_range_is_spread(tmp_path: Path) -> None:
    assert np.array_equal(shown(make_dicom(tmp_path / "a.dcm", GREY)), scaled(GREY, 0, 1000))


def test_the_mark_counts_not_the_name(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "IM000001", GREY)
    assert shown(path).shape == (2, 3)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless])
def test_other_ways_to_write_the_same(tmp_path: Path, syntax: UID) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, WindowCenter=500, WindowWidth=1000)
    wanted = shown(path)
    data = dcmread(path)
    if syntax.is_encapsulated:
        data.compress(syntax)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    assert np.array_equal(shown(tmp_path / "b.dcm"), wanted)


def test_big_endian(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    big = {**described(GREY), "VOILUTSequence": table(0, [0, 65535])}
    make_dicom(path, GREY.astype(">u2").tobytes(), syntax=ExplicitVRBigEndian, **big)
    assert shown(path).tolist() == [[0, 255, 255], [255, 255, 255]]


def test_the_first_window_by_hand(tmp_path: Path) -> None:
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), black up to 150, white above 349.
    path = make_dicom(tmp_path / "a.dcm", GREY, WindowCenter=[250, 1], WindowWidth=[200, 1])
    at_200, at_300 = (round(255 * ((x - 249.5) / 199 + 0.5)) for x in (200, 300))
    assert shown(path).tolist() == [[0, 0, at_200], [at_300, 255, 255]]


WINDOWS = [
    ("LINEAR_EXACT", [(x - 250) / 200 + 0.5 for x in GREY.flatten().tolist()]),
    ("SIGMOID", [1 / (1 + np.exp(-4 * (x - 250) / 200)) for x in GREY.flatten().tolist()]),
]


@pytest.mark.parametrize(("function", "wanted"), WINDOWS)
def test_the_other_windows(tmp_path: Path, function: str, wanted: list[float]) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, WindowCenter=250, WindowWidth=200, VOILUTFunction=function)
    by_hand = np.rint(255 * np.clip(wanted, 0, 1)).reshape(GREY.shape)
    assert np.abs(shown(path).astype(int) - by_hand).max() <= 1


@pytest.mark.parametrize("width", [0, -5, None])
def test_a_window_of_no_width_is_none(tmp_path: Path, width: int | None) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, WindowCenter=5, WindowWidth=width)
    assert np.array_equal(shown(path), scaled(GREY, 0, 1000))


def test_rescaled_signed_values(tmp_path: Path) -> None:
    # A CT: stored values from -24, Hounsfield units 1,000 below, window of the lung.
    stored = np.array([[-24, 0, 400], [800, 1000, 2000]], dtype=np.int16)
    path = make_dicom(
        tmp_path / "a.dcm",
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        WindowCenter=-600,
        WindowWidth=1500,
    )
    assert np.array_equal(shown(path), scaled(stored - 1000, -600.5 - 749.5, -600.5 + 749.5))


def test_stored_12_of_16_bits(tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm", GREY, BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096
    )
    assert np.array_equal(shown(path), scaled(GREY, 0, 4095))


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    plain = shown(make_dicom(tmp_path / "a.dcm", GREY, WindowCenter=500, WindowWidth=1000))
    path = make_dicom(
        tmp_path / "b.dcm",
        GREY,
        PhotometricInterpretation="MONOCHROME1",
        WindowCenter=500,
        WindowWidth=1000,
    )
    assert np.array_equal(shown(path), 255 - plain)
    assert shown(path)[0, 0] == 255


def test_padding_does_not_count_for_the_range(tmp_path: Path) -> None:
    stored = np.array([[-2000, 0, 50], [100, -2000, 25]], dtype=np.int16)
    path = make_dicom(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000)
    assert np.array_equal(shown(path), scaled(stored, 0, 100))


def test_8_bits_that_nothing_rescales_stay(tmp_path: Path) -> None:
    pixels = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    assert np.array_equal(shown(make_dicom(tmp_path / "a.dcm", pixels)), pixels)


def test_a_modality_table_then_a_voi_table(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 2], [3, 4, 9]], dtype=np.uint16)
    path = make_dicom(
        tmp_path / "a.dcm",
        stored,
        # 1 → 10, 2 → 20, 3 → 30; below and above take the first and last entry.
        ModalityLUTSequence=table(1, [10, 20, 30]),
        # 10 → 0, 11 … 30 → 13 and more of 255: an 8-bit table with more entries than 256 has none of its own.
        VOILUTSequence=table(10, [13 * k for k in range(20)] + [255], bits=8),
        # Left aside, as there is a table.
        WindowCenter=1,
        WindowWidth=1,
    )
    assert shown(path).tolist() == [[0, 0, 130], [255, 255, 255]]


def test_a_voi_table_shorter_than_the_values(tmp_path: Path) -> None:
    # 8-bit entries for values of 16 bits: an index must not wrap round.
    path = make_dicom(tmp_path / "a.dcm", GREY, VOILUTSequence=table(0, [0, 100, 255], bits=8))
    assert shown(path).tolist() == [[0, 255, 255], [255, 255, 255]]


def test_the_functional_groups_of_an_enhanced_file(tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm",
        GREY,
        SharedFunctionalGroupsSequence=groups(RescaleSlope=2, RescaleIntercept=-10),
        PerFrameFunctionalGroupsSequence=groups(WindowCenter=500, WindowWidth=1000),
    )
    assert np.array_equal(shown(path), scaled(2.0 * GREY - 10, 0, 999))


RGB = np.arange(18, dtype=np.uint8).reshape(2, 3, 3) * 14


def test_colours(tmp_path: Path) -> None:
    assert np.array_equal(shown(make_dicom(tmp_path / "a.dcm", RGB)), RGB)


def test_planes_of_colour(tmp_path: Path) -> None:
    path = make_dicom(
        tmp_path / "a.dcm",
        np.moveaxis(RGB, -1, 0).copy(),
        **described(RGB, PlanarConfiguration=1),
    )
    assert np.array_equal(shown(path), RGB)


def test_colours_of_16_bits(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", RGB.astype(np.uint16) * 257)
    assert np.array_equal(shown(path), RGB)


def test_ybr_becomes_rgb(tmp_path: Path) -> None:
    pixels = convert_color_space(RGB, "RGB", "YBR_FULL")
    path = make_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="YBR_FULL")
    assert np.abs(shown(path).astype(int) - RGB).max() <= 2


def test_ybr_of_half_the_columns_becomes_rgb(tmp_path: Path) -> None:
    # Two pixels share their colour: Y1 Y2 Cb Cr. Grey has the colour 128.
    stored = bytes([50, 60, 128, 128, 70, 80, 128, 128])
    tags = described(np.zeros((1, 4, 3), np.uint8), PhotometricInterpretation="YBR_FULL_422")
    path = make_dicom(tmp_path / "a.dcm", stored, **tags)
    assert shown(path).tolist() == [[[y, y, y] for y in (50, 60, 70, 80)]]


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette(tmp_path: Path, bits: int) -> None:
    entries = [[0, 255, 10, 0], [0, 0, 20, 0], [100, 0, 30, 0]]
    tags: dict[str, Any] = {}
    for colour, values in zip(("Red", "Green", "Blue"), entries, strict=True):
        tags[f"{colour}PaletteColorLookupTableDescriptor"] = [4, 0, bits]
        data = np.array(values, np.uint16) * 257 if bits == 16 else np.array(values, np.uint8)
        tags[f"{colour}PaletteColorLookupTableData"] = data.tobytes()
    pixels = np.array([[0, 1, 2], [2, 1, 0]], dtype=np.uint8)
    path = make_dicom(tmp_path / "a.dcm", pixels, PhotometricInterpretation="PALETTE COLOR", **tags)
    black, red, grey = [0, 0, 100], [255, 0, 0], [10, 20, 30]
    assert shown(path).tolist() == [[black, red, grey], [grey, red, black]]


def test_jpeg_in_dicom(tmp_path: Path) -> None:
    pixels = np.asarray(Image.linear_gradient("L").resize((48, 32)))
    path = make_dicom(
        tmp_path / "a.dcm",
        [compressed(pixels, "JPEG", quality=95)],
        syntax=JPEGBaseline8Bit,
        **described(pixels),
    )
    assert np.abs(shown(path).astype(int) - pixels).max() <= 4


def test_jpeg_2000_in_dicom(tmp_path: Path) -> None:
    pixels = np.asarray(Image.radial_gradient("L").resize((48, 32)))
    path = make_dicom(
        tmp_path / "a.dcm",
        [compressed(pixels, "JPEG2000", no_jp2=True)],
        syntax=JPEG2000Lossless,
        **described(pixels),
    )
    assert np.array_equal(shown(path), pixels)


MISSING = [
    (JPEGLosslessSV1, r"JPEG Lossless.*\(pip install pylibjpeg pylibjpeg-libjpeg\)"),
    (JPEGLSLossless, r"JPEG-LS Lossless.*\(pip install pyjpegls\)"),
]


@pytest.mark.parametrize(("syntax", "reason"), MISSING)
def test_a_missing_decoder_is_named(
    tmp_path: Path, syntax: UID, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_dicom(tmp_path / "a.dcm", [b"\xff\xd8\xff\xd9"], syntax=syntax, **described(GREY))
    from pydicom.pixels import get_decoder

    # Wherever the tests run, as if nothing were installed.
    monkeypatch.setattr(get_decoder(syntax), "_available", {})
    with pytest.raises(InputError, match=f"a.dcm: no decoder is installed for {reason}"):
        open_image(path)
    with pytest.raises(InputError, match="no decoder is installed"):
        image_size(path)


def test_a_video_has_no_decoder(tmp_path: Path) -> None:
    mpeg = UID("1.2.840.10008.1.2.4.100")
    path = make_dicom(tmp_path / "a.dcm", [b"\0\0"], syntax=mpeg, **described(RGB))
    with pytest.raises(InputError, match="no decoder is known for MPEG2"):
        open_image(path)


def test_a_deflated_file_is_not_inflated(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, syntax=DeflatedExplicitVRLittleEndian)
    with pytest.raises(InputError, match="deflated as a whole"):
        open_image(path)


FAULTS = [
    ({"Rows": 0}, r"holds no image \(Digital X-Ray Image Storage - For Presentation\)"),
    ({"PhotometricInterpretation": "HSV"}, "the photometric interpretation 'HSV' is not known"),
    ({"VOILUTFunction": "CUBIC"}, "the window's function 'CUBIC' is not known"),
    ({"PixelData": None}, "the image cannot be read"),
    ({"BitsAllocated": 7}, "the image cannot be read"),
]


@pytest.mark.parametrize(("tags", "reason"), FAULTS)
def test_what_is_wrong_is_told(tmp_path: Path, tags: dict[str, Any], reason: str) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, **tags)
    with pytest.raises(InputError, match=reason):
        open_image(path)


def test_a_report_is_no_image(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", b"", SOPClassUID=REPORT, PixelData=None)
    assert image_fault(path) == "the DICOM file holds no image (Basic Text SR Storage)"


@pytest.mark.parametrize("start", [b"", b"\0" * 128 + b"DICM", b"\0" * 200])
def test_a_name_makes_no_dicom(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(start)
    with pytest.raises(InputError, match=r"no DICOM file|cannot be read"):
        open_image(tmp_path / "a.dcm")


def test_frames_are_counted_and_refused(tmp_path: Path) -> None:
    film = np.stack([GREY, GREY + 1, GREY + 2])
    path = make_dicom(tmp_path / "a.dcm", film, NumberOfFrames=3)
    for read in (open_image, image_size):
        with pytest.raises(InputError, match="the file holds 3 frames where a pair shows one") as caught:
            read(path)
        assert "medpref images export" in str(caught.value.remedy)


def test_pixels_that_a_header_only_promises_are_not_allocated(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, Rows=9000, Columns=9000)
    with pytest.raises(InputError, match="cut short: its header tells of 162,000,000 bytes"):
        open_image(path)
    path = make_dicom(tmp_path / "b.dcm", GREY, Rows=60000, Columns=60000)
    for read in (open_image, image_size):
        with pytest.raises(InputError, match="over 100,000,000 pixels"):
            read(path)


def test_a_stream_larger_than_its_header_tells_is_refused(tmp_path: Path) -> None:
    huge = compressed(np.zeros((64, 64), np.uint8), "JPEG")
    path = make_dicom(
        tmp_path / "a.dcm", [huge], syntax=JPEGBaseline8Bit, **described(GREY[:, :1].astype(np.uint8))
    )
    with pytest.raises(InputError, match="cannot be read"):
        open_image(path)


@pytest.mark.parametrize("kept", [100, 140, 400, -5])
def test_a_file_cut_short(tmp_path: Path, kept: int) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (32, 32)).astype(np.uint16)
    path = make_dicom(tmp_path / "a.dcm", noise)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError):
        open_image(path)


def test_burned_in_text_is_warned_of_once(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY, BurnedInAnnotation="YES")
    with pytest.warns(UserWarning, match=r"a\.dcm: the file says that text is burned into its pixels"):
        open_image(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_image(path)


def test_a_secondary_capture_is_warned_of(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", RGB, SOPClassUID=CAPTURE)
    with pytest.warns(UserWarning, match="a secondary capture that does not say"):
        open_image(path)
    clean = make_dicom(tmp_path / "b.dcm", RGB, SOPClassUID=CAPTURE, BurnedInAnnotation="NO")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_image(clean)


def test_a_mask_in_dicom(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", (GREY > 250).astype(np.uint8))
    assert np.array_equal(open_mask(path), GREY > 250)


def test_without_the_library_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    for read in (open_image, image_size):
        with pytest.raises(InputError, match=r"needs pydicom \(pip install 'medpref\[dicom\]'\)"):
            read(path)


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_nothing_of_a_patient_gets_out(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    # Values that break their type's rules: the library's own warnings would quote them.
    odd = {"PatientID": "PAT-4711" * 12, "PatientBirthDate": "19470305 or so", "PatientSex": "DOE?"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        good = make_dicom(scans / "good.dcm", GREY, BurnedInAnnotation="YES", **odd)
        bad = make_dicom(scans / "bad.dcm", GREY, PixelData=None, **odd)
        film = make_dicom(scans / "film.dcm", np.stack([GREY, GREY]), NumberOfFrames=2, **odd)
    assert all(secret.encode() in all_bytes(scans) for secret in SECRETS)
    caplog.clear()
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        image = open_image(good)
        errors = [str(image_fault(path)) for path in (bad, film)]
        for path in (bad, film):
            with pytest.raises(InputError) as error:
                open_image(path)
            errors.append(f"{error.value} {error.value.__cause__} {error.value.args}")
        export = export_images(scans, out / "pictures")
        errors += [f"{left.source.name}: {left.reason}" for left in export.left_out]
    assert image.info == {}
    save_png(out / "good.png", image)
    pair = Pair("a", "<image>\nWhere?", {ImageRole.CLEAN: (good,)}, {ResponseRole.CHOSEN: "There."})
    write_pairs(out / "pairs.jsonl", [pair])
    write_pairs(out / "pairs.parquet", [pair])
    read = read_pairs(out / "pairs.jsonl")
    read.write_quarantine(out / "quarantine.jsonl")
    assert len(read.pairs) == 1
    told = [*errors, *(str(warning.message) for warning in caught), caplog.text, *capfd.readouterr()]
    everything = all_bytes(out).decode("latin-1") + file_hash(good) + " ".join(told)
    assert "burned" in everything
    assert not [secret for secret in SECRETS if secret in everything]


def test_a_dicom_file_is_an_image_of_a_pair(tmp_path: Path) -> None:
    path = make_dicom(tmp_path / "a.dcm", GREY)
    (tmp_path / "pairs.jsonl").write_text(
        '{"id": "a", "question": "Where?", "answer": "x", "image": "a.dcm"}\n'
    )
    (pair,) = read_pairs(tmp_path / "pairs.jsonl").pairs
    assert pair.images[ImageRole.CLEAN] == (path,)
    shutil.copy(path, tmp_path / "same.dcm")
    assert file_hash(tmp_path / "same.dcm") == file_hash(path)


def test_a_file_that_the_library_wrote_itself(tmp_path: Path) -> None:
    # Its own way to store pixels, as an independent check of ours.
    path = make_dicom(tmp_path / "a.dcm", GREY)
    data = dcmread(path)
    set_pixel_data(data, GREY[::-1].copy(), "MONOCHROME2", 16)
    data.save_as(path)
    assert np.array_equal(shown(path), scaled(GREY[::-1], 0, 1000))
    assert data.SOPClassUID == DX
