"""Questions and captions say what the facts say, in words from the vocabulary."""

import numpy as np

from medpref.phantoms import KINDS, VISUAL_KINDS, generate, vocabulary
from medpref.phantoms.questions import CHOICES, PHRASINGS, all_facts, answers, ask, caption, describe


def test_every_kind_has_choices_and_several_wordings() -> None:
    assert set(CHOICES) == set(KINDS)
    assert set(PHRASINGS) == {*KINDS, "caption"}
    assert set(VISUAL_KINDS) < set(KINDS)
    for wordings in PHRASINGS.values():
        assert len(set(wordings)) >= 2


def test_no_wording_belongs_to_two_kinds() -> None:
    wordings = [wording for options in PHRASINGS.values() for wording in options]
    assert len(wordings) == len(set(wordings))


def test_questions_agree_with_the_facts() -> None:
    rng = np.random.default_rng(0)
    for facts in all_facts():
        questions = {question.kind: question for question in ask(facts, rng)}
        assert {kind: question.answer for kind, question in questions.items()} == answers(facts)
        assert questions["presence"].answer == ("yes" if facts.count else "no")
        assert ("side" in questions) == (facts.side is not None)
        assert ("vertical" in questions) == (facts.vertical is not None)
        for kind in ("count", "size", "intensity"):
            assert (kind in questions) == (facts.count > 0)
        for kind, question in questions.items():
            assert question.answer in question.choices
            assert question.choices == CHOICES[kind]
            assert question.prompt in PHRASINGS[kind]
            assert question.closed == (kind == "presence")


def test_captions_state_all_the_facts() -> None:
    captions = [describe(facts) for facts in all_facts()]
    assert len(captions) == len(set(captions))
    assert "axial T2 MRI of the brain with two small bright lesions in the right part." in captions
    assert "coronal CT of the chest with one large dark lesion in the left upper part." in captions
    assert "frontal X-ray of the chest without a lesion." in captions


def test_the_vocabulary_covers_everything() -> None:
    strings = set(vocabulary())
    assert vocabulary() == sorted(strings)
    for index in range(60):
        phantom = generate(9, index)
        for question in (*phantom.questions, phantom.caption):
            assert {question.prompt, question.answer, *question.choices} <= strings


def test_only_modality_names_are_capitalised() -> None:
    names = {word for modality in CHOICES["modality"] for word in modality.split()}
    for string in vocabulary():
        assert all(word in names or word == word.lower() for word in string.split())


def test_wordings_vary() -> None:
    facts = next(iter(all_facts()))
    rng = np.random.default_rng(1)
    assert len({caption(facts, rng).prompt for _ in range(50)}) == len(PHRASINGS["caption"])
    assert len({ask(facts, rng)[0].prompt for _ in range(50)}) == len(PHRASINGS["modality"])
