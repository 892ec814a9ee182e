"""The fallback on several classes of the library, against their own processors and forward passes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.backbones.tiny_others import IDEFICS, MAKERS, one_step
from torch import Tensor

from medpref.backbones.base import Backbone
from medpref.backbones.fallback import FallbackBackbone, load_fallback
from medpref.backbones.families import FALLBACK, family_of, load_backbone
from medpref.backbones.loading import LoadSettings
from medpref.backbones.parts import find_parts
from medpref.backbones.processor_folder import NoVideos
from medpref.backbones.processors import SIZE, ModelInputs, noise
from medpref.backbones.sampling import Sampling
from medpref.errors import InputError
from medpref.pairs.images import open_image
from medpref.pairs.pair import IMAGE_PLACEHOLDER, ImageRole, Pair, Turn
from medpref.scoring.cells import Cell
from medpref.scoring.scorer import Scorer

# What their own processors do not take: OneVision reads several images in another way than one.
ONE_IMAGE = {"llava_onevision"}
NEEDS_IMAGE = {"paligemma", "paligemma2"}
CELLS = list(Cell)
ANSWER = "Yes, in the upper lobe."


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.set_num_threads(1)
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MAKERS.items()}


@pytest.fixture(params=list(MAKERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backbone(folders: dict[str, Path], name: str) -> FallbackBackbone:
    return load_fallback(folders[name], LoadSettings())


@pytest.fixture
def mixed(make_image, make_pair, name: str) -> list[Pair]:
    """Pairs on images of several sizes; more than one of them, or none, where the model takes that."""
    # Height and width.
    sizes = {"a": (32, 32), "b": (30, 64), "c": (64, 32), "d": (70, 64)}
    a, b, c, d = (make_image(f"{key}.png", seed, size) for seed, (key, size) in enumerate(sizes.items()))
    pairs = [
        make_pair("a", (a,), (b,)),
        make_pair("a-again", (a,), (c,), "Where is the lesion?", chosen="Here"),
        make_pair("b", (b,), (a,), "Why?", chosen="No"),
        make_pair("d", (d,), (c,), "Describe the image.", chosen="A lung, clear."),
    ]
    if name not in ONE_IMAGE:
        pairs.append(make_pair("two", (a, d), (c, b), "Which one is clear?"))
        pairs.append(make_pair("history", (b,), (c,), "And now?", history=(Turn("Is it?", "Yes."),)))
    if name not in NEEDS_IMAGE:
        pairs.append(make_pair("text", question="Is the lung in the image?"))
    return pairs


def asked(pairs: Sequence[Pair]) -> dict[Cell, list[Pair]]:
    return {cell: [pair for pair in pairs if pair.images or cell.image == "clean"] for cell in CELLS}


def library_inputs(
    backbone: FallbackBackbone, prompt: str, history: Sequence[Turn], images: Sequence[Path], answer: str = ""
) -> dict[str, Tensor]:
    """Return what the model's own processor makes of a prompt with an answer behind it, as one text."""
    text = backbone.chat.prompt_text(prompt, history)
    more: dict[str, Any] = {}
    if answer and "suffix" in backbone.processor.__call__.__code__.co_varnames:
        more["suffix"] = answer
    elif answer:
        blank, end = backbone.chat._answer
        text += blank + answer + backbone.tokenizer.convert_ids_to_tokens(end)
    bos = backbone.tokenizer.bos_token
    if bos and text.startswith(bos):
        more["add_special_tokens"] = False
    shown = [[open_image(path) for path in images]] if images else None
    made = dict(backbone.processor(text=text, images=shown, return_tensors="pt", **more))
    made.pop("labels", None)
    return made


def library_logps(backbone: FallbackBackbone, pair: Pair, cell: Cell) -> Tensor:
    """Return the log-probs of a response's tokens from the model's forward pass on its processor's inputs."""
    images = pair.images.get(cell.image, ())
    answer = pair.responses[cell.response]
    inputs = library_inputs(backbone, pair.prompt, pair.history, images, answer)
    prompt = len(library_inputs(backbone, pair.prompt, pair.history, images)["input_ids"][0])
    with torch.no_grad():
        logits = backbone.model(**inputs).logits[0].float()
    if backbone.image_token < logits.shape[-1]:
        logits[:, backbone.image_token] = float("-inf")
    targets = inputs["input_ids"][0, prompt:]
    return logits[prompt - 1 : -1].log_softmax(-1).gather(1, targets[:, None])[:, 0]


def test_scores_are_those_of_the_librarys_forward(backbone: FallbackBackbone, mixed: list[Pair]) -> None:
    scorer = Scorer(backbone)
    assert not scorer.shared
    for cell, pairs in asked(mixed).items():
        with torch.no_grad():
            scores = scorer.score(pairs, [cell])[cell]
        for row, pair in enumerate(pairs):
            wanted = library_logps(backbone, pair, cell)
            assert scores.lengths[row] == len(wanted)
            torch.testing.assert_close(scores.tokens[row, : len(wanted)], wanted, atol=1e-5, rtol=0)


def test_a_batch_is_its_rows_one_by_one(backbone: FallbackBackbone, mixed: list[Pair]) -> None:
    scorer = Scorer(backbone)
    together = scorer.score(mixed, CELLS[:2])
    for cell in CELLS[:2]:
        for row, pair in enumerate(mixed):
            alone = scorer.score([pair], [cell])[cell].tokens[0]
            torch.testing.assert_close(together[cell].tokens[row, : len(alone)], alone, atol=1e-5, rtol=0)


def test_rows_of_like_shape_are_computed_together(
    backbone: FallbackBackbone, make_image, make_pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [make_image(f"{number}.png", number) for number in range(3)]
    pairs = [make_pair(f"{number}", (path,)) for number, path in enumerate(images)]
    calls = []
    run = backbone._run
    monkeypatch.setattr(
        backbone, "_run", lambda inputs: calls.append(len(inputs["input_ids"])) or run(inputs)
    )
    scores = Scorer(backbone).score(pairs, [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN]
    assert calls == [3]
    for row, pair in enumerate(pairs):
        wanted = library_logps(backbone, pair, Cell.CLEAN_CHOSEN)
        torch.testing.assert_close(scores.tokens[row], wanted, atol=1e-5, rtol=0)


def test_images_matter(backbone: FallbackBackbone, make_image, make_pair) -> None:
    a, b = (make_image(f"{key}.png", seed) for seed, key in enumerate("ab"))
    scores = Scorer(backbone).score([make_pair("a", (a,), (b,))], [Cell.CLEAN_CHOSEN, Cell.REJECTED_CHOSEN])
    clean, rejected = (score.tokens for score in scores.values())
    assert (clean - rejected).abs().max() > 1e-3


def test_answers_are_the_librarys_and_do_not_depend_on_the_batch(
    backbone: FallbackBackbone, mixed: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As numbers: tokens of single bytes would all be decoded to the same character.
    monkeypatch.setattr(backbone, "decode", lambda ids: " ".join(map(str, ids)))
    inputs = Scorer(backbone).inputs
    paths = [pair.images.get(ImageRole.CLEAN, ()) for pair in mixed]
    prompts = [
        inputs.prompt_ids(pair.prompt, shown, pair.history) for pair, shown in zip(mixed, paths, strict=True)
    ]
    images = [[backbone.read_image(open_image(path)) for path in shown] for shown in paths]
    seeds = range(len(mixed))
    for sampling in (Sampling(max_new_tokens=8), Sampling(max_new_tokens=8, temperature=1.0)):
        together = backbone.generate(prompts, images, sampling, seeds)
        alone = [
            backbone.generate([prompt], [shown], sampling, [seed])[0]
            for prompt, shown, seed in zip(prompts, images, seeds, strict=True)
        ]
        assert together == alone
    assert len(set(together)) > 1
    greedy = backbone.generate(prompts, images, Sampling(max_new_tokens=8))
    for pair, shown, prompt, answer in zip(mixed, paths, prompts, greedy, strict=True):
        made = backbone.model.generate(
            **library_inputs(backbone, pair.prompt, pair.history, shown),
            max_new_tokens=8,
            do_sample=False,
            eos_token_id=list(backbone.stop_tokens),
            suppress_tokens=list(backbone.unsaid),
        )
        said = made[0, len(prompt) :].tolist()
        end = next((place for place, token in enumerate(said) if token in backbone.stop_tokens), len(said))
        assert backbone.decode(said[:end]) == answer


def test_a_saved_model_gives_the_same_numbers(
    backbone: FallbackBackbone, name: str, mixed: list[Pair], tmp_path: Path
) -> None:
    backbone.save(tmp_path / "model")
    again = load_fallback(tmp_path / "model", LoadSettings())
    assert again.max_length == backbone.max_length
    assert type(again.processor).__name__ == type(backbone.processor).__name__
    for part in ("all", "tower"):
        assert again.fingerprint(part) == backbone.fingerprint(part)
    before, after = (Scorer(each).score(mixed, CELLS[:2]) for each in (backbone, again))
    for cell in CELLS[:2]:
        assert torch.equal(before[cell].tokens, after[cell].tokens)
    with torch.no_grad():
        for weight in again.model.parameters():
            weight.add_(1)
    assert again.fingerprint() != backbone.fingerprint()
    again.load_weights(tmp_path / "model")
    assert again.fingerprint() == backbone.fingerprint()


def test_one_step_of_dpo_with_adapters(backbone: FallbackBackbone, mixed: list[Pair], tmp_path: Path) -> None:
    pairs = [pair for pair in mixed if pair.images]
    before = {key: weight.clone() for key, weight in backbone.model.named_parameters()}
    loss = one_step(backbone, pairs, tmp_path, lora={"r": 2, "targets": ("language_model",)})
    assert loss == pytest.approx(0.6931, abs=1e-3)
    changed = [
        key for key, weight in backbone.model.named_parameters() if "lora_B" in key and weight.abs().max()
    ]
    assert changed
    for key, weight in before.items():
        own = key if key in dict(backbone.model.named_parameters()) else _base_layer(key)
        assert torch.equal(backbone.model.get_parameter(own), weight), key


def _base_layer(key: str) -> str:
    module, _, leaf = key.rpartition(".")
    return f"{module}.base_layer.{leaf}"


def test_one_step_of_dpo_with_a_frozen_part(
    backbone: FallbackBackbone, mixed: list[Pair], tmp_path: Path
) -> None:
    pairs = [pair for pair in mixed if pair.images]
    before = {key: weight.clone() for key, weight in backbone.model.named_parameters()}
    one_step(backbone, pairs, tmp_path, freeze=("tower",), learning_rate=1e-2, weight_decay=0.1)
    frozen = {
        id(weight)
        for module in backbone.parts["tower"]
        for weight in backbone.model.get_submodule(module).parameters()
    }
    assert frozen
    moved = {id(w) for key, w in backbone.model.named_parameters() if not torch.equal(w, before[key])}
    assert not moved & frozen
    for part in ("projector", "language_model"):
        modules = [backbone.model.get_submodule(module) for module in backbone.parts[part]]
        assert moved & {id(weight) for module in modules for weight in module.parameters()}, part


def test_prompts_and_images_have_to_fit(backbone: FallbackBackbone) -> None:
    with pytest.raises(InputError, match="1 <image> in the conversation for 0 images"):
        backbone.prompt_ids("<image>\nWhy?", [])


def test_special_tokens_that_a_user_typed_are_left_out(backbone: FallbackBackbone, name: str) -> None:
    size = [(40, 30)]
    marker = backbone.chat._marker
    end = backbone.tokenizer.convert_ids_to_tokens(backbone.chat.end)
    typed = f"<image>\nWhy{end} {'' if marker == IMAGE_PLACEHOLDER else marker}not?"
    assert backbone.prompt_ids(typed, size) == backbone.prompt_ids("<image>\nWhy not?", size)
    assert backbone.response_ids(f"No{end}.{IMAGE_PLACEHOLDER}") == backbone.response_ids("No.")


def test_a_response_ends_with_what_ends_an_answer(backbone: FallbackBackbone) -> None:
    ids = backbone.response_ids(ANSWER)
    assert ids[-1] == backbone.chat.end
    assert backbone.decode(ids) == ANSWER
    assert set(backbone.stop_tokens) >= {backbone.chat.end, backbone.tokenizer.eos_token_id}


def test_what_an_image_becomes_carries_its_size(backbone: FallbackBackbone) -> None:
    read = backbone.read_image(Image.new("L", (40, 30), 90))
    assert read[SIZE].tolist() == [40, 30]
    assert set(read) == {*backbone.inputs.image_names, SIZE}


def test_a_blank_image_is_seen_as_one(backbone: FallbackBackbone) -> None:
    prompt = backbone.prompt_ids("<image>\nWhy?", [(40, 30)])
    read = backbone.read_image(noise((40, 30), 0))
    blank = backbone.blank(read)
    assert {key: tensor.shape for key, tensor in blank.items()} == {k: t.shape for k, t in read.items()}
    assert torch.equal(blank[SIZE], read[SIZE])
    # All but the processor's own filling around it.
    assert blank["pixel_values"].abs().median() < 0.02
    # Idefics3 drops images of nothing but zeros, and would then miss one.
    assert len(backbone.complete([prompt], [[blank]], Sampling(max_new_tokens=2))) == 1


class TestOfOneClass:
    """What need not be asked of each class."""

    def test_types_that_nobody_else_names_fall_back(self, folders: dict[str, Path]) -> None:
        assert family_of(folders["idefics3"]) == FALLBACK
        assert isinstance(load_backbone(folders["idefics3"]), FallbackBackbone)
        assert family_of(folders["gemma3"]) == "gemma3"

    def test_capped_logits_are_told_from_plain_ones(self, folders: dict[str, Path]) -> None:
        capped = load_fallback(folders["paligemma2"], LoadSettings())
        assert not capped.plain_head
        assert load_fallback(folders["paligemma"], LoadSettings()).plain_head

    def test_a_causal_prompt_would_be_noticed(self, folders: dict[str, Path], make_image, make_pair) -> None:
        backbone = load_fallback(folders["paligemma"], LoadSettings())
        pair = make_pair("a", (make_image("a.png"),))
        scorer = Scorer(backbone)
        with torch.no_grad():
            right = scorer.score([pair], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].tokens
            for kept in backbone.inputs._tokens.values():
                kept["token_type_ids"].values.fill_(1)
            wrong = scorer.score([pair], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN].tokens
        assert (right - wrong).abs().max() > 1e-3

    def test_text_alone_is_refused_where_the_processor_does(self, folders: dict[str, Path]) -> None:
        backbone = load_fallback(folders["paligemma"], LoadSettings())
        with pytest.raises(InputError, match="refuses a prompt with 0 images"):
            backbone.prompt_ids("Why?", [])

    def test_images_that_change_each_other_are_refused(self, folders: dict[str, Path]) -> None:
        backbone = load_fallback(folders["llava_onevision"], LoadSettings())
        with pytest.raises(InputError, match="pixel_values has the shape"):
            backbone.prompt_ids("<image>\n<image>\nWhich?", [(40, 30), (40, 30)])

    def test_a_wrong_join_is_noticed(self, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        backbone = load_fallback(folders["idefics3"], LoadSettings())
        joins = dict(backbone.inputs._joins)
        joins["pixel_values"] = lambda tensors: torch.cat(list(tensors[::-1]), dim=1)
        monkeypatch.setattr(backbone.inputs, "_joins", joins)
        with pytest.raises(InputError, match="change each other's pixel_values"):
            backbone.prompt_ids("<image>\n<image>\nWhich?", [(40, 30), (64, 64)])

    def test_the_axis_of_images_is_found(self, folders: dict[str, Path]) -> None:
        axes = {}
        for name in ("idefics3", "internvl", "qwen2_5_vl"):
            inputs = load_fallback(folders[name], LoadSettings()).inputs
            one = [inputs.read_image(noise((32, 32), seed)) for seed in (0, 1)]
            joined = inputs._join(one)["pixel_values"].shape
            alone = one[0]["pixel_values"].shape
            axes[name] = next(axis for axis in range(len(alone)) if joined[axis] != alone[axis])
        assert axes == {"idefics3": 1, "internvl": 0, "qwen2_5_vl": 0}

    def test_ids_made_elsewhere_are_refused(self, folders: dict[str, Path]) -> None:
        inputs: ModelInputs = load_fallback(folders["mllama"], LoadSettings()).inputs
        with pytest.raises(ValueError, match="no prompt that was made here"):
            inputs.row(torch.tensor([1, 2, 3]), 3, [])

    def test_a_missing_part_is_named(self, folders: dict[str, Path]) -> None:
        backbone = load_fallback(folders["idefics3"], LoadSettings())
        backbone.parts = {"language_model": ("model.text_model",)}
        with pytest.raises(InputError, match="no tower was found in Idefics3") as error:
            backbone.freeze(["tower"])
        assert "language_model" in str(error.value)

    def test_a_projector_inside_the_tower_is_a_part_of_its_own(self, folders: dict[str, Path]) -> None:
        model = load_fallback(folders["qwen2_5_vl"], LoadSettings()).model
        parts = find_parts(model)
        assert parts["projector"] == ("model.visual.merger",)
        assert "model.visual.blocks" in parts["tower"]
        assert not set(parts["tower"]) & set(parts["projector"])

    def test_without_weights_there_are_shapes(self, folders: dict[str, Path]) -> None:
        outline = load_backbone(folders["idefics3"], weights=False)
        assert {weight.device.type for weight in outline.model.parameters()} == {"meta"}
        assert outline.prompt_ids("<image>\nWhy?", [(32, 32)])

    def test_a_model_without_a_template_is_refused(self, folders: dict[str, Path], tmp_path: Path) -> None:
        load_fallback(folders["paligemma"], LoadSettings()).save(tmp_path)
        (tmp_path / "chat_template.jinja").unlink()
        with pytest.raises(InputError, match="no chat template"):
            load_backbone(tmp_path)

    def test_a_template_that_shows_no_end_is_refused(self, folders: dict[str, Path], tmp_path: Path) -> None:
        load_fallback(folders["idefics3"], LoadSettings()).save(tmp_path)
        endless = IDEFICS.replace("<end_of_utterance>\n", "")
        (tmp_path / "chat_template.jinja").write_text(endless)
        with pytest.raises(InputError, match="does not show where an answer ends"):
            load_backbone(tmp_path)

    def test_a_template_without_images_is_refused(self, folders: dict[str, Path], tmp_path: Path) -> None:
        load_fallback(folders["internvl"], LoadSettings()).save(tmp_path)
        file = tmp_path / "chat_template.jinja"
        file.write_text(file.read_text().replace("<IMG_CONTEXT>", "image: "))
        with pytest.raises(InputError, match="refuses a prompt with 1 images"):
            load_backbone(tmp_path)

    def test_code_of_its_own_is_not_run_unasked(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = own_code(folders["idefics3"], tmp_path / "model")
        with pytest.raises(InputError, match="code of its own") as error:
            load_backbone(folder)
        assert "trust_remote_code: true" in str(error.value)
        assert not (folder / "ran").exists()

    def test_encoders_with_decoders_are_refused(self, folders: dict[str, Path]) -> None:
        backbone = load_fallback(folders["idefics3"], LoadSettings())
        backbone.model.config.is_encoder_decoder = True
        with pytest.raises(InputError, match="is an encoder with a decoder"):
            FallbackBackbone(backbone.model, backbone.processor, 128)

    def test_weights_in_bf16_are_given_images_in_bf16(
        self, folders: dict[str, Path], make_image, make_pair
    ) -> None:
        pair = make_pair("a", (make_image("a.png"),))
        for name in ("internvl", "mllama", "qwen2_5_vl"):
            exact, rough = (
                Scorer(load_fallback(folders[name], LoadSettings(dtype=dtype)))
                .score([pair], [Cell.CLEAN_CHOSEN])[Cell.CLEAN_CHOSEN]
                .logps
                for dtype in ("float32", "bfloat16")
            )
            assert rough.dtype == torch.float32
            assert 0 < (rough - exact).abs() < 0.05 * exact.abs()

    def test_types_that_the_library_does_not_know_are_refused(
        self, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(InputError, match="no model for images and text of the type 'bert'"):
            load_backbone(tmp_path)

    def test_what_is_said_of_videos_is_kept(self, folders: dict[str, Path], tmp_path: Path) -> None:
        said = {"video_processor_type": "InternVLVideoProcessor", "num_frames": 7}
        backbone = load_fallback(folders["internvl"], LoadSettings())
        if not isinstance(backbone.processor.video_processor, NoVideos):
            pytest.skip("torchvision is there, and so is the library's own video processor")
        (folder := tmp_path / "1").mkdir()
        backbone.save(folder)
        config = json.loads((folder / "processor_config.json").read_text())
        config["video_processor"] = said
        (folder / "processor_config.json").write_text(json.dumps(config))
        load_backbone(folder).save(tmp_path / "2")
        kept = json.loads((tmp_path / "2" / "processor_config.json").read_text())
        assert kept["video_processor"] == said


def own_code(source: Path, folder: Path) -> Path:
    """Copy a model's folder as one that comes with code; running the code leaves a file."""
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "medpref_own"
    config["auto_map"] = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForImageTextToText": "own.OwnModel",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        "from pathlib import Path\n"
        "from transformers import Idefics3Config, Idefics3ForConditionalGeneration\n"
        f"Path({str(folder / 'ran')!r}).touch()\n"
        "class OwnConfig(Idefics3Config):\n    model_type = 'medpref_own'\n"
        "class OwnModel(Idefics3ForConditionalGeneration):\n    config_class = OwnConfig\n"
    )
    return folder


def test_code_of_its_own_runs_where_it_is_trusted(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = own_code(folders["idefics3"], tmp_path / "model")
    own: Backbone = load_backbone(folder, trust_remote_code=True)
    plain = load_fallback(folders["idefics3"], LoadSettings())
    assert type(own.model).__name__ == "OwnModel"
    assert (folder / "ran").exists()
    prompt = own.prompt_ids("<image>\nWhy?", [(40, 30)])
    assert prompt == plain.prompt_ids("<image>\nWhy?", [(40, 30)])
    image = own.read_image(noise((40, 30), 0))
    assert own.generate([prompt], [[image]]) == plain.generate([prompt], [[image]])
