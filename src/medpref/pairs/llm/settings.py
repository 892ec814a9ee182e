"""Which model is asked, how fast, and what it may cost."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from medpref.endpoints.endpoint import ConnectionSettings, check_address
from medpref.errors import InputError
from medpref.files import UserPath

OWN_KEYS = frozenset(
    {"model", "messages", "temperature", "seed", "max_tokens", "max_completion_tokens", "n", "stream"}
)


class Prices(BaseModel):
    """What a model costs, as its provider says.

    Attributes:
        input, output: for a million tokens read, and written.
        currency: told with every sum.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    currency: str = "USD"


class ModelSettings(ConnectionSettings):
    """A model behind an endpoint that speaks OpenAI's chat completions.

    Attributes:
        endpoint: its address, up to and without ``/chat/completions``. What is asked is sent there.
        model: the model's name there.
        temperature: of the replies; above 0 each pair has its own seed.
        max_tokens: the longest reply, in tokens.
        limit_name: what the endpoint calls the longest reply.
        extra: further keys of each request, such as ``{"response_format": {"type": "json_object"}}``.
        allow_images: send the pairs' clean images too, their pixels alone.
        concurrency: the most requests in flight.
        requests_per_minute, tokens_per_minute: the most that are sent; without them as fast as it goes.
        prices: what tokens cost, for the estimate.
        max_cost: the most that a run may cost, in the currency of `prices`.
        image_tokens: what an image counts in the estimate and towards `tokens_per_minute`.
        cache: the folder that keeps replies; by default ``medpref/replies`` in the user's cache folder.
    """

    endpoint: str
    model: str
    temperature: float = Field(0.7, ge=0)
    max_tokens: int = Field(256, ge=1)
    limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, Any] = Field(default_factory=dict)
    allow_images: bool = False
    concurrency: int = Field(4, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    prices: Prices | None = None
    max_cost: float | None = Field(None, ge=0)
    image_tokens: int = Field(1000, ge=0)
    cache: UserPath | None = None

    @field_validator("endpoint")
    @classmethod
    def _address(cls, endpoint: str) -> str:
        try:
            return check_address(endpoint)
        except InputError as error:
            raise ValueError(error.what) from None

    @field_validator("extra")
    @classmethod
    def _new_keys(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OWN_KEYS & extra.keys()):
            raise ValueError(f"medpref sets {', '.join(taken)} itself")
        return extra

    @model_validator(mode="after")
    def _priced(self) -> "ModelSettings":
        if self.max_cost is not None and self.prices is None:
            raise ValueError("max_cost needs prices: {input: …, output: …} for a million tokens")
        return self
