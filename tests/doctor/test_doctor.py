"""The doctor finds what is broken, says so, and goes on to the next check."""

import importlib.metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from medpref.cli import app
from medpref.doctor import machine
from medpref.doctor.check import Finding, run_checks
from medpref.doctor.model import check_model
from medpref.errors import InputError


def by_name(findings) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_a_check_that_raises_has_failed_and_the_others_run() -> None:
    def broken():
        raise InputError("no such file", where="a.yaml", remedy="Make one.")

    def worse():
        yield Finding("half", "ok", "")
        raise ZeroDivisionError("by hand")

    found = list(run_checks([("a", broken), ("b", worse), ("c", lambda: [Finding("c", "ok", "fine")])]))
    assert found[0] == Finding("a", "fail", "a.yaml: no such file", "Make one.")
    assert found[2] == Finding("b", "fail", "ZeroDivisionError: by hand")
    assert found[3].status == "ok"


def test_a_sound_model_passes(backbone) -> None:
    found = by_name(check_model(backbone))
    assert {finding.status for finding in found.values()} == {"ok"}
    assert "16 of image" in found["template"].told
    assert list(found) == [
        "model",
        "template",
        "image processor",
        "prefix sharing",
        "log-probs",
        "generation",
    ]


def test_half_precision_has_a_wider_limit(backbone) -> None:
    backbone.model.to(torch.bfloat16)
    read = backbone.read_image
    backbone.read_image = lambda image: {k: v.to(torch.bfloat16) for k, v in read(image).items()}
    found = by_name(check_model(backbone))
    assert found["prefix sharing"].status == "ok"
    assert "bfloat16; limit 0.15" in found["prefix sharing"].told


def test_broken_sharing_is_found(backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    read_states = backbone.read_states

    def leaking(rows, features):
        # Each branch sees all that stands before it, the other answer included.
        rows.allowed.fill_(True)
        rows.visible.copy_(torch.ones_like(rows.visible))
        return read_states(rows, features)

    monkeypatch.setattr(backbone, "read_states", leaking)
    found = by_name(check_model(backbone))["prefix sharing"]
    assert found.status == "fail"
    assert "Scores would be wrong" in found.remedy


def test_a_model_that_does_not_look_is_found(backbone) -> None:
    with torch.no_grad():
        for weight in backbone.model.model.multi_modal_projector.parameters():
            weight.zero_()
    found = by_name(check_model(backbone))
    assert (found["log-probs"].status, found["prefix sharing"].status) == ("fail", "ok")
    assert "does not see" in found["log-probs"].told


def test_damaged_weights_are_found(backbone) -> None:
    with torch.no_grad():
        backbone.model.lm_head.weight[5] = float("nan")
    assert by_name(check_model(backbone))["log-probs"].status == "fail"


def test_an_answer_that_stops_nothing_is_found(backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(backbone), "stop_tokens", (7,))
    told = [finding.told for finding in check_model(backbone) if finding.status == "fail"]
    assert any("stops nothing" in line for line in told)


def test_separate_rows_are_noted(backbone) -> None:
    backbone.shares_prefix = False
    assert by_name(check_model(backbone))["prefix sharing"].status == "note"


def test_an_old_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.1" if name == "peft" else version(name)
    )
    found = by_name(machine.versions())
    assert found["peft"].status == "fail"
    assert "pip install 'peft" in found["peft"].remedy
    assert found["transformers"].status == "ok"


def test_a_folder_that_cannot_be_written_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (found,) = machine.disk(tmp_path / "not" / "there")
    assert found.status == "fail"


def test_a_model_s_folder_is_checked(backbone, tmp_path: Path) -> None:
    backbone.save(tmp_path / "model")
    result = CliRunner().invoke(app, ["doctor", "--model", str(tmp_path / "model")])
    assert result.exit_code == 0, result.output
    assert "shared and separate rows differ by" in result.output


def test_a_missing_model_fails_and_the_rest_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", "--model", str(tmp_path)])
    assert result.exit_code == 1
    assert "this folder holds no model" in result.output
    assert "disk:" in result.output


def test_a_study_is_checked_with_its_models_and_its_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    small = ["--set", "data.train=8", "--set", "data.pool=8"]
    result = CliRunner().invoke(app, ["doctor", "phantom", *small])
    assert result.exit_code == 0, result.output
    for line in ("study: phantom", "tiny-mistral: prefix sharing", "tiny-mistral: template", "memory: "):
        assert line in result.output
    monkeypatch.setattr("medpref.doctor.study.device_memory", lambda: 1e6)
    result = CliRunner().invoke(app, ["doctor", "phantom", "--no-load", *small])
    assert result.exit_code == 1
    assert "GB at most" in result.output
    assert "prefix sharing" not in result.output


def test_a_study_without_its_data_fails(tmp_path: Path) -> None:
    folder = f"data.folder={tmp_path / 'nothing'}"
    result = CliRunner().invoke(app, ["doctor", "vqa-rad", "--no-load", "--set", folder])
    assert result.exit_code == 1
    assert "nothing" in result.output
