"""vLLM itself needs a GPU: a module that checks its arguments as vLLM documents them stands in for it."""

import os
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.conftest import BackboneMaker, ImageMaker
from tests.generation.engines import make_questions

from medpref.backbones.sampling import GREEDY, Sampling
from medpref.errors import InputError
from medpref.generation.engine import Engine, engines
from medpref.generation.question import Answer, Failure, Question, question_seed
from medpref.generation.vllm import narrow
from medpref.pairs.images import open_image


class SamplingParams:
    """Takes what vLLM's class of this name documents, and checks it as that does."""

    def __init__(
        self,
        *,
        max_tokens: int = 16,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        stop_token_ids: list[int] | None = None,
        logit_bias: dict[int, float] | None = None,
    ) -> None:
        assert max_tokens >= 1
        assert temperature >= 0
        assert 0 < top_p <= 1
        assert isinstance(top_k, int)
        assert top_k >= -1
        assert seed is None or -(2**63) <= seed < 2**63
        assert all(isinstance(token, int) for token in stop_token_ids or [])
        assert all(-100 <= bias <= 100 for bias in (logit_bias or {}).values())
        self.max_tokens, self.temperature, self.top_p, self.top_k = max_tokens, temperature, top_p, top_k
        self.seed, self.stop_token_ids, self.logit_bias = seed, stop_token_ids, logit_bias


class LLM:
    """Answers with the prompt's ids; keeps what it was made with and asked."""

    made: Sequence["LLM"] = ()
    finish = "stop"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        limit_mm_per_prompt: dict[str, int] | None = None,
        generation_config: str = "auto",
        enforce_eager: bool = False,
    ) -> None:
        assert Path(model, "config.json").is_file()
        assert trust_remote_code is False
        assert generation_config == "vllm", "the folder's own settings would change the answers"
        self.limit = (limit_mm_per_prompt or {}).get("image", 1)
        self.given = (dtype, tensor_parallel_size, gpu_memory_utilization, max_model_len, enforce_eager)
        self.calls: list[list[tuple[dict[str, Any], SamplingParams]]] = []
        LLM.made = (*LLM.made, self)

    def generate(
        self,
        prompts: Sequence[dict[str, Any]],
        sampling_params: Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
    ) -> list[Any]:
        assert sampling_params is not None
        assert len(prompts) == len(sampling_params)
        for prompt in prompts:
            assert prompt.keys() <= {"prompt_token_ids", "multi_modal_data"}
            images = prompt.get("multi_modal_data", {"image": []})["image"]
            assert len(images) <= self.limit
            assert all(isinstance(image, Image.Image) and image.mode == "RGB" for image in images)
        self.calls.append(list(zip(prompts, sampling_params, strict=True)))
        return [
            SimpleNamespace(
                outputs=[
                    SimpleNamespace(
                        text=f" {sum(prompt['prompt_token_ids'])} ",
                        token_ids=(1, 2),
                        finish_reason=self.finish,
                    )
                ]
            )
            for prompt in prompts
        ]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    module = ModuleType("vllm")
    module.__dict__.update(LLM=LLM, SamplingParams=SamplingParams, __version__="0.19.0")
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", ())
    monkeypatch.setattr(LLM, "finish", "stop")
    return LLM


@pytest.fixture
def folder(make_backbone: BackboneMaker, tmp_path: Path) -> Path:
    make_backbone("mistral").save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def questions(make_image: ImageMaker) -> list[Question]:
    return make_questions([make_image(f"{number}.png", number) for number in range(3)])


def make(folder: Path, **settings: Any) -> Engine:
    return engines["vllm"].make(str(folder), {"max_images": 2, **settings})


def test_prompts_hold_one_token_for_each_image(
    fake: type[LLM], folder: Path, questions: list[Question], make_backbone: BackboneMaker
) -> None:
    engine = make(folder, batch=4)
    made = list(engine.answer(questions, GREEDY))
    (llm,) = fake.made
    assert [len(call) for call in llm.calls] == [4, 4, 4, 3]
    backbone = make_backbone("mistral")
    for question, (prompt, _), answer in zip(questions, chain(*llm.calls), made, strict=True):
        ids = prompt["prompt_token_ids"]
        assert ids.count(backbone.image_token) == len(question.images)
        # vLLM widens each token again: that gives the ids that medpref trains on.
        widened = [one for token in ids for one in [token] * (16 if token == backbone.image_token else 1)]
        assert widened == backbone.prompt_ids(question.prompt)
        shown = prompt.get("multi_modal_data", {"image": []})["image"]
        for image, path in zip(shown, question.images, strict=True):
            assert (np.asarray(image) == np.asarray(open_image(path).convert("RGB"))).all()
        assert answer == Answer(question.id, str(sum(ids)), "stop", 2)


def test_a_prompt_without_images_has_no_multi_modal_data(fake: type[LLM], folder: Path) -> None:
    list(make(folder).answer([Question("q", "What?")], GREEDY))
    ((prompt, _),) = fake.made[0].calls[0]
    assert prompt.keys() == {"prompt_token_ids"}


def test_the_model_is_made_once_and_as_the_settings_say(
    fake: type[LLM], folder: Path, questions: list[Question]
) -> None:
    settings = {"dtype": "bfloat16", "tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}
    engine = make(folder, **settings, max_length=100, options={"enforce_eager": True})
    assert fake.made == (), "nothing is loaded before the first question"
    for _ in range(2):
        list(engine.answer(questions, GREEDY))
    (llm,) = fake.made
    assert llm.given == ("bfloat16", 2, 0.5, 100, True)
    assert llm.limit == 2


def test_sampling_is_the_local_engine_s(
    fake: type[LLM], folder: Path, questions: list[Question], make_backbone: BackboneMaker
) -> None:
    sampling = Sampling(max_new_tokens=9, temperature=0.7, top_p=0.9, top_k=5, seed=3)
    list(make(folder).answer(questions, sampling))
    backbone = make_backbone("mistral")
    params = [params for _, params in fake.made[0].calls[0]]
    for question, given in zip(questions, params, strict=True):
        assert (given.max_tokens, given.temperature, given.top_p, given.top_k) == (9, 0.7, 0.9, 5)
        assert given.seed == question_seed(sampling, question) % 2**63
        assert given.stop_token_ids == [backbone.tokenizer.eos_token_id]
        assert given.logit_bias == {backbone.image_token: -100}
    list(make(folder).answer(questions, Sampling(top_p=0.5)))
    assert all((p.temperature, p.top_p) == (0, 1) for _, p in fake.made[1].calls[0])


def test_bad_questions_fail_by_themselves(
    fake: type[LLM], folder: Path, questions: list[Question], tmp_path: Path
) -> None:
    bad = [
        Question("missing", "<image>\nWhere?", (tmp_path / "none.png",)),
        Question("count", "Where?", questions[0].images),
        Question("three", "<image>\n" * 3 + "Where?", questions[0].images * 3),
        Question("long", "Where is the lesion? " * 100),
    ]
    made = {each.id: each for each in make(folder).answer([*bad, *questions], GREEDY)}
    reasons = [made.pop(question.id) for question in bad]
    assert [type(each) for each in reasons] == [Failure] * 4
    for failure, told in zip(reasons, ("missing", "0 <image>", "3 images", "tokens"), strict=True):
        assert isinstance(failure, Failure)
        assert told in failure.reason
    assert len(made) == 15
    assert all(isinstance(each, Answer) for each in made.values())


def test_answers_that_ended_otherwise_are_failures(
    fake: type[LLM], folder: Path, questions: list[Question], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLM, "finish", "length")
    assert {each.finish for each in make(folder).answer(questions, GREEDY) if isinstance(each, Answer)} == {
        "length"
    }
    monkeypatch.setattr(LLM, "finish", "abort")
    made = list(make(folder).answer(questions, GREEDY))
    assert all(isinstance(each, Failure) and "abort" in each.reason for each in made)


def test_the_identity_follows_folder_and_settings(fake: type[LLM], folder: Path) -> None:
    first = make(folder).identity
    assert make(folder, batch=3).identity == first
    assert make(folder, dtype="float16").identity != first
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert make(folder).identity != first


def test_vllm_tells_nobody_how_it_is_used(
    fake: type[LLM], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "0")
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    make(folder)
    assert os.environ["VLLM_NO_USAGE_STATS"] == os.environ["DO_NOT_TRACK"] == "1"


def test_a_missing_vllm_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_NO_USAGE_STATS", "1")
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="pip install vllm"):
        make(folder)


def test_types_whose_placeholders_are_unknown_are_refused(
    fake: type[LLM], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medpref.generation.vllm.read_config", lambda _: {"model_type": "gemma3"})
    with pytest.raises(InputError, match="--engine openai"):
        make(folder)


def test_runs_of_image_tokens_become_one_each() -> None:
    assert narrow([1, 9, 9, 9, 2, 9, 9, 9, 3], 9, 2) == [1, 9, 2, 9, 3]
    assert narrow([1, 2], 9, 0) == [1, 2]
    with pytest.raises(InputError, match="2 images stand in 1 places"):
        narrow([1, 9, 9, 2], 9, 2)
