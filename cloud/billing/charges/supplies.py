"""Pieces in the order in which they are rated: by supply, so that those of one bill share its minimum and its cap."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from cloud.billing.charges.limits import Stretch, shared
from cloud.billing.charges.pieces import Piece


def supplies(by_agreement: Mapping[int, Sequence[Piece]]) -> list[list[Piece]]:
    """The pieces of each supply that a bill charges, in the order of time.

    A supply is an agreement. Where one of a service has a minimum or cap of a whole bill, it is all agreements of the
    account for the service that follow each other without a common day: another tariff or another flat in mid-period
    is no second bill. Those that are there at once, as for two meters, are several.
    """
    found: list[list[Piece]] = []
    of_service: dict[tuple[int, str], list[Sequence[Piece]]] = defaultdict(list)
    for pieces in by_agreement.values():
        if pieces:
            of_service[pieces[0].agreement.account_id, pieces[0].agreement.service].append(pieces)
    for mine in of_service.values():
        if any(piece.version.content.limits_bills for pieces in mine for piece in pieces):
            found += [with_limits(one) for one in _one_after_another(mine)]
        else:
            found += [list(pieces) for pieces in mine]
    return found


def rounds(of_supplies: Iterable[Sequence[Piece]]) -> list[list[Piece]]:
    """Round n holds the n-th piece of every supply: a later piece builds on usage and cost of the earlier."""
    return [[piece for piece in one if piece is not None] for one in zip_longest(*of_supplies)]


def with_limits(pieces: Sequence[Piece], charges: Sequence[Stretch] | None = None) -> list[Piece]:
    """Pieces of one supply and bill, in the order of time, that know which limits they share.

    `charges`: what they are charged as where that is not each by itself. A piece alone has its limits to itself.
    """
    if len(pieces) == 1:
        return list(pieces)
    stretches = [(piece.agreement.id, piece.period) for piece in pieces] if charges is None else charges
    limits = shared([(piece.version.content, piece.period) for piece in pieces], stretches)
    return [replace(piece, limits=one) for piece, one in zip(pieces, limits, strict=True)]


def _one_after_another(agreements: Sequence[Sequence[Piece]]) -> list[list[Piece]]:
    """Agreements put together that follow each other: first on the same meter, then for the same unit, then any."""
    chains: list[list[Piece]] = []
    for pieces in sorted(agreements, key=lambda pieces: (pieces[0].period.start, pieces[0].agreement.id)):
        first = pieces[0]
        before = [chain for chain in chains if chain[-1].period.end <= first.period.start]
        if before:
            min(before, key=lambda chain: _distance(chain[-1], first)).extend(pieces)
        else:
            chains.append(list(pieces))
    return chains


def _distance(last: Piece, first: Piece) -> tuple[bool, bool, int, int]:
    """How little one agreement looks like the continuation of another."""
    one, other = last.agreement, first.agreement
    gap = (first.period.start - last.period.end).days
    return one.meter_id != other.meter_id, one.unit_id != other.unit_id, gap, one.id
