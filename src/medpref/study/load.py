"""Read a study file; say what is wrong with it in terms of the file."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from medpref.errors import InputError, did_you_mean
from medpref.study.explain import explain
from medpref.study.spec import StudySpec

BUNDLED = files("medpref")


def bundled_studies() -> dict[str, Path]:
    """Return the studies that come with medpref, by name."""
    return _bundled("studies")


def bundled_builds() -> dict[str, Path]:
    """Return the builds of pair files that come with medpref, by name."""
    return _bundled("builds")


def _bundled(folder: str) -> dict[str, Path]:
    found = sorted((BUNDLED / folder).iterdir(), key=str)
    return {Path(str(f)).stem: Path(str(f)) for f in found if str(f).endswith(".yaml")}


def find_study(name: str) -> Path:
    """Return the file of a bundled study's name or of a path.

    Raises:
        InputError: it is neither; the message suggests the nearest bundled name.
    """
    return _find(name, bundled_studies(), "study")


def find_build(name: str) -> Path:
    """Return the file of a bundled build's or study's name or of a path. Raises as `find_study` does."""
    return _find(name, {**bundled_studies(), **bundled_builds()}, "build or study")


def _find(name: str, bundled: Mapping[str, Path], kind: str) -> Path:
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.is_file():
        return path
    raise InputError(
        f"this is neither a bundled {kind} nor a file", where=name, remedy=did_you_mean(name, bundled)
    )


SpecT = TypeVar("SpecT", bound=BaseModel)


def load_study(path: Path, overrides: dict[str, Any] | None = None) -> StudySpec:
    """Read and check a study. Arguments and errors are those of `load_spec`."""
    return load_spec(path, StudySpec, overrides)


def load_spec(path: Path, model: type[SpecT], overrides: dict[str, Any] | None = None) -> SpecT:
    """Read and check a file.

    Args:
        path: a YAML file; relative paths in it start from the working folder.
        model: what the file may say.
        overrides: dotted keys with values that replace what the file says, such as ``data.folder``.

    Raises:
        InputError: the file is missing or is no YAML, a key is unknown (the nearest is suggested), a value
            has the wrong type, or a named thing does not exist.
    """
    content = read_mapping(path)
    for key, value in (overrides or {}).items():
        _set(content, key.split("."), value)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise _in_file(explain(error, model), path) from None
    except InputError as error:
        raise _in_file(error, path) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        InputError: the file is missing, is no YAML or no mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("there is no such file", where=str(path)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise InputError(f"this is no YAML: {getattr(error, 'problem', error)}", where=where) from None
    if not isinstance(content, dict):
        raise InputError("a study is a YAML mapping", where=str(path))
    return content


def _set(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        # An empty key is null in YAML.
        content[key] = content.get(key) or {}
        content = content[key]
    content[keys[-1]] = value


def _in_file(error: InputError, path: Path) -> InputError:
    """Return the error with its dotted key turned into a file and line."""
    line = _line_of(path, error.where.split(".")) if error.where else None
    return InputError(error.what, where=f"{path}, line {line}" if line else str(path), remedy=error.remedy)


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
