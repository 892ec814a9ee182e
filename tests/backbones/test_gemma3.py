"""Gemma 3 against its own processor and forward pass, and shared rows against separate ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.backbones.sharing import check_sharing, scores_and_gradients
from tests.backbones.tiny_gemma import build_tiny_gemma
from tests.backbones.tiny_others import one_step
from torch import Tensor
from transformers import AutoModelForImageTextToText, AutoProcessor

from medpref.backbones.base import Rows
from medpref.backbones.families import family_of, load_backbone
from medpref.backbones.gemma3 import Gemma3Backbone, same_image
from medpref.backbones.processors import noise
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER, Pair, Turn
from medpref.scoring.cells import Cell
from medpref.scoring.features import FeatureCache
from medpref.scoring.plan import Path as ScoredPath
from medpref.scoring.plan import make_plan
from medpref.scoring.scorer import Scorer
from medpref.training.settings import TrainingSettings
from medpref.training.weights import prepare_model

CELLS = list(Cell)


@pytest.fixture
def gemma() -> Gemma3Backbone:
    torch.set_num_threads(1)
    return build_tiny_gemma()


@pytest.fixture
def mixed(make_image, make_pair) -> list[Pair]:
    """Pairs that share and differ in every way at once; rows are longer than the window."""
    a, b, c = (make_image(f"{name}.png", seed) for seed, name in enumerate("abc"))
    ra, rb, rc = (make_image(f"r{name}.png", 10 + seed) for seed, name in enumerate("abc"))
    earlier = (Turn("<image>\nIs the lung clear?", "No, there is a lesion."),)
    return [
        make_pair("a-1", (a,), (ra,)),
        make_pair("a-2", (a,), (ra,), "Where is the lesion in the image?"),
        make_pair("a-newline", (a,), (rb,), chosen="\nYes, in the upper lobe.", refused="Yes"),
        make_pair("b", (b,), (rb,), "Why?", chosen="Because of the upper lobe.", refused="No"),
        make_pair("two", (a, c), (ra, rc), "Which one is clear?", chosen="One"),
        make_pair("text", question="Is the lung in the image?"),
        Pair(
            "history",
            "Where is it?",
            make_pair("x", (b,), (rc,)).images,
            make_pair("x").responses,
            history=earlier,
        ),
    ]


def library_logps(
    backbone: Any, prompt: Sequence[int], response: Sequence[int], images: list[Tensor]
) -> Tensor:
    """Return the log-probs of a response's tokens from the library's forward pass on one plain row."""
    ids = torch.tensor([[*prompt, *response]])
    logits = backbone.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        token_type_ids=(ids == backbone.image_token).long(),
        pixel_values=torch.stack(images) if images else None,
    ).logits[0]
    logits[:, backbone.image_token] = float("-inf")
    scores = logits[len(prompt) - 1 : -1].log_softmax(-1)
    return scores.gather(1, torch.tensor(response)[:, None])[:, 0]


def asked(pairs: Sequence[Pair]) -> dict[Cell, list[Pair]]:
    """Return which pairs have what each cell needs."""
    return {cell: [pair for pair in pairs if pair.images or cell.image == "clean"] for cell in CELLS}


def conversation(prompt: str, history: Sequence[Turn], images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Return messages as a user of the library writes them."""
    shown = iter(images)

    def content(text: str) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        for number, chunk in enumerate(text.split(IMAGE_PLACEHOLDER)):
            parts += [{"type": "image", "image": next(shown)}] if number else []
            chunk = chunk.removeprefix("\n") if number else chunk
            parts += [{"type": "text", "text": chunk}] if chunk else []
        return parts

    messages = []
    for turn in history:
        messages.append({"role": "user", "content": content(turn.user)})
        messages.append({"role": "assistant", "content": content(turn.assistant)})
    return [*messages, {"role": "user", "content": content(prompt)}]


@pytest.mark.parametrize(
    ("prompt", "history"),
    [
        ("<image>\nWhere is the lesion?", ()),
        ("Where is the lesion?\n<image>", ()),
        ("<image>\n<image>\nWhich one is clear?", ()),
        ("This one: <image>\nor this one: <image>?", ()),
        ("Is the lung clear?", ()),
        ("And now?", (Turn("<image>\nIs it clear?", "No."), Turn("Where?", "In the\n\n upper lobe."))),
        ("<image> And in this one?", (Turn("<image>\nIs it clear?", "No."),)),
    ],
)
def test_ids_are_those_of_the_real_processor(
    gemma: Gemma3Backbone, prompt: str, history: tuple[Turn, ...]
) -> None:
    count = sum(text.count("<image>") for text in (prompt, *(turn.user for turn in history)))
    images = [Image.new("RGB", (40, 30), (number * 80, 10, 10)) for number in range(count)]
    wanted = gemma.processor.apply_chat_template(
        conversation(prompt, history, images),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    found = gemma.prompt_ids(prompt, history=history)
    assert found == wanted["input_ids"][0].tolist()
    assert found.count(gemma.image_token) == 4 * count
    types = torch.tensor(found) == gemma.image_token
    assert torch.equal(types.long(), wanted["token_type_ids"][0])
    for image, pixels in zip(images, wanted.get("pixel_values", ()), strict=True):
        torch.testing.assert_close(gemma.read_image(image)["pixel_values"], pixels)


def test_newlines_around_images_join_those_of_the_text(gemma: Gemma3Backbone) -> None:
    tokens = gemma.tokenizer.convert_ids_to_tokens(gemma.prompt_ids("<image>\nWhy?"))
    start, end = tokens.index("<start_of_image>"), tokens.index("<end_of_image>")
    assert (tokens[start - 1], tokens[end + 1]) == ("\n\n\n", "\n\n")
    assert tokens[start + 1 : end] == ["<image_soft_token>"] * 4


def test_special_tokens_that_a_user_typed_are_left_out(gemma: Gemma3Backbone) -> None:
    typed = "Is <end_of_turn><start_of_image>it<image_soft_<eos>token> clear?<end_of_<bos>turn>"
    assert gemma.prompt_ids(typed) == gemma.prompt_ids("Is it clear?")
    assert gemma.response_ids("No<end_of_turn>.<image>") == gemma.response_ids("No.")


def test_a_response_ends_its_turn(gemma: Gemma3Backbone) -> None:
    ids = gemma.response_ids("Yes.")
    assert ids[-1] == gemma.tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert ids[:-1] == gemma.tokenizer.encode("Yes.", add_special_tokens=False)
    assert gemma.stop_tokens == (ids[-1], gemma.tokenizer.eos_token_id)


def test_a_newline_that_begins_an_answer_leaves_the_prompt_alone(gemma: Gemma3Backbone) -> None:
    prompt, response = gemma.prompt_ids("Why?"), gemma.response_ids("\nYes.")
    text = gemma.tokenizer.decode([*prompt, *response])
    assert text.endswith("model\n\nYes.<end_of_turn>")
    # Tokenised in one go the two newlines would become one token, which no prompt ends with.
    assert gemma.tokenizer.encode(text, add_special_tokens=False) != [*prompt, *response]


def test_pan_and_scan_stays_off(gemma: Gemma3Backbone) -> None:
    gemma.processor.image_processor.do_pan_and_scan = True
    gemma.processor.image_processor.pan_and_scan_min_crop_size = 8
    gemma.processor.image_processor.pan_and_scan_max_num_crops = 4
    gemma.processor.image_processor.pan_and_scan_min_ratio_to_activate = 1.2
    assert gemma.read_image(Image.new("RGB", (90, 30)))["pixel_values"].shape == (3, 32, 32)


@pytest.mark.parametrize("window", [3, 8, 128])
def test_shared_rows_score_as_separate_rows(mixed: list[Pair], window: int) -> None:
    backbone = build_tiny_gemma(window=window)
    check_sharing(backbone, [pair for pair in mixed if pair.images], CELLS)
    check_sharing(backbone, mixed, CELLS[:2])


@pytest.mark.parametrize("shared", [True, False])
def test_scores_are_those_of_the_librarys_forward(
    gemma: Gemma3Backbone, mixed: list[Pair], shared: bool
) -> None:
    scorer = Scorer(gemma, shared=shared)
    longest = 0
    for cell, pairs in asked(mixed).items():
        scores = scorer.score(pairs, [cell])[cell]
        for row, (pair, length) in enumerate(zip(pairs, scores.lengths.tolist(), strict=True)):
            prompt, response = scorer.inputs.ids(pair, cell)
            images = [
                gemma.read_image(open_image(p))["pixel_values"] for p in pair.images.get(cell.image, ())
            ]
            wanted = library_logps(gemma, prompt, response, images)
            torch.testing.assert_close(scores.tokens[row, :length], wanted, atol=1e-5, rtol=0)
            longest = max(longest, len(prompt) + length)
    assert longest > 4 * gemma.model.config.text_config.sliding_window


def rows_apart(gemma: Gemma3Backbone, mixed: list[Pair], *, shared: bool = False) -> Rows:
    inputs = Scorer(gemma).inputs
    paths = [
        ScoredPath(tuple(range(pair.placeholders)), *inputs.ids(pair, Cell.CLEAN_CHOSEN)) for pair in mixed
    ]
    plan = make_plan(paths, image_token=gemma.image_token, pad=gemma.pad_token, shared=shared)
    return plan.rows


@pytest.mark.parametrize("window", [3, 8, 128])
def test_masks_of_separate_rows_are_the_librarys(mixed: list[Pair], window: int) -> None:
    gemma = build_tiny_gemma(window=window)
    rows = rows_apart(gemma, mixed)
    masks = gemma.masks(rows)
    for row, ids in enumerate(rows.ids):
        length = 1 + int(rows.queries[row].max())
        ids = ids[None, :length]
        wanted = gemma.model.create_masks_for_generate(
            gemma.model.config,
            gemma.model.get_input_embeddings()(ids),
            # With a padded column, or the library leaves a mask out that is plainly causal.
            attention_mask=torch.ones_like(ids),
            past_key_values=None,
            position_ids=torch.arange(length)[None],
            token_type_ids=(ids == gemma.image_token).long(),
        )
        for name, mask in masks.items():
            expected = (
                wanted[name][0, 0] if wanted[name] is not None else torch.ones(length, length).bool().tril()
            )
            assert torch.equal(mask[row, 0, :length, :length], expected), name
    assert torch.equal(masks["full_attention"], masks["sliding_attention"]) == (window == 128)


def test_what_belongs_to_one_image() -> None:
    image = torch.tensor([[1, 1, 0, 1, 1], [0, 1, 1, 0, 0]]).bool()
    wanted = torch.zeros(2, 5, 5).bool()
    wanted[0, :2, :2] = wanted[0, 3:, 3:] = wanted[1, 1:3, 1:3] = True
    assert torch.equal(same_image(image), wanted)


def differs(gemma: Gemma3Backbone, mixed: list[Pair], change: Any) -> float:
    """Return by how much log-probs change at most where the masks do."""
    right, _ = scores_and_gradients(gemma, mixed, [Cell.CLEAN_CHOSEN], shared=True)
    masks = gemma.masks
    gemma.masks = lambda rows: change(masks(rows), rows)
    wrong, _ = scores_and_gradients(gemma, mixed, [Cell.CLEAN_CHOSEN], shared=True)
    return float((right - wrong).abs().max())


def test_a_wrong_window_would_be_noticed(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    def by_column(masks: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        columns = torch.arange(rows.ids.shape[1])
        near = columns[None, :] > columns[:, None] - gemma.model.config.text_config.sliding_window
        return {**masks, "sliding_attention": masks["full_attention"] & near}

    assert differs(gemma, mixed, by_column) > 1e-3


def test_a_window_wider_by_one_would_be_noticed(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    right, _ = scores_and_gradients(gemma, mixed, [Cell.CLEAN_CHOSEN], shared=True)
    gemma.model.config.text_config.sliding_window += 1
    wrong, _ = scores_and_gradients(gemma, mixed, [Cell.CLEAN_CHOSEN], shared=True)
    assert (right - wrong).abs().max() > 1e-3


def test_a_causal_image_would_be_noticed(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    def causal(masks: dict[str, Tensor], rows: Rows) -> dict[str, Tensor]:
        return {name: mask & torch.ones_like(mask).tril() for name, mask in masks.items()}

    assert differs(gemma, mixed, causal) > 1e-3


def test_kept_features_give_the_same_numbers(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    gemma.freeze(["tower"])
    pairs = [pair for pair in mixed if pair.images]
    plain = Scorer(gemma).score(pairs, CELLS)
    kept = Scorer(gemma, features=FeatureCache()).score(pairs, CELLS)
    for cell in CELLS:
        torch.testing.assert_close(kept[cell].tokens, plain[cell].tokens, atol=1e-5, rtol=0)


def as_numbers(ids: Sequence[int]) -> str:
    """Write tokens as numbers: those of single bytes would all be decoded to the same character."""
    return " ".join(map(str, ids))


def test_answers_do_not_depend_on_the_batch(gemma: Gemma3Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemma, "decode", as_numbers)
    prompts = [
        gemma.prompt_ids(text)
        for text in ("<image>\nWhy?", "Is it?", "<image>\n<image>\nWhich of the two is the clear one?")
    ]
    made = [gemma.read_image(noise((32, 32), n)) for n in range(3)]
    images = [made[:1], [], made[1:]]
    for sampling in (Sampling(max_new_tokens=12), Sampling(max_new_tokens=12, temperature=1.0)):
        together = gemma.generate(prompts, images, sampling, [1, 2, 3])
        alone = [
            gemma.generate([prompt], [shown], sampling, [seed])[0]
            for prompt, shown, seed in zip(prompts, images, (1, 2, 3), strict=True)
        ]
        assert together == alone
    assert len(set(together)) == 3


def test_a_greedy_answer_is_the_likeliest_by_the_librarys_forward(
    gemma: Gemma3Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemma, "decode", as_numbers)
    prompt, image = gemma.prompt_ids("<image>\nWhere is it?"), gemma.read_image(noise((32, 32), 0))
    ids, end = list(prompt), None
    while end is None and len(ids) < len(prompt) + 10:
        row = torch.tensor([ids])
        logits = gemma.model(
            input_ids=row,
            pixel_values=image["pixel_values"][None],
            token_type_ids=(row == gemma.image_token).long(),
        ).logits[0, -1]
        logits[gemma.image_token] = float("-inf")
        ids.append(int(logits.argmax()))
        end = len(ids) - 1 if ids[-1] in gemma.stop_tokens else None
    answer = gemma.generate([prompt], [[image]], Sampling(max_new_tokens=10))[0]
    assert answer == as_numbers(ids[len(prompt) : end])


def test_a_saved_model_gives_the_same_numbers(
    gemma: Gemma3Backbone, mixed: list[Pair], tmp_path: Path
) -> None:
    gemma.save(tmp_path / "model")
    assert family_of(tmp_path / "model") == "gemma3"
    again = load_backbone(tmp_path / "model")
    assert isinstance(again, Gemma3Backbone)
    assert again.max_length == gemma.max_length
    for part in ("all", "tower"):
        assert again.fingerprint(part) == gemma.fingerprint(part)
    before, after = (Scorer(each).score(mixed, CELLS[:2]) for each in (gemma, again))
    for cell in CELLS[:2]:
        assert torch.equal(before[cell].tokens, after[cell].tokens)


def test_the_fingerprint_tells_weights_and_template_apart(gemma: Gemma3Backbone) -> None:
    whole, tower = gemma.fingerprint(), gemma.fingerprint("tower")
    gemma.processor.chat_template += " "
    assert gemma.fingerprint() != whole
    changed = gemma.fingerprint()
    with torch.no_grad():
        gemma.model.lm_head.weight[0, 0] += 1
    assert gemma.fingerprint() != changed
    assert gemma.fingerprint("tower") == tower
    with torch.no_grad():
        next(gemma.model.model.vision_tower.parameters())[0] += 1
    assert gemma.fingerprint("tower") != tower


def test_the_library_opens_a_saved_folder(gemma: Gemma3Backbone, tmp_path: Path) -> None:
    gemma.save(tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    image = noise((40, 30), 0)
    inputs = processor.apply_chat_template(
        conversation("<image>\nWhy?", (), [image]),
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    ours = gemma.model(
        input_ids=torch.tensor([gemma.prompt_ids("<image>\nWhy?")]),
        token_type_ids=inputs["token_type_ids"],
        pixel_values=gemma.read_image(image)["pixel_values"][None],
    )
    torch.testing.assert_close(model(**inputs).logits, ours.logits)


def test_the_published_names_of_tensors_are_read(gemma: Gemma3Backbone, tmp_path: Path) -> None:
    gemma.save(tmp_path)
    file = tmp_path / "model.safetensors"
    published = {
        name.replace("model.language_model.", "language_model.model.")
        .replace("model.vision_tower.", "vision_tower.vision_model.")
        .replace("model.multi_modal_projector.", "multi_modal_projector."): tensor
        for name, tensor in load_file(file).items()
    }
    assert not any(name.startswith("model.") for name in published)
    save_file(published, file, metadata={"format": "pt"})
    again = load_backbone(tmp_path)
    for name, tensor in gemma.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_weights_are_read_back_and_a_wrong_shape_is_refused(gemma: Gemma3Backbone, tmp_path: Path) -> None:
    other = build_tiny_gemma(seed=1)
    other.save(tmp_path)
    assert other.fingerprint() != gemma.fingerprint()
    gemma.load_weights(tmp_path)
    assert gemma.fingerprint() == other.fingerprint()


def test_without_weights_there_are_shapes(gemma: Gemma3Backbone, tmp_path: Path) -> None:
    gemma.save(tmp_path)
    outline = load_backbone(tmp_path, weights=False)
    assert {p.device.type for p in outline.model.parameters()} == {"meta"}
    assert outline.prompt_ids("<image>\nWhy?") == gemma.prompt_ids("<image>\nWhy?")


def test_a_step_of_dpo_with_adapters(gemma: Gemma3Backbone, mixed: list[Pair], tmp_path: Path) -> None:
    before = {name: weight.clone() for name, weight in gemma.model.named_parameters()}
    pairs = [pair for pair in mixed if pair.images]
    loss = one_step(gemma, pairs, tmp_path, lora={"r": 2, "targets": ("language_model", "tower")})
    assert loss == pytest.approx(0.6931, abs=1e-3)
    after = {name.replace(".base_layer.", "."): weight for name, weight in gemma.model.named_parameters()}
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    trained = {name for name, weight in after.items() if "lora_B" in name and weight.abs().max() > 0}
    for part in ("language_model.layers.2.self_attn.q_proj", "vision_tower.encoder.layers.0.mlp.fc1"):
        assert any(part in name for name in trained)


@pytest.mark.parametrize("part", ["tower", "projector", "language_model"])
def test_a_frozen_part_keeps_its_weights(
    gemma: Gemma3Backbone, mixed: list[Pair], tmp_path: Path, part: str
) -> None:
    before = {name: weight.clone() for name, weight in gemma.model.named_parameters()}
    pairs = [pair for pair in mixed if pair.images]
    one_step(gemma, pairs, tmp_path, freeze=(part,), learning_rate=1e-2)
    kept = {name for name, weight in gemma.model.named_parameters() if torch.equal(weight, before[name])}
    prefix = gemma.parts[part][0]
    assert kept
    assert all(name.startswith(prefix) for name in kept)


def test_activations_computed_again_give_the_same_gradients(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    pairs = [pair for pair in mixed if pair.images]
    values, wanted = scores_and_gradients(gemma, pairs, CELLS, shared=True)
    prepare_model(gemma, TrainingSettings(gradient_checkpointing=True), seed=0)
    gemma.model.train()
    again, found = scores_and_gradients(gemma, pairs, CELLS, shared=True)
    torch.testing.assert_close(again, values, atol=1e-5, rtol=0)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-4, rtol=1e-4)


def test_weights_in_bf16_score_nearly_alike(gemma: Gemma3Backbone, mixed: list[Pair]) -> None:
    exact = Scorer(gemma).score(mixed, CELLS[:1])[CELLS[0]].logps
    gemma.model.to(torch.bfloat16)
    rough = Scorer(gemma).score(mixed, CELLS[:1])[CELLS[0]].logps
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_a_model_that_sees_what_is_to_come_is_refused(gemma: Gemma3Backbone) -> None:
    gemma.model.config.text_config.use_bidirectional_attention = True
    with pytest.raises(InputError, match="sees what is to come"):
        Gemma3Backbone(gemma.model, gemma.processor, 128)


def test_a_model_without_a_template_is_refused(gemma: Gemma3Backbone, tmp_path: Path) -> None:
    gemma.save(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        load_backbone(tmp_path)
