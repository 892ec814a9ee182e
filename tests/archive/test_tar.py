import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from medpref.archive import tar as archives
from medpref.archive.tar import unpack_tar, write_tar
from medpref.errors import InputError


def entry(name: str, data: bytes = b"x", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, data


def write(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def test_files_come_back(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    long = "/".join(["a-long-name"] * 15)
    for name, text in {"a.txt": "one", "logs/b.txt": "two", long: "three", "logs/é.txt": ""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_tar(folder, tmp_path / "x.tar.gz", "root")
    (tmp_path / "out").mkdir()
    found = unpack_tar(tmp_path / "x.tar.gz", tmp_path / "out")
    assert found == tmp_path / "out" / "root"
    texts = {p.relative_to(found).as_posix(): p.read_text() for p in found.rglob("*") if p.is_file()}
    assert texts == {"a.txt": "one", "logs/b.txt": "two", long: "three", "logs/é.txt": ""}


def test_times_and_modes_make_no_difference(tmp_path: Path) -> None:
    for number, mode in enumerate((0o600, 0o755)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "a.txt").write_text("one")
        (folder / "a.txt").chmod(mode)
        os.utime(folder / "a.txt", (number, number))
        write_tar(folder, tmp_path / f"{number}.tar.gz", "root")
    assert (tmp_path / "0.tar.gz").read_bytes() == (tmp_path / "1.tar.gz").read_bytes()


@pytest.mark.parametrize(
    "bad",
    [
        entry("../out.txt"),
        entry("root/../../out.txt"),
        entry("/root/out.txt"),
        entry("root"),
        entry("root//a.txt"),
        entry("root/./a.txt"),
        entry("root/..\\..\\out.txt"),
        entry("C:/out.txt"),
        entry("root/a\x01b"),
        entry("root/a. "),
        entry("root/link", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        entry("root/link", b"", type=tarfile.LNKTYPE, linkname="root/a.txt"),
        entry("root/device", b"", type=tarfile.CHRTYPE),
        entry("root/pipe", b"", type=tarfile.FIFOTYPE),
        entry("root/folder", b"", type=tarfile.DIRTYPE),
        entry("root/FIRST.txt"),
        entry("other/a.txt"),
    ],
    ids=lambda bad: repr(bad[0].name),
)
def test_what_is_no_plain_file_within_is_refused(tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes]) -> None:
    archive = write(tmp_path / "x.tar.gz", entry("root/first.txt"), bad)
    folder = tmp_path / "deep" / "out"
    folder.mkdir(parents=True)
    with pytest.raises(InputError, match=r"x\.tar\.gz"):
        unpack_tar(archive, folder)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    within = {path for path in written if path.is_relative_to(folder)}
    assert written == {archive, *within}, "nothing is written elsewhere"
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_too_much_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    archive = write(tmp_path / "x.tar.gz", entry("root/a", bytes(900)), entry("root/b", bytes(900)))
    with pytest.raises(InputError, match="too large"):
        unpack_tar(archive, tmp_path)
    assert not (tmp_path / "root" / "b").exists()


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    whole = write(tmp_path / "x.tar.gz", entry("root/a", bytes(range(256)) * 100))
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[:-40])
    text = tmp_path / "text.tar.gz"
    text.write_bytes(b"no archive")
    empty = tmp_path / "empty.tar.gz"
    empty.write_bytes(gzip.compress(bytes(1024)))
    for path in (cut, text, empty, tmp_path / "none.tar.gz"):
        (folder := tmp_path / f"{path.name}.out").mkdir()
        with pytest.raises(InputError, match=path.name):
            unpack_tar(path, folder)
