"""What the editor of a draft shows and what comes back from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cloud.kit.errors import InvalidInput
from cloud.tariffs.drafts.form import Shape, document_of, field_name, read_fields, shape
from cloud.tariffs.drafts.form_actions import COMPONENT_KINDS, act
from cloud.tariffs.drafts.records import Draft
from cloud.tariffs.drafts.trial import Trial
from cloud.tariffs.drafts.yaml import MOST_CHARACTERS, from_yaml, to_yaml
from cloud.tariffs.files.checking import Document, Problem, check
from cloud.tariffs.model.tariff import TariffContent

Tab = Literal["form", "yaml"]


@dataclass(frozen=True, slots=True)
class Editor:
    """The tab that is open, its content, and all problems; `shape` is None when only YAML can say it."""

    tab: Tab
    shape: Shape | None
    text: str
    problems: tuple[Problem, ...]
    content: TariffContent | None
    fields: Mapping[str, Problem]
    kinds: tuple[str, ...] = COMPONENT_KINDS


def editor(draft: Draft, tab: Tab, text: str = "") -> Editor:
    """The editor of a draft; `text`: YAML as it was typed where it could not be kept."""
    shaped = shape(draft.content)
    content, problems = check(draft.content)
    fields = {} if shaped is None else {field_name(one.place, draft.content): one for one in problems}
    return Editor("yaml" if shaped is None else tab, shaped, text or to_yaml(draft.content), problems, content, fields)


def posted(fields: Sequence[tuple[str, str]], tab: Tab, action: str) -> Document:
    """The content that the editor sent, after what its button does. Raises InvalidFile for text that is no YAML."""
    if tab == "yaml":
        text = dict(fields).get("yaml", "").replace("\r\n", "\n")
        if len(text) > MOST_CHARACTERS:
            raise InvalidInput("too-large", f"at most {MOST_CHARACTERS} characters", field="yaml")
        return from_yaml(text)
    shaped = read_fields(fields)
    act(shaped, action)
    return document_of(shaped)


def typed_trial(content: TariffContent, fields: Mapping[str, str]) -> Trial:
    """The account that was typed into the preview; what was left empty is as usual. Raises InvalidInput."""

    def text(name: str, usual: str) -> str:
        return fields.get(f"p.{name}", "").strip() or usual

    periods = content.periods.codes if content.periods is not None else ()
    season = text("season", "")
    return Trial(
        usage=text("usage", "100") if content.energy and not periods else None,
        by_period={code: text(f"period.{n}", "50") for n, code in enumerate(periods)},
        year_to_date=text("year-to-date", "0"),
        persons=_whole(text("persons", "0")),
        season=season if season in content.season_codes else None,
        area=text("area", "100"),
        demand=text("demand", "10"),
        capacity=text("capacity", "10"),
        power_factor=text("power-factor", "0.9"),
    )


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 2:
        raise InvalidInput("bad-quantity", f"persons: expected a whole number up to 99, got {text!r}", field="persons")
    return int(text)
