"""The recipes that ask models, against `transformers serve` with a tiny model of random weights.

What such a model says is nonsense, so that all of it has to end in the quarantine.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from medpref.errors import InputError, RunError
from medpref.files import read_json, read_jsonl
from medpref.pairs.pair import Pair, ResponseRole
from medpref.pairs.recipes import Recipe, RecipeContext, response_recipes, weight_recipes
from medpref.pairs.recipes.judged import QUARANTINE as JUDGED_QUARANTINE
from medpref.pairs.recipes.judged import REPORT as JUDGED_REPORT
from medpref.pairs.recipes.written import QUARANTINE as WRITTEN_QUARANTINE
from medpref.pairs.recipes.written import REPORT as WRITTEN_REPORT

NEEDED = ("httpx2", "fastapi", "uvicorn", "openai")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]

START_SECONDS = 180
"""How long the server may take to be there: it imports torch."""
LONGEST = 12
"""Tokens of a reply."""
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


class Running(NamedTuple):
    """A server's process, its address, and the name of its model."""

    process: "subprocess.Popen[bytes]"
    address: str
    model: str

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def save_tiny_model(folder: Path) -> None:
    """Write a language model of random weights with a tokenizer that knows bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<s>", "</s>", *letters])}
    words = Tokenizer(models.BPE(vocabulary, []))
    words.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        # A prompt of ours has about 2,000 bytes.
        max_position_embeddings=8192,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


def wait_until_there(running: Running, log: Path) -> None:
    health = running.address.removesuffix("/v1") + "/health"
    # Loopback needs no proxy, whatever the environment says.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if running.process.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
        try:
            with opener.open(health, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"no server after {START_SECONDS} s: {log.read_text()[-2000:]}")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    folder = tmp_path / "model"
    save_tiny_model(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
    command += [str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path / "server.log"
    with log.open("wb") as output:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    running = Running(process, f"http://127.0.0.1:{port}/v1", str(folder))
    try:
        wait_until_there(running, log)
        yield running
    finally:
        running.stop()


def pairs(count: int) -> list[Pair]:
    responses = {ResponseRole.CHOSEN: "In the left lung", ResponseRole.REJECTED: "In the heart"}
    return [Pair(f"p{n}", f"Where is lesion {n}?", {}, responses, kind="position") for n in range(count)]


def fail(recipe: Recipe[Any], settings: dict[str, Any], folder: Path, told: str) -> RecipeContext:
    """Run a recipe that gets nothing usable; return what it noted."""
    folder.mkdir(exist_ok=True)
    context = RecipeContext(0, folder)
    with pytest.raises(InputError, match=told):
        recipe.run(pairs(3), settings, context)
    return context


def quarantined(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)]


def test_nonsense_is_put_aside_and_asked_for_once(server: Running, tmp_path: Path) -> None:
    model = {
        "endpoint": server.address,
        "model": server.model,
        "max_tokens": LONGEST,
        "cache": tmp_path / "cache",
        "prices": {"input": 1.0, "output": 1.0},
    }
    writer, judges = response_recipes["llm-write"], weight_recipes["judges"]
    both = {"judges": [model, {**model, "max_tokens": LONGEST + 1}], "repairs": 0}

    context = fail(writer, model, tmp_path / "written", "no reply could be used")
    fail(judges, both, tmp_path / "judged", "no judge gave a reply")

    report = read_json(tmp_path / "written" / WRITTEN_REPORT)
    rows = quarantined(tmp_path / "written" / WRITTEN_QUARANTINE)
    assert [row["id"] for row in rows] == [left.id for left in context.left_out] == ["p0", "p1", "p2"]
    assert {row["reason"] for row in rows} <= {
        "it was cut short at the longest reply",
        "it is no JSON object",
    }
    # What was said first, and what the repair said.
    assert [len(row["replies"]) for row in rows] == [2, 2, 2]
    assert all(isinstance(reply, str) for row in rows for reply in row["replies"])
    assert (report["quarantined"], report["written"]) == (3, {})
    assert (report["replies"]["asked"], report["replies"]["kept"]) == (6, 0)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json")]
    spent = sum(reply["prompt_tokens"] + reply["tokens"] for reply in kept) / 1e6
    judged = read_json(tmp_path / "judged" / JUDGED_REPORT)
    costs = [report["replies"]["cost"], *(judge["replies"]["cost"] for judge in judged["judges"])]
    assert sum(costs) == pytest.approx(spent)
    assert all(0 < reply["tokens"] <= LONGEST + 1 for reply in kept)
    assert (judged["unscored"], judged["rounds"]) == (3, {"1": 3})
    assert [judge["replies"]["asked"] for judge in judged["judges"]] == [3, 3]
    assert [judge["quarantined"] for judge in judged["judges"]] == [3, 3]
    assert len(quarantined(tmp_path / "judged" / JUDGED_QUARANTINE)) == 6

    # Who asks a server that is gone would be told.
    server.stop()
    fail(writer, model, tmp_path / "again", "no reply could be used")
    fail(judges, both, tmp_path / "again", "no judge gave a reply")
    again = read_json(tmp_path / "again" / WRITTEN_REPORT)
    assert again["replies"] == {"asked": 0, "kept": 6, "cost": 0.0, "currency": "USD"}
    assert quarantined(tmp_path / "again" / WRITTEN_QUARANTINE) == rows
    kept_by = read_json(tmp_path / "again" / JUDGED_REPORT)["judges"]
    assert [judge["replies"]["kept"] for judge in kept_by] == [3, 3]
    other = {**model, "temperature": 0.3, "retries": 0}
    with pytest.raises(RunError, match="no connection"):
        writer.run(pairs(1), other, RecipeContext(0, tmp_path / "again"))
