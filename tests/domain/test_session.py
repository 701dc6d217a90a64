"""The life of a session: what is listed in TRANSITIONS is legal, everything else is refused with a code."""

import itertools

import pytest

from orch_server.domain.errors import ErrorKind, OrchError
from orch_server.domain.session import ENDED, LIVE, TRANSITIONS, State, check_transition

LEGAL = [(before, after) for before, allowed in TRANSITIONS.items() for after in sorted(allowed)]
ILLEGAL = [pair for pair in itertools.product(State, State) if pair not in LEGAL]


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(State)
    assert len(LEGAL) + len(ILLEGAL) == len(State) ** 2


@pytest.mark.parametrize(("before", "after"), LEGAL)
def test_what_is_listed_is_legal(before: State, after: State) -> None:
    check_transition(before, after)


@pytest.mark.parametrize(("before", "after"), ILLEGAL)
def test_what_is_not_listed_is_refused(before: State, after: State) -> None:
    with pytest.raises(OrchError) as caught:
        check_transition(before, after)
    assert caught.value.kind is ErrorKind.ILLEGAL_TRANSITION
    assert caught.value.data["state"] == before.value
    assert caught.value.data["allowed"] == sorted(state.value for state in TRANSITIONS[before])


def test_nothing_at_work_is_ever_put_away() -> None:
    for state in {State.CREATED, *LIVE}:
        assert not TRANSITIONS[state] & {State.ARCHIVED, State.DELETED}


def test_what_is_put_away_does_not_run_and_can_come_back() -> None:
    for state in (State.ARCHIVED, State.DELETED):
        assert not TRANSITIONS[state] & LIVE
        assert TRANSITIONS[state] >= ENDED


def test_every_ended_session_can_be_archived_deleted_and_resumed() -> None:
    for state in ENDED:
        assert TRANSITIONS[state] == {State.RUNNING, State.ARCHIVED, State.DELETED}


def test_no_way_leads_back_to_the_beginning() -> None:
    assert not [before for before, after in LEGAL if after is State.CREATED]
