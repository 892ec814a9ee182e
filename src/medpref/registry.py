"""Named things, looked up once: objectives, tasks, backbones, recipes and sources."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from medpref.errors import InputError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from names to things that refuses collisions and suggests the nearest name.

    Args:
        noun: what one entry is called in messages, such as ``"objective"``.
    """

    def __init__(self, noun: str) -> None:
        self.noun = noun
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Add `entry` under `name`.

        Raises:
            ValueError: the name is taken.
        """
        if name in self._entries:
            raise ValueError(f"two {self.noun}s are called {name!r}")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that adds what it decorates under `name`."""
        return lambda entry: self.add(name, entry)

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`.

        Raises:
            InputError: there is none; the message suggests the nearest.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise InputError(
                f"there is no {self.noun} called {name!r}", remedy=did_you_mean(name, self._entries)
            ) from None

    def __contains__(self, name: object) -> bool:
        """Tell whether `name` is taken."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in the order of registration."""
        return iter(self._entries)

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterate over (name, entry) in the order of registration."""
        return iter(self._entries.items())
