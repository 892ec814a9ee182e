"""Tiny random models of several classes of the library, each written as a folder with its own processor."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from tests.backbones.tiny_gemma import TEXTS, build_tiny_gemma, randomise
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from medpref.backbones.processor_folder import NoVideos, without_videos
from medpref.objectives import objectives
from medpref.pairs.pair import Pair
from medpref.scoring.scorer import Scorer
from medpref.training.parts import TrainingPart
from medpref.training.reference import compute_reference
from medpref.training.settings import TrainingSettings
from medpref.training.trainer import PreferenceTrainer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{% for part in message.content %}"
    "{{ MARK if part.type == 'image' else part.text }}"
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Written as Idefics3's is: a blank stands before an answer.
IDEFICS = (
    "{{ '<|im_start|>' }}{% for message in messages %}{{ message.role | capitalize }}"
    "{{ ':' if message.content[0].type == 'image' else ': ' }}"
    "{% for part in message.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }}"
    "{% endfor %}{{ '<end_of_utterance>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
# Opens with the begin of a text, as Llama 3's does.
LLAMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
    "{% for part in message.content %}"
    "{{ '<|image|>' if part.type == 'image' else part.text }}"
    "{% endfor %}{{ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# PaliGemma comes without a template; its processor puts a newline behind what is asked.
PLAIN = (
    "{% for message in messages %}{% for part in message.content %}"
    "{{ '<image>' if part.type == 'image' else part.text }}"
    "{% endfor %}{{ eos_token if message.role == 'assistant' else '' }}{% endfor %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def make_tokenizer(names: Sequence[str], **special: str) -> Any:
    """Train a byte-level tokenizer with special tokens `names` and those that have a role."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(dict.fromkeys([*special.values(), *names])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    trained.train_from_iterator(TEXTS, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=trained, **special)
    tokenizer.add_special_tokens({"additional_special_tokens": list(names)})
    return tokenizer


def text_sizes(tokenizer: Any, **more: Any) -> dict[str, Any]:
    """Return the settings of a tiny language model."""
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    return {**SIZES, **ids, "vocab_size": len(tokenizer), **more}


def write(folder: Path, config: Any, processor: Any, *, seed: int = 0) -> Path:
    """Write a model of random weights, large enough that every token matters, with its processor."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForImageTextToText.from_config(config)
    randomise(model, seed, 0.15)
    for name, weight in model.named_parameters():
        if name.endswith("_gate"):
            # Mllama's start closed, so that no image would be seen.
            torch.nn.init.constant_(weight, 0.7)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def idefics3(folder: Path) -> Path:
    """Images are cut into tiles that stand along the second axis of a row."""
    tokenizer = make_tokenizer(
        ["<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<row_1_col_1>"],
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
    )
    images = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    processor = transformers.Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=IDEFICS)
    config = transformers.Idefics3Config(
        vision_config=VISION,
        text_config={"model_type": "llama", **text_sizes(tokenizer)},
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    return write(folder, config, processor)


def internvl(folder: Path) -> Path:
    """Its processor wants a video processor, which needs torchvision."""
    special = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer = make_tokenizer(["<|im_start|>"], eos_token="<|im_end|>", pad_token="<pad>", **special)
    images = transformers.GotOcr2ImageProcessorPil(
        size={"height": 32, "width": 32}, min_patches=1, max_patches=3, crop_to_patches=True
    )
    processor = without_videos(transformers.InternVLProcessor)(
        images,
        tokenizer,
        NoVideos({}),
        image_seq_length=4,
        chat_template=CHATML.replace("MARK", "'<IMG_CONTEXT>\n'"),
    )
    config = transformers.InternVLConfig(
        vision_config={**VISION, "image_size": (32, 32), "patch_size": (8, 8)},
        text_config={"model_type": "qwen2", **text_sizes(tokenizer)},
        image_token_id=processor.image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return write(folder, config, processor)


def llava_next(folder: Path) -> Path:
    """Images of different shapes have different numbers of tiles, and rows a size beside the pixels."""
    tokenizer = make_tokenizer(
        ["<|im_start|>", "<|im_end|>"], eos_token="</s>", pad_token="<pad>", image_token="<image>"
    )
    grid = [[32, 64], [64, 32], [64, 64]]
    images = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}, image_grid_pinpoints=grid
    )
    processor = transformers.LlavaNextProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHATML.replace("MARK", "'<image>\n'"),
    )
    config = transformers.LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", "projection_dim": 32, **VISION},
        text_config={"model_type": "mistral", "sliding_window": None, **text_sizes(tokenizer)},
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=grid,
    )
    return write(folder, config, processor)


def llava_onevision(folder: Path) -> Path:
    """One image is cut into tiles, several in one prompt are not."""
    tokenizer = make_tokenizer(
        ["<|im_start|>"],
        eos_token="<|im_end|>",
        pad_token="<pad>",
        image_token="<image>",
        video_token="<video>",
    )
    grid = [[32, 64], [64, 32], [64, 64]]
    images = transformers.LlavaOnevisionImageProcessorPil(
        size={"height": 32, "width": 32}, image_grid_pinpoints=grid
    )
    processor = without_videos(transformers.LlavaOnevisionProcessor)(
        images,
        tokenizer,
        NoVideos({}),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=CHATML.replace("MARK", "'<image>\n'"),
    )
    config = transformers.LlavaOnevisionConfig(
        vision_config={"model_type": "siglip_vision_model", "vision_use_head": False, **VISION},
        text_config={"model_type": "qwen2", **text_sizes(tokenizer)},
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=grid,
    )
    return write(folder, config, processor)


def paligemma(folder: Path, text: str = "gemma", **more: Any) -> Path:
    """The prompt sees itself in both directions; the answer is told apart by token types."""
    tokenizer = make_tokenizer(
        [], bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", image_token="<image>"
    )
    images = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    images.image_seq_length = 16
    processor = transformers.PaliGemmaProcessor(images, tokenizer, chat_template=PLAIN)
    config = transformers.PaliGemmaConfig(
        vision_config={
            "model_type": "siglip_vision_model",
            "vision_use_head": False,
            "projection_dim": 32,
            **VISION,
        },
        text_config={"model_type": text, "head_dim": 8, **text_sizes(processor.tokenizer), **more},
        image_token_index=processor.image_token_id,
        projection_dim=32,
    )
    return write(folder, config, processor)


def paligemma2(folder: Path) -> Path:
    """Caps its logits, so that they are more than the head's output."""
    return paligemma(folder, "gemma2", query_pre_attn_scalar=8, final_logit_softcapping=2.0, sliding_window=8)


def mllama(folder: Path) -> Path:
    """Sees images by cross-attention; which tokens see which tile stands in a mask for each token."""
    tokenizer = make_tokenizer(
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"],
        bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>",
        pad_token="<pad>",
    )
    # Behind the head's rows, as in the published model: it can be read but not said.
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<|image|>"]}, replace_extra_special_tokens=False
    )
    images = transformers.MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=2)
    processor = transformers.MllamaProcessor(images, tokenizer, chat_template=LLAMA)
    config = transformers.MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
            "max_num_tiles": 2,
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
        },
        text_config={
            **text_sizes(tokenizer, vocab_size=len(tokenizer) - 1, num_hidden_layers=3),
            "cross_attention_layers": [1],
        },
        image_token_index=processor.image_token_id,
    )
    return write(folder, config, processor)


def qwen2_5_vl(folder: Path) -> Path:
    """Positions are counted in three directions; images have as many tokens as their size asks for."""
    tokenizer = make_tokenizer(
        ["<|im_start|>", "<|vision_start|>", "<|vision_end|>"],
        eos_token="<|im_end|>",
        pad_token="<pad>",
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
    )
    images = transformers.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    )
    processor = without_videos(transformers.Qwen2_5_VLProcessor)(
        images,
        tokenizer,
        NoVideos({}),
        chat_template=CHATML.replace("MARK", "'<|vision_start|><|image_pad|><|vision_end|>'"),
    )
    ids = tokenizer.convert_tokens_to_ids
    config = transformers.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "window_size": 32,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        text_config={
            **text_sizes(tokenizer),
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    return write(folder, config, processor)


def gemma3(folder: Path) -> Path:
    """Has a backbone of its own; through the fallback it is a further check on both."""
    build_tiny_gemma(max_length=512).save(folder)
    return folder


MAKERS: dict[str, Callable[[Path], Path]] = {
    maker.__name__: maker
    for maker in (
        gemma3,
        idefics3,
        internvl,
        llava_next,
        llava_onevision,
        mllama,
        paligemma,
        paligemma2,
        qwen2_5_vl,
    )
}


def one_step(backbone: Any, pairs: Sequence[Pair], folder: Path, **settings: Any) -> float:
    """Train one step of DPO and return its loss in nats."""
    objective = objectives["dpo"]
    reference = compute_reference(Scorer(backbone), pairs, objective.cells)
    chosen = {"steps": 1, "images_per_step": len(pairs), "log_every": 1, "learning_rate": 1e-2, **settings}
    trainer = PreferenceTrainer(
        backbone,
        [TrainingPart(list(pairs), objective, {}, reference)],
        TrainingSettings.model_validate(chosen),
        seed=0,
        folder=folder / "checkpoints",
    )
    trainer.train()
    return float(next(row["loss"] for row in trainer.state.log_history if "loss" in row))
