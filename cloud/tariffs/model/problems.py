"""What is wrong with a tariff, as a code with its values, so that it can be said in words of any language."""

from collections.abc import Iterable, Sequence

from cloud.kit import i18n
from cloud.tariffs.model.problem_words import WORDS


class Wrong(ValueError):
    """One thing that is wrong; its text is the English sentence.

    `at` is the place inside the part that was checked; `component` the code of the component it is in, if any.
    """

    def __init__(self, code: str, *at: str | int, component: str | None = None, **values: object) -> None:
        self.code = code
        self.at = at
        self.component = component
        self.values = values
        place = ".".join(map(str, at if component is None else (component, *at)))
        sentence = WORDS[code] % values
        super().__init__(f"{place}: {sentence}" if place else sentence)

    def sentence(self) -> str:
        """What is wrong, without the place, in the language in use."""
        return i18n.gettext(WORDS[self.code]) % self.values


class Wrongs(ValueError):
    """Several things that are wrong with the same part."""

    def __init__(self, found: Sequence[Wrong]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(map(str, found)))


def refuse(found: Iterable[Wrong]) -> None:
    """Raises Wrongs unless nothing was found."""
    problems = list(found)
    if problems:
        raise Wrongs(problems)
