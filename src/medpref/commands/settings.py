"""Settings that a command takes as KEY=VALUE."""

from collections.abc import Iterable
from typing import Any

import yaml

from medpref.errors import InputError


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read KEY=VALUE settings; values are YAML, so that numbers are numbers.

    Raises:
        InputError: one has no key or no sign, or its value is no YAML.
    """
    pairs = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        if not sign or not key:
            raise InputError("--set takes KEY=VALUE", where=setting)
        try:
            pairs[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise InputError("the value is no YAML", where=f"--set {setting}") from None
    return pairs
