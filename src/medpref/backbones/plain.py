"""What users of plain transformers need beside the weights: a processor, and a chat template in Jinja."""

import json
from pathlib import Path
from typing import Any

from transformers import LlavaProcessor

from medpref.backbones.templates import Template
from medpref.files import disk_errors
from medpref.pairs.pair import IMAGE_PLACEHOLDER


def chat_template(template: Template) -> str:
    """Return a Jinja template that renders conversations as `template` writes them.

    A message's content is a text with ``<image>`` placeholders, or a list of ``{"type": "image"}`` and
    ``{"type": "text", "text": …}``; an image in a list stands on a line of its own.
    """
    # JSON's string literals are Jinja's as long as all characters are ASCII.
    before, after = json.dumps(template.before), json.dumps(template.after)
    prefix, suffix = json.dumps(template.response_prefix), json.dumps(template.response_suffix)
    image = json.dumps(IMAGE_PLACEHOLDER)
    middle = json.dumps(template.turn_suffix) + (" ~ eos_token" if template.turn_ends else "")
    body = "text"
    if template.images_first:
        body = f"({image} ~ '\\n') * (text.split({image}) | length - 1) ~ text.replace({image}, '').strip()"
    lines = [
        "{{ bos_token }}" if template.begins_with_bos else "",
        "{% for message in messages %}",
        "{% if message.content is string %}{% set text = message.content %}{% else %}",
        "{% set parts = namespace(text='') %}",
        "{% for part in message.content %}",
        f"{{% set parts.text = parts.text ~ ({image} ~ '\\n' if part.type == 'image' else part.text) %}}",
        "{% endfor %}{% set text = parts.text %}{% endif %}",
        f"{{% if message.role == 'user' %}}{{{{ {before} ~ {body} ~ {after} }}}}",
        "{% elif message.role == 'assistant' %}",
        f"{{{{ {prefix} ~ text ~ {suffix} }}}}",
        f"{{{{ eos_token if loop.last else {middle} }}}}",
        "{% else %}{{ raise_exception('this model has no role ' ~ message.role) }}{% endif %}",
        "{% endfor %}",
    ]
    return "".join(lines)


def save_processor(
    folder: Path, config: Any, tokenizer: Any, image_processor: Any, template: Template
) -> None:
    """Write tokenizer, image processor, processor and chat template so that ``AutoProcessor`` opens them.

    Args:
        folder: where to.
        config: a `LlavaConfig`.
        tokenizer: has an ``<image>`` token.
        image_processor: pads to a square, resizes and normalises.
        template: the chat template.

    Raises:
        RunError: the folder cannot be written.
    """
    processor = LlavaProcessor(
        image_processor=image_processor,
        tokenizer=tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        # The CLS token, which the strategy "default" takes off again.
        num_additional_image_tokens=1,
        chat_template=chat_template(template),
    )
    with disk_errors(folder):
        processor.save_pretrained(folder)
        # Earlier versions of the library look for it in a file of its own.
        image_processor.save_pretrained(folder)
