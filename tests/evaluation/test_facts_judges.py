import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medpref.errors import InputError, RunError
from medpref.evaluation.agreement import cohen_kappa
from medpref.evaluation.facts import (
    FactCase,
    Item,
    Judge,
    Judgement,
    Label,
    judge_items,
    make_items,
    score_facts,
)
from medpref.evaluation.facts.files import FactRow
from medpref.evaluation.facts.judges import judges
from medpref.evaluation.facts.judges.nli import choose, label_columns
from medpref.evaluation.facts.judges.rules import RulesJudge, label_fact, read_text
from medpref.evaluation.scores.text import normalise
from medpref.files import read_jsonl

E, P, N, C = Label.ENTAILMENT, Label.PARTIAL, Label.NEUTRAL, Label.CONTRADICTION
LETTERS = {"E": E, "P": P, "N": N, "C": C}
CASES = yaml.safe_load((Path(__file__).parent / "fact_judge_cases.yaml").read_text("utf-8"))


def kappa(part: str) -> float:
    gold = [LETTERS[letter] for *_, letter in CASES[part]]
    said = [label_fact(fact, read_text(text)) for fact, text, _ in CASES[part]]
    found = cohen_kappa(gold, said)
    assert found is not None
    return found


def test_the_rules_agree_with_people_as_far_as_the_documentation_says() -> None:
    assert len(CASES["tuned"]) + len(CASES["held_out"]) >= 60
    assert kappa("tuned") == pytest.approx(1.0)
    assert kappa("held_out") == pytest.approx(0.44, abs=0.005)


@given(st.text(max_size=200), st.text(max_size=400))
def test_the_rules_read_whatever_comes(fact: str, text: str) -> None:
    assert label_fact(fact, read_text(text)) in Label


def test_an_empty_response_says_nothing() -> None:
    (judgement,) = RulesJudge().judge([Item("a", ("The heart is enlarged.", "There is no effusion."), "")])
    assert judgement.content == '["1. Neutral", "2. Neutral"]'


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5))
def test_a_text_entails_its_own_sentences(sentences: list[str]) -> None:
    facts = [" ".join(re.sub(r"[.!?;]", " ", sentence).split()) for sentence in sentences]
    said = read_text("\n".join(facts))
    assert all(label_fact(fact, said) is E for fact in facts if normalise(fact))


# Judging into a file.


class Scripted(Judge):
    """Says what it was told to; stops after so many items."""

    def __init__(self, said: dict[str, str | None], stop: int | None = None) -> None:
        self.said = said
        self.stop = stop
        self.asked: list[str] = []

    @property
    def identity(self) -> dict[str, Any]:
        return {"judge": "scripted"}

    def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
        for item in items:
            if self.stop is not None and len(self.asked) >= self.stop:
                raise RunError("stopped")
            self.asked.append(item.id)
            content = self.said[item.id]
            yield Judgement(item, content, None if content else "refused")


ITEMS = [Item(name, ("x", "y"), f"text {name}") for name in "abcd"]
GOOD = '["1. Entailment", "2. Neutral"]'


def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    judge_items(Scripted(dict.fromkeys("abcd", GOOD)), ITEMS, whole)
    path = tmp_path / "r.jsonl"
    with pytest.raises(RunError, match="stopped"):
        judge_items(Scripted(dict.fromkeys("abcd", GOOD), stop=2), ITEMS, path)
    # A kill cuts the last line short.
    path.write_text(path.read_text()[:-20])
    again = Scripted(dict.fromkeys("abcd", GOOD))
    judged = judge_items(again, ITEMS, path)
    assert again.asked == ["b", "c", "d"]
    assert (judged.kept, judged.readable, judged.reasons) == (1, 4, {})
    assert path.read_bytes() == whole.read_bytes()


def test_only_what_has_no_labels_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    first = judge_items(Scripted({"a": GOOD, "b": "?", "c": None, "d": '["Neutral"]'}), ITEMS, path)
    assert first.readable == 1
    assert first.reasons == {
        "b": "no list of labels is in the reply",
        "c": "refused",
        "d": "1 labels for 2 facts",
    }
    again = Scripted(dict.fromkeys("abcd", GOOD))
    assert judge_items(again, ITEMS, path).readable == 4
    assert again.asked == ["b", "c", "d"]


def test_a_response_that_changed_is_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    judge_items(Scripted(dict.fromkeys("abcd", GOOD)), ITEMS, path)
    changed = [Item("a", ("x", "y"), "another text"), *ITEMS[1:]]
    again = Scripted(dict.fromkeys("abcd", GOOD))
    judge_items(again, changed, path)
    assert again.asked == ["a"]


def test_replies_of_another_judge_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    judge_items(Scripted(dict.fromkeys("abcd", GOOD)), ITEMS, path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="something else"):
        judge_items(RulesJudge(), ITEMS, path)
    assert path.read_bytes() == before
    path.write_text("precious\nnotes\n")
    with pytest.raises(InputError, match="something else"):
        judge_items(RulesJudge(), ITEMS, path)


def test_rows_have_the_shape_of_a_batch_output(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    judge_items(Scripted({"a": GOOD, "b": None}), ITEMS[:2], path)
    good, failed = (row for _, row in read_jsonl(path))
    assert good["custom_id"] == "a"
    assert good["response"]["body"]["choices"][0]["message"]["content"] == GOOD
    assert good["error"] is None
    assert failed["response"] is None
    assert failed["error"]["message"] == "refused"


def test_what_cannot_be_judged_is_named() -> None:
    rows = [
        FactRow("a", ("x",), "a"),
        FactRow("b", (), "b", "no facts"),
        FactRow("c", ("x",), "c"),
        FactRow("d", ("x",), "d"),
        FactRow("d", ("y",), "d"),
    ]
    items, left_out = make_items(rows, {"a": "t", "b": "t", "d": "t"})
    assert [item.id for item in items] == ["a"]
    assert left_out == {
        "b": "no facts",
        "c": "no text with this id",
        "d": "several rows of facts have this id, and differ",
    }


# Scores for evaluation logs.


def test_scores_for_a_log_by_hand(tmp_path: Path) -> None:
    class Both(Scripted):
        def judge(self, items: Sequence[Item]) -> Iterator[Judgement]:
            for item in items:
                # The reference's facts against the answer, and the answer's against the reference.
                forward = item.text == "answer"
                yield Judgement(item, '["Entailment", "Contradiction"]' if forward else '["Entailment"]')

    cases = [
        FactCase("a", ("x", "y"), "answer", "gold", ("z",)),
        FactCase("b", ("x", "y"), "answer"),
        FactCase("c", (), "answer"),
        FactCase("d", ("x",), "answer"),
        FactCase("e", ("x", "y"), "answer", "gold", ()),
    ]
    for path in (None, tmp_path / "replies.jsonl", tmp_path / "replies.jsonl"):
        made = score_facts(Both({}), cases, path)
        # Precision 1, recall ½: F1 = 2·½/1½ = ⅔.
        first = {"fact_comp": 0.5, "fact_hall": 0.5, "fact_precision": 1.0, "fact_f1": pytest.approx(2 / 3)}
        assert made[0].scores == first
        assert made[1].scores == made[4].scores == {"fact_comp": 0.5, "fact_hall": 0.5}
        assert (made[2].scores, made[2].unscored) == ({}, "no facts")
        assert (made[3].scores, made[3].unscored) == ({}, "2 labels for 1 facts")
    assert (tmp_path / "replies.reverse.jsonl").is_file()


# The NLI classifier.


def test_columns_are_found_by_the_names_of_the_labels() -> None:
    assert label_columns({0: "CONTRADICTION", 1: "neutral", 2: "Entailment"}, {}) == {C: 0, N: 1, E: 2}
    given = {"LABEL_0": "entailment", "LABEL_1": "neutral", "LABEL_2": "contradiction"}
    assert label_columns({0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}, given) == {E: 0, N: 1, C: 2}


@pytest.mark.parametrize(
    "names", [("LABEL_0", "LABEL_1"), ("entailment", "not_entailment"), ("entailment", "neutral")]
)
def test_a_classifier_without_the_three_labels_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        label_columns(dict(enumerate(names)), {})


def test_partial_entailment_is_a_rule_on_neutral_facts() -> None:
    columns = {E: 0, N: 1, C: 2}
    assert choose(np.array([0.4, 0.5, 0.1]), columns, None) is N
    assert choose(np.array([0.4, 0.5, 0.1]), columns, 0.3) is P
    assert choose(np.array([0.2, 0.7, 0.1]), columns, 0.3) is N
    assert choose(np.array([0.3, 0.2, 0.5]), columns, 0.3) is C


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("nli")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "heart", "is", "enlarged", "no", "effusion", "."]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    names = ("contradiction", "neutral", "entailment")
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40, initializer_range=1.0,
        id2label=dict(enumerate(names)),
        label2id={name: n for n, name in enumerate(names)},
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_classifier_labels_each_fact_by_its_own_probabilities(classifier: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    facts = ("the heart is enlarged .", "no effusion .", "the effusion is enlarged")
    text = "the heart is enlarged . no effusion ."
    judge = judges["nli"].make({"model": str(classifier), "device": "cpu", "batch": 2})
    (judgement,) = judge.judge([Item("a", facts, text)])
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    with torch.no_grad():
        best = [int(model(**tokenizer(text, fact, return_tensors="pt")).logits.argmax()) for fact in facts]
    names = ["Contradiction", "Neutral", "Entailment"]
    assert judgement.content == str([f"{n}. {names[b]}" for n, b in enumerate(best, start=1)]).replace(
        "'", '"'
    )


def test_a_text_that_is_too_long_is_read_in_windows(classifier: Path) -> None:
    judge = judges["nli"].make({"model": str(classifier), "device": "cpu"})
    (judgement,) = judge.judge([Item("a", ("no effusion .",), "the heart is enlarged . " * 60)])
    assert judgement.content is not None
    windows = judge._windows("the heart is enlarged . " * 60, "no effusion .")  # type: ignore[attr-defined]
    assert len(windows) > 10
    assert all(len(window.split()) <= 40 for window in windows)


def test_a_folder_without_a_classifier_is_refused(tmp_path: Path, classifier: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        judges["nli"].make({"model": str(tmp_path)})
    with pytest.raises(InputError, match="'model' is missing"):
        judges["nli"].make({})
    with pytest.raises(InputError, match="no setting 'modle'"):
        judges["nli"].make({"modle": "x"})


# A generative model.


def test_a_random_model_leaves_samples_unscored(tmp_path: Path, make_backbone: Callable[..., Any]) -> None:
    folder = tmp_path / "model"
    make_backbone("qwen2", max_length=1024).save(folder)
    judge = judges["local"].make({"model": str(folder), "device": "cpu", "max_new_tokens": 8})
    judged = judge_items(judge, ITEMS[:2], tmp_path / "r.jsonl")
    assert judged.readable == 0
    assert set(judged.reasons) == {"a", "b"}


def test_a_text_model_in_a_folder_is_asked_too(tmp_path: Path, make_backbone: Callable[..., Any]) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path / "model"
    tokenizer = make_backbone("qwen2").tokenizer
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=4096,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    judge = judges["local"].make({"model": str(folder), "device": "cpu", "max_new_tokens": 6})
    first = judge_items(judge, ITEMS[:2], tmp_path / "r.jsonl")
    assert first.readable == 0
    assert all("reply" in reason or "label" in reason for reason in first.reasons.values())
    assert (
        judges["local"].make({"model": str(folder), "device": "cpu"}).identity["model"]
        == judge.identity["model"]
    )
