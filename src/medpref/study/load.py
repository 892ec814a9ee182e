"""Read a study file; say what is wrong with it in terms of the file."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from medpref.errors import InputError, did_you_mean
from medpref.study.spec import StudySpec

BUNDLED = files("medpref") / "studies"


def bundled_studies() -> dict[str, Path]:
    """Return the studies that come with medpref, by name."""
    return {
        Path(str(f)).stem: Path(str(f))
        for f in sorted(BUNDLED.iterdir(), key=str)
        if str(f).endswith(".yaml")
    }


def find_study(name: str) -> Path:
    """Return the file of a bundled study's name or of a path.

    Raises:
        InputError: it is neither; the message suggests the nearest bundled name.
    """
    bundled = bundled_studies()
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.is_file():
        return path
    raise InputError(
        "this is neither a bundled study nor a file", where=name, remedy=did_you_mean(name, bundled)
    )


def load_study(path: Path, overrides: dict[str, Any] | None = None) -> StudySpec:
    """Read and check a study.

    Args:
        path: a YAML file; relative paths in it start from its folder, or from the working folder where
            nothing stands there.
        overrides: dotted keys with values that replace what the file says, such as ``data.folder``.

    Raises:
        InputError: the file is missing or is no YAML, a key is unknown (the nearest is suggested), a value
            has the wrong type, or a named thing does not exist.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such study", where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError(f"this is no YAML: {getattr(error, 'problem', error)}", where=where) from None
    if not isinstance(content, dict):
        raise InputError("a study is a YAML mapping", where=str(path))
    for key, value in (overrides or {}).items():
        _set(content, key.split("."), value)
    try:
        return StudySpec.model_validate(content)
    except ValidationError as error:
        raise _explain(error, StudySpec, path) from None
    except InputError as error:
        raise InputError(
            error.what, where=f"{path}, {error.where}" if error.where else str(path), remedy=error.remedy
        ) from None


def _set(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
    content[keys[-1]] = value


def _explain(error: ValidationError, model: type[BaseModel], path: Path) -> InputError:
    """Turn pydantic's first complaint into place, fault and remedy."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    line = _line_of(path, [str(part) for part in first["loc"]])
    where = f"{path}, line {line}" if line else str(path)
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1]) or set(getattr(_title_model(error), "model_fields", {}))
        return InputError(
            f"unknown key {key!r}{more}", where=where, remedy=did_you_mean(str(first["loc"][-1]), known)
        )
    text = first["msg"].removeprefix("Value error, ")
    return InputError(
        f"{key + ': ' if key else ''}{text}{more}", where=where, remedy="Correct the study file."
    )


def _title_model(error: ValidationError) -> type[BaseModel] | None:
    """Find the settings model that a complaint from within a named thing's own settings is about."""
    pending: list[type[BaseModel]] = [BaseModel]
    while pending:
        model = pending.pop()
        if model.__name__ == error.title:
            return model
        pending += model.__subclasses__()
    return None


def _fields_at(model: type[BaseModel], location: tuple[Any, ...]) -> set[str]:
    """Return the fields of the model that stands at `location` below `model`."""
    current: Any = model
    for part in location:
        if not isinstance(part, str) or not hasattr(current, "model_fields"):
            continue
        field = current.model_fields.get(part)
        if field is None:
            continue
        current = next((m for m in _models_in(field.annotation)), current)
    return set(current.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a type annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in getattr(annotation, "__args__", ()) for model in _models_in(part)]


def _line_of(path: Path, keys: list[str]) -> int | None:
    """Return the line, from 1, at which the deepest of `keys` that the file has stands."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError):
        return None
    line: int | None = None
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
    return line
