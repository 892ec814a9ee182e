"""How pages are made of templates: what they insert is escaped, whoever wrote it, and a wrong name fails."""

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def make_environment(package: str, filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """Return the templates of a package with the functions that they may call on values."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment
