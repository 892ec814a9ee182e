"""The start of a LLaVA that a user has: a folder."""

from pydantic import BaseModel, ConfigDict, Field

from medpref.backbones.llava import LlavaBackbone
from medpref.files import UserPath
from medpref.starts.base import BackboneFamily, StartContext, backbones


class LlavaSettings(BaseModel):
    """A LLaVA model in a folder.

    Attributes:
        path: a folder in the Hugging Face layout, with tokenizer and image processor.
        template: the chat template; a folder that medpref wrote knows its own.
        max_length: how many tokens of prompt (images included) and response fit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: UserPath
    template: str | None = None
    max_length: int | None = Field(None, ge=1)


def start_llava(settings: LlavaSettings, context: StartContext) -> LlavaBackbone:
    """Load the folder that the settings name."""
    return LlavaBackbone.load(settings.path, template=settings.template, max_length=settings.max_length)


backbones.add(
    "llava",
    BackboneFamily("a Hugging Face LLaVA folder (LlavaForConditionalGeneration)", LlavaSettings, start_llava),
)
