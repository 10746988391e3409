"""Every effect by every way to fail by every moment of death, judged by the ledger's own file.

A process begins a call of one of four effects; the ledger behaves in one of its ways; the process dies at one
of five moments, or not at all. Others go on from what is on record, and a person says what became of a call
where nobody else can. How it must end is in `table.TABLE`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from tests.ledger.judge import Ledger
from tests.ledger.moments import Life, Moment
from tests.ledger.play import Play, judge
from tests.ledger.server import WAYS
from tests.ledger.table import CLASSES, TABLE
from tools.failures import FailureClass

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),
]
#: Whether the intent is on record, the ledger was asked, and the result is on record, at each death.
TRACES = {
    Moment.BEFORE_INTENT: (False, False, False),
    Moment.AFTER_INTENT: (True, False, False),
    Moment.IN_FLIGHT: (True, True, False),
    Moment.AFTER_EFFECT: (True, True, False),
    Moment.AFTER_RESULT: (True, True, True),
}
LOST = [moment for moment in TRACES if moment is not Moment.AFTER_RESULT]


# The table


@pytest.mark.parametrize(("plan", "tool"), list(TABLE))
def test_it_ends_by_its_route_whenever_its_process_died(
    plan: str, tool: str, trading: Ledger, bea: User, record_property: Callable[[str, object], None]
) -> None:
    whole, life = Play(tool, plan, Moment.NEVER, trading, bea), Life()
    life.of_run(whole.run_id, whole.live)
    judge(whole)
    ended = {Moment.NEVER: whole.outcome()}
    deaths = takeovers = 0
    for moment, trace in TRACES.items():
        play = Play(tool, plan, moment, trading, bea)
        deaths += life.death(moment).of(play.live)
        assert play.trace() == trace, f"it did not die {moment}"
        takeovers += moment in LOST and play.row().lease_owner != ""
        play.live()
        judge(play)
        ended[moment] = play.outcome()
    record_property("deaths", deaths)
    record_property("takeovers", takeovers)
    assert (deaths, takeovers) == (len(TRACES), len(LOST)), "the fault was there"
    said = f"failed {CLASSES[plan]}"
    assert {moment: end.replace(said, "fails") for moment, end in ended.items()} == TABLE[plan, tool]
    if tool == "read":
        assert whole.calls()[0].failure_class == CLASSES[plan]


def test_every_class_of_failure_and_every_behaviour_is_in_the_table() -> None:
    # "Unavailable" is no answer of the other side: it was not asked.
    assert set(CLASSES.values()) - {""} == {kind.value for kind in FailureClass} - {"unavailable"}
    assert {way for plan in CLASSES for way in plan.split()} == set(WAYS)
    assert len(TABLE) == len(CLASSES) * len({tool for _, tool in TABLE})
    assert {tool.partition("_")[0] for _, tool in TABLE} == {"read", "draft", "write", "launch"}
