"""What is wrong with a fee rule, as a code with its values, so that it can be said in words of any language."""

from cloud.kit import i18n
from cloud.parking.fees.problem_words import WORDS


class Wrong(ValueError):
    """One thing that is wrong; its text is the English sentence."""

    def __init__(self, code: str, **values: object) -> None:
        self.code = code
        self.values = values
        super().__init__(WORDS[code] % values)

    def sentence(self) -> str:
        """What is wrong, in the language in use."""
        return i18n.gettext(WORDS[self.code]) % self.values
