from pathlib import Path

import pytest
from tests.conversion.checkpoints import original_checkpoint

from medpref import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr("sys.argv", ["medpref", "convert", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    return tmp_path / "original"


def test_there_and_back(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, source, tmp_path / "plain") == 0
    assert "80 tensors" in capsys.readouterr().out
    assert run(monkeypatch, tmp_path / "plain", tmp_path / "back", "--to-original", "--like", source) == 0
    assert (tmp_path / "back" / "tokenizer.json").read_bytes() == (source / "tokenizer.json").read_bytes()


def test_a_dry_run_prints_every_tensor(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, source, tmp_path / "plain", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "model.mm_projector.2.bias → multi_modal_projector.linear_2.bias  F32 32" in printed
    assert printed.count(" → ") == 80
    assert "80 tensors, none left over" in printed
    assert not (tmp_path / "plain").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--like", "x"), "--like goes together with --to-original only"),
        (("--to-original", "--template", "huatuo"), "do not go together with --to-original"),
        (("--vision-tower", "nowhere"), "nowhere"),
        (("--template", "huatu"), "Did you mean 'huatuo'"),
    ],
)
def test_what_cannot_be_used_is_exit_code_2(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, source, tmp_path / "plain", *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_disk_that_cannot_be_written_is_exit_code_1(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(monkeypatch, source, tmp_path / "file" / "plain") == 1
    assert "writing failed" in capsys.readouterr().err
