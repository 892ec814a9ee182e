"""What a conversion writes, and how it resumes."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file
from tests.conversion.checkpoints import TOWER, original_checkpoint, save_tensors

from medpref.backbones.tensor_files import Placed
from medpref.conversion import convert_checkpoint
from medpref.conversion import folder as folder_module
from medpref.conversion.folder import unfinished_folder
from medpref.errors import InputError, RunError

SMALL = 60_000
KILLED = """
import os, signal, sys
from pathlib import Path
from medpref.conversion import convert_checkpoint, stream
source, target, limit = sys.argv[1:]
calls = [0]
# Two shards and the manifest behind each are done; the third has its bytes but not yet its name.
def fsync(handle, real=os.fsync):
    calls[0] += 1
    real(handle)
    if calls[0] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
stream.os.fsync = fsync
convert_checkpoint(Path(source), Path(target), shard_bytes=int(limit))
"""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in sorted(folder.glob("*.safetensors")) for k, v in load_file(path).items()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    original_checkpoint(tmp_path / "original", "llava_mistral")
    return tmp_path / "original"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_tensors_are_the_source_byte_for_byte(dtype: torch.dtype, tmp_path: Path) -> None:
    config, tensors = original_checkpoint(tmp_path / "original", "llava_mistral", dtype=dtype)
    conversion = convert_checkpoint(tmp_path / "original", tmp_path / "plain", shard_bytes=SMALL)
    made = weights(tmp_path / "plain")
    assert len(made) == len(tensors) == len(conversion.placed)
    for placed in conversion.placed:
        before, after = tensors[placed.source], made[placed.name]
        assert after.dtype == dtype
        if placed.source in ("lm_head.weight", "model.embed_tokens.weight"):
            assert after.shape[0] == config["vocab_size"] + 1
            assert not after[-1].any()
            after = after[:-1]
        assert torch.equal(after, before)
    written = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert written["torch_dtype"] == str(dtype).removeprefix("torch.")


def test_tensors_of_mixed_types_stay_as_they_are(tmp_path: Path) -> None:
    config, tensors = original_checkpoint(tmp_path / "original", "llava_qwen2")
    mixed = {k: v.half() if k.startswith(TOWER) else v for k, v in tensors.items()}
    shutil.rmtree(tmp_path / "original")
    original_checkpoint(tmp_path / "original", "llava_qwen2")
    save_tensors(tmp_path / "original", mixed, 3, "safetensors")
    convert_checkpoint(tmp_path / "original", tmp_path / "plain")
    made = weights(tmp_path / "plain")
    kinds = {name.split(".")[0]: tensor.dtype for name, tensor in made.items()}
    assert kinds["vision_tower"] == torch.float16
    assert kinds["language_model"] == torch.float32
    assert config["vocab_size"] == made["language_model.lm_head.weight"].shape[0]


def test_what_is_written(source: Path, tmp_path: Path) -> None:
    (source / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Hello\n")
    (source / "LICENSE").write_text("Be kind.")
    convert_checkpoint(source, tmp_path / "plain", shard_bytes=SMALL)
    plain = tmp_path / "plain"
    shards = {name for name in names(plain) if name.startswith("model-")}
    assert len(shards) > 3
    assert names(plain) - shards == {
        *("model.safetensors.index.json", "config.json", "generation_config.json", "medpref.json", "LICENSE"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"),
        *("preprocessor_config.json", "README.md", "conversion.json"),
    }
    manifest = json.loads((plain / "conversion.json").read_text())
    assert manifest["sha256"].keys() == names(plain) - {"conversion.json"}
    assert all(digest(plain / name) == told for name, told in manifest["sha256"].items())
    files = ["config.json", *sorted(path.name for path in source.glob("*.safetensors"))]
    assert manifest["source_sha256"] == {name: digest(source / name) for name in files}
    assert manifest["source"] == "original"
    index = json.loads((plain / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == shards
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in weights(plain).values())
    assert json.loads((plain / "medpref.json").read_text()) == {
        "template": "mistral-instruct",
        "max_length": 128,
    }
    card = (plain / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    assert str(tmp_path) not in card
    assert all(manifest["source_sha256"][name] in card for name in files)
    assert (plain / "LICENSE").read_text() == "Be kind."


def test_without_a_licence_the_card_says_so(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "plain")
    card = (tmp_path / "plain" / "README.md").read_text()
    assert "Licence: not stated. Check the terms" in card
    assert "license:" not in card


def test_the_language_model_keeps_its_settings(tmp_path: Path) -> None:
    original_checkpoint(tmp_path / "a", "llava_mistral", rope_theta=12345.0, rms_norm_eps=1e-4)
    convert_checkpoint(tmp_path / "a", tmp_path / "plain")
    told = json.loads((tmp_path / "plain" / "config.json").read_text())
    assert told["text_config"]["rope_theta"] == 12345.0
    assert told["text_config"]["rms_norm_eps"] == 1e-4
    assert told["text_config"]["sliding_window"] is None
    assert told["vision_config"]["hidden_act"] == "quick_gelu"
    assert told["vision_config"]["num_attention_heads"] == 2
    assert told["vision_feature_layer"] == -2
    assert told["image_seq_length"] == 16


def test_settings_that_contradict_each_other_are_left_out_and_named(source: Path, tmp_path: Path) -> None:
    (source / "generation_config.json").write_text(json.dumps({"do_sample": False, "temperature": 0.2}))
    lines: list[str] = []
    convert_checkpoint(source, tmp_path / "plain", say=lines.append)
    told = json.loads((tmp_path / "plain" / "generation_config.json").read_text())
    assert "temperature" not in told
    assert any("left out of it: do_sample, temperature" in line for line in lines)


def test_a_dry_run_writes_nothing(source: Path, tmp_path: Path) -> None:
    conversion = convert_checkpoint(source, tmp_path / "plain", dry_run=True)
    assert names(tmp_path) == {"original"}
    assert len(conversion.placed) == len({placed.name for placed in conversion.placed})


# Resuming


def test_a_killed_conversion_goes_on(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "plain"
    arguments = [sys.executable, "-c", KILLED, str(source), str(target), str(SMALL)]
    run = subprocess.run(
        arguments, capture_output=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert not target.exists()
    work = unfinished_folder(target)
    assert "config.json" not in names(work)
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("model-*")}
    assert len(kept) == 2
    assert list(work.glob(".model-00003*"))
    lines: list[str] = []
    convert_checkpoint(source, target, say=lines.append, shard_bytes=SMALL)
    assert not work.exists()
    assert {name: (target / name).stat().st_mtime_ns for name in kept} == kept
    assert sum("kept from an earlier run" in line for line in lines) == 2
    convert_checkpoint(source, tmp_path / "whole", shard_bytes=SMALL)
    for name in names(tmp_path / "whole"):
        assert digest(target / name) == digest(tmp_path / "whole" / name), name


def interrupt(source: Path, target: Path) -> Path:
    """Leave an unfinished conversion with two shards behind."""

    def stop(line: str) -> None:
        if line.startswith("model-00003"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_checkpoint(source, target, say=stop, shard_bytes=SMALL)
    return unfinished_folder(target)


def kept_shards(source: Path, target: Path) -> int:
    lines: list[str] = []
    convert_checkpoint(source, target, say=lines.append, shard_bytes=SMALL)
    return sum("kept from an earlier run" in line for line in lines)


def test_a_shard_that_changed_is_written_again(source: Path, tmp_path: Path) -> None:
    work = interrupt(source, tmp_path / "plain")
    path = next(work.glob("model-00001*"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert kept_shards(source, tmp_path / "plain") == 1


def test_shards_of_another_source_are_not_kept(source: Path, tmp_path: Path) -> None:
    interrupt(source, tmp_path / "plain")
    path = next(source.glob("*.safetensors"))
    changed = {name: tensor + 1 for name, tensor in load_file(path).items()}
    save_file(changed, path, metadata={"format": "pt"})
    assert kept_shards(source, tmp_path / "plain") == 0
    made = weights(tmp_path / "plain")
    assert made["language_model.model.norm.weight"].shape == (32,)


def test_a_whole_conversion_is_left_alone(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "plain")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "plain").iterdir()}
    lines: list[str] = []
    convert_checkpoint(source, tmp_path / "plain", say=lines.append)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "plain").iterdir()} == before
    assert lines[-1] == "plain is there already, and whole"


def test_a_whole_conversion_that_was_changed_is_refused(source: Path, tmp_path: Path) -> None:
    convert_checkpoint(source, tmp_path / "plain")
    (tmp_path / "plain" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"1 files of this conversion were changed or removed: config\.json"):
        convert_checkpoint(source, tmp_path / "plain")


def test_a_folder_of_something_else_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="not empty, and not this conversion"):
        convert_checkpoint(source, tmp_path / "plain")
    assert (tmp_path / "plain" / "thesis.tex").read_text() == "precious"


def test_a_folder_in_the_way_is_refused(source: Path, tmp_path: Path) -> None:
    work = unfinished_folder(tmp_path / "plain")
    work.mkdir()
    (work / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="this folder is in the way"):
        convert_checkpoint(source, tmp_path / "plain")
    assert (work / "thesis.tex").read_text() == "precious"


def test_an_empty_folder_is_taken(source: Path, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    convert_checkpoint(source, tmp_path / "plain")
    assert (tmp_path / "plain" / "config.json").is_file()


def test_two_conversions_into_one_folder_are_refused(source: Path, tmp_path: Path) -> None:
    work = unfinished_folder(tmp_path / "plain")
    work.mkdir()
    with FileLock(work / ".lock"), pytest.raises(RunError, match="another process writes this folder"):
        convert_checkpoint(source, tmp_path / "plain")


def test_a_full_disk_is_told_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    with pytest.raises(RunError, match=r"0\.0 GB are free"):
        convert_checkpoint(source, tmp_path / "plain")
    assert not (tmp_path / "plain").exists()


def test_a_disk_that_fills_up_is_told_and_what_is_finished_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Placed.chunks, [0]

    def full(placed: Placed) -> object:
        calls[0] += 1
        if calls[0] > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(placed)

    monkeypatch.setattr(Placed, "chunks", full)
    with pytest.raises(RunError, match="the disk is full"):
        convert_checkpoint(source, tmp_path / "plain", shard_bytes=SMALL)
    monkeypatch.undo()
    assert not (tmp_path / "plain").exists()
    assert not list(unfinished_folder(tmp_path / "plain").glob(".model*"))
    assert kept_shards(source, tmp_path / "plain") > 0
