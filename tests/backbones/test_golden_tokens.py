"""Token ids of both templates, as the original code of LLaVA-Med and HuatuoGPT-Vision makes them.

The tokenizers in ``tokenizers/`` are cut out of the models' own: they hold every piece of the whole
vocabulary that occurs in the texts below, under its own id, so that on these texts they are the same.
The lists were made with the whole tokenizers by the rules of the original code: LLaVA-Med encodes the
chunks around an image one by one and masks up to ``[/INST]``; HuatuoGPT-Vision encodes each turn's parts
one by one, and the answer apart from its tag.
"""

from pathlib import Path

import pytest
from tokenizers import Tokenizer, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from medpref.backbones.templates import templates
from medpref.errors import InputError
from medpref.pairs.pair import Turn

FOLDER = Path(__file__).parent / "tokenizers"
WHERE, WHICH, LUNG = "Where is the lesion?", "Which one is clear?", "And the right lung?"
NO, LOBE = "No, it is clear.", "In the upper lobe."

# The pieces of the texts, for lists that can be read.
B, S, E = [733, 16289, 28793], [733, 28748, 16289, 28793], 2  # ▁[ INST ] | ▁[ / INST ] | </s>
IMG = [28705, 32000, 28705, 13]  # ▁ <image> ▁ <0x0A>
M_IS_LESION, M_IS_CLEAR = [349, 272, 1514, 296, 28804], [624, 349, 3081, 28804]
M_WHERE = [9607, *M_IS_LESION]  # Where ▁is ▁the ▁les ion ?  (with a ▁ of its own: 6926)
M_LUNG = [272, 1103, 14966, 28804]  # ▁the ▁right ▁lung ?
M_NO = [1770, 28725, 378, 349, 3081, 28723, 28705]  # ▁No , ▁it ▁is ▁clear . ▁
M_LOBE = [560, 272, 7280, 305, 8898, 28723, 28705]  # ▁In ▁the ▁upper ▁l obe . ▁
MISTRAL = {
    "one turn": ([1, *B, *IMG, *M_WHERE, *S], [*M_NO, E]),
    "text": ([1, *B, 6926, *M_IS_LESION, *S], [*M_NO, E]),
    "two turns": ([1, *B, *IMG, *M_WHERE, *S, *M_NO, E, *B, 1015, *M_LUNG, *S], [*M_LOBE, E]),
    "three text turns": (
        [
            *[1, *B, 6926, *M_IS_LESION, *S, *M_NO, E],
            *[*B, 1015, *M_LUNG, *S, *M_LOBE, E],
            *[*B, 9595, *M_IS_CLEAR, *S],
        ],
        [*M_NO, E],
    ),
    "two images": ([1, *B, *IMG, 32000, 28705, 13, 26703, *M_IS_CLEAR, *S], [*M_NO, E]),
    "an image in each turn": (
        [1, *B, *IMG, *M_WHERE, *S, *M_NO, E, *B, *IMG, 2467, *M_LUNG, *S],
        [*M_LOBE, E],
    ),
    "an answer that begins with a newline": (
        [1, *B, *IMG, 26703, *M_IS_CLEAR, *S],
        [28705, 13, 2501, 28705, E],  # ▁ <0x0A> No ▁
    ),
    "such an answer in the history": (
        [1, *B, *IMG, 26703, *M_IS_CLEAR, *S, 28705, 13, 2501, 28705, E, *B, 1015, *M_LUNG, *S],
        [*M_LOBE, E],
    ),
    "an answer that begins with a blank": ([1, *B, 6926, *M_IS_LESION, *S], [28705, 1770, 28705, E]),
}

U, A, END = [27, 91, 872, 91, 397], [27, 91, 77091, 91, 397], 151643  # < | user | >⏎ and assistant
PIC = [151646, 198]  # <image> ⏎
Q_WHERE, Q_LUNG = [9064, 374, 279, 92117, 5267], [3036, 279, 1290, 20622, 5267]  # the last is ?⏎
Q_WHICH = [23085, 825, 374, 2797, 5267]
Q_NO, Q_LOBE = [2753, 11, 432, 374, 2797, 13], [641, 279, 8416, 326, 15422, 13]
QWEN = {
    "one turn": ([*U, *PIC, *Q_WHERE, *A], [*Q_NO, END]),
    "text": ([*U, *Q_WHERE, *A], [*Q_NO, END]),
    # 715 is the blank with the newline behind an earlier answer; nothing ends it.
    "two turns": ([*U, *PIC, *Q_WHERE, *A, *Q_NO, 715, *U, *Q_LUNG, *A], [*Q_LOBE, END]),
    "three text turns": (
        [*U, *Q_WHERE, *A, *Q_NO, 715, *U, *Q_LUNG, *A, *Q_LOBE, 715, *U, *Q_WHICH, *A],
        [*Q_NO, END],
    ),
    "two images": ([*U, *PIC, *PIC, *Q_WHICH, *A], [*Q_NO, END]),
    "an image in each turn": (
        [*U, *PIC, *Q_WHERE, *A, *Q_NO, 715, *U, *PIC, *Q_LUNG, *A],
        [*Q_LOBE, END],
    ),
    "an answer that begins with a newline": ([*U, *PIC, *Q_WHICH, *A], [198, 2753, END]),
    # In the history the newline merges with the tag's, as in the original: 1339 is >⏎⏎.
    "such an answer in the history": (
        [*U, *PIC, *Q_WHICH, *A[:-1], 1339, 2753, 715, *U, *Q_LUNG, *A],
        [*Q_LOBE, END],
    ),
    "an answer that begins with a blank": ([*U, *Q_WHERE, *A], [2308, END]),
}
CASES = {
    "one turn": ((), f"<image>\n{WHERE}", NO),
    "text": ((), WHERE, NO),
    "two turns": ((Turn(f"<image>\n{WHERE}", NO),), LUNG, LOBE),
    "three text turns": ((Turn(WHERE, NO), Turn(LUNG, LOBE)), WHICH, NO),
    "two images": ((), f"<image>\n<image>\n{WHICH}", NO),
    "an image in each turn": ((Turn(f"<image>\n{WHERE}", NO),), f"<image>\n{LUNG}", LOBE),
    "an answer that begins with a newline": ((), f"<image>\n{WHICH}", "\nNo"),
    "such an answer in the history": ((Turn(f"<image>\n{WHICH}", "\nNo"),), LUNG, LOBE),
    "an answer that begins with a blank": ((), WHERE, " No"),
}
# As older and newer versions of the library write SentencePiece's leading blank.
FORMS = ("normalizer", "metaspace")


def mistral(form: str = "normalizer") -> PreTrainedTokenizerFast:
    """Return LLaVA-Med's tokenizer on the texts above."""
    core = Tokenizer.from_file(str(FOLDER / "mistral.json"))
    if form == "metaspace":
        core.normalizer = None
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def qwen2() -> PreTrainedTokenizerFast:
    """Return HuatuoGPT-Vision's tokenizer on the texts above."""
    core = Tokenizer.from_file(str(FOLDER / "qwen2.json"))
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|endoftext|>")


def encode(
    tokenizer: PreTrainedTokenizerFast, name: str, history: tuple[Turn, ...], prompt: str, answer: str
) -> tuple[list[int], list[int]]:
    template, reserved = templates[name], tokenizer.all_special_tokens
    asked = template.prompt_ids(
        tokenizer,
        prompt,
        history,
        bos=tokenizer.bos_token_id,
        image=tokenizer.convert_tokens_to_ids("<image>"),
        image_tokens=1,
        eos=tokenizer.eos_token_id,
        reserved=reserved,
    )
    return asked, template.response_ids(tokenizer, answer, eos=tokenizer.eos_token_id, reserved=reserved)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", FORMS)
def test_llava_med(form: str, case: str) -> None:
    assert encode(mistral(form), "mistral-instruct", *CASES[case]) == MISTRAL[case]


@pytest.mark.parametrize("case", CASES)
def test_huatuo_vision(case: str) -> None:
    assert encode(qwen2(), "huatuo", *CASES[case]) == QWEN[case]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("answer", [NO, "\nNo", " No", LOBE])
def test_a_row_is_what_its_text_would_be(form: str, answer: str) -> None:
    # The original encodes prompt and answer in one piece; only its image chunks stand apart.
    tokenizer = mistral(form)
    prompt, response = encode(tokenizer, "mistral-instruct", (), WHERE, answer)
    text = f"[INST] {WHERE} [/INST] {answer} "
    assert [*prompt, *response] == [1, *tokenizer.encode(text, add_special_tokens=False), 2]


def test_a_response_alone_would_begin_with_two_blanks() -> None:
    # What the stand-in is there for.
    alone = mistral().encode(f" {NO} ", add_special_tokens=False)
    assert alone == [28705, *M_NO]


@pytest.mark.parametrize("typed", ["Where</s> is the <s>lesion?", "Where is the <</s>/s>lesion?"])
def test_special_tokens_that_a_user_typed_are_gone(typed: str) -> None:
    history = (Turn(f"<image>\n{typed}", f"{NO}</s>"),)
    assert encode(mistral(), "mistral-instruct", history, LUNG, f"{LOBE}</s><image>") == MISTRAL["two turns"]


@pytest.mark.parametrize("typed", ["Where<|im_end|> is the lesion?<|endoftext|>", f"{WHERE}<image>"])
def test_huatuos_special_tokens_are_gone_too(typed: str) -> None:
    prompt = typed if "<image>" in typed else f"<image>\n{typed}"
    tokenizer = qwen2()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    assert encode(tokenizer, "huatuo", (), prompt, f"{NO}<|endoftext|>") == QWEN["one turn"]


@pytest.mark.parametrize(
    "prompt",
    [f"{WHERE}\n<image>", f"<image>{WHERE}", f"  <image>\n\n{WHERE} \n", "Where <image>is the lesion?"],
)
def test_images_stand_before_the_text(prompt: str) -> None:
    # The originals move them there and strip the text; images elsewhere were never seen in training.
    assert encode(mistral(), "mistral-instruct", (), prompt, NO) == MISTRAL["one turn"]
    assert encode(qwen2(), "huatuo", (), prompt, NO) == QWEN["one turn"]


def test_an_image_takes_as_many_tokens_as_are_asked_for() -> None:
    ids = templates["huatuo"].prompt_ids(
        qwen2(), f"<image>\n{WHERE}", bos=None, image=151646, image_tokens=576
    )
    assert ids == [*U, *[151646] * 576, 198, *Q_WHERE, *A]


def test_a_tokenizer_that_writes_the_stand_in_with_what_follows_is_refused() -> None:
    class Pairs:
        def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
            return [hash(text[k : k + 2]) for k in range(0, len(text), 2)]

    with pytest.raises(InputError, match="writes ']' together with what follows it"):
        templates["mistral-instruct"].response_ids(Pairs(), NO, eos=2)
