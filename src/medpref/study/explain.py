"""Say what is wrong with settings in the words of the file that they stand in."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from medpref.errors import InputError, did_you_mean

ModelT = TypeVar("ModelT", bound=BaseModel)


def check_settings(model: type[ModelT], settings: Mapping[str, Any], key: str = "") -> ModelT:
    """Return `settings` as a `model`.

    Args:
        model: the settings' model.
        settings: what the file says.
        key: the dotted key at which it says so, as far as the caller knows it.

    Raises:
        InputError: a key is unknown or a value has the wrong type; ``where`` is the dotted key.
    """
    try:
        return model.model_validate(dict(settings))
    except ValidationError as error:
        raise explain(error, model, key) from None


def explain(error: ValidationError, model: type[BaseModel], prefix: str = "") -> InputError:
    """Turn pydantic's first complaint about `model` into an error whose ``where`` is a dotted key."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    key = ".".join([*([prefix] if prefix else []), *location])
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = fields_at(model, location[:-1])
        return InputError(f"unknown key {key!r}{more}", where=key, remedy=did_you_mean(location[-1], known))
    text = first["msg"].removeprefix("Value error, ")
    return InputError(
        f"{key + ': ' if location else ''}{text}{more}", where=key, remedy="Correct the study file."
    )


def fields_at(model: type[BaseModel], location: list[str]) -> set[str]:
    """Return the fields of the model that stands at `location` below `model`."""
    current = model
    for part in location:
        field = current.model_fields.get(part)
        if field is not None:
            current = next(iter(models_in(field.annotation)), current)
    return set(current.model_fields)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a type annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in models_in(part)]
