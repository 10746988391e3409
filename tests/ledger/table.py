"""How a call must end: every effect, by every way of the other side to answer, by every moment of death."""

from __future__ import annotations

from tests.ledger.moments import Moment

#: A block is headed by what the ledger answers, one word for each time it is asked (see ``server.WAYS``; the
#: last one for all that follow), and the class of failure that the first of them is. Below it stand tools,
#: and how their call ends for each moment of death:
#:
#: done, refused, fails (with that class), cancelled: what became of the run, as whoever started it sees it;
#: a number: how often a person had to find out whether it happened, because nobody else could know;
#: =: as without a death.
#:
#: A launch cannot be undone. A tool with "_seen" has a final lookup; without one, a write is sent again with
#: its key, and what became of a launch only a person can say.
_TEXT = """
                                            no death     before   after      in         after      after
                                                         intent   intent     flight     effect     result
ok: -
slow: -
  read draft write write_seen launch_seen   done         =        =          =          =          =
  launch                                    done         =        done 1     done 1     done 1     =

hang ok: transient
drop ok: transient
500-before ok: transient
500-after ok: transient
429 ok: rate_limited
  read draft write write_seen launch_seen   done         =        =          =          =          =
  launch                                    done 1       =        done 2     =          =          =

500-before 500-before 500-before ok: transient
  read draft write_seen launch_seen         fails        =        =          =          =          =
  write                                     done 1       =        done 2     =          =          =
  launch                                    done 3       =        done 4     =          =          =

400: invalid_data
401: permission
403: permission
  read draft write_seen launch_seen         fails        =        =          =          =          =
  write                                     fails        =        fails 1    fails 1    fails 1    =
  launch                                    cancelled 2  =        =          =          =          =

409: stale_data
  read draft write_seen launch_seen         fails        =        =          =          =          =
  write launch                              cancelled 2  =        =          =          =          =

refused: refused
  read draft write_seen launch_seen         refused      =        =          =          =          =
  write launch                              refused      =        refused 1  refused 1  refused 1  =

invalid: invalid_data
stale: stale_data
forbidden: permission
unsure: low_confidence
incomplete: needs_input
too-dear: budget
  read draft write_seen launch_seen         fails        =        =          =          =          =
  write launch                              fails        =        fails 1    fails 1    fails 1    =

garbage: fatal
misfit: fatal
lost: unknown_outcome
  read draft                                fails        =        =          =          =          =
  write_seen launch_seen                    done         =        =          =          =          =
  write                                     done 1       =        =          =          =          =
  launch                                    done 1       =        done 2     =          =          =
"""
_TOOLS = 44  # where the cells begin

Ends = dict[Moment, str]


def _read() -> tuple[dict[str, str], dict[tuple[str, str], Ends]]:
    """The class of failure by plan, and how each moment ends by plan and tool."""
    classes: dict[str, str] = {}
    table: dict[tuple[str, str], Ends] = {}
    for block in _TEXT.split("\n", 3)[3].split("\n\n"):
        lines = block.strip("\n").split("\n")
        plans = dict(line.split(": ") for line in lines if ":" in line)
        classes |= {plan: kind.strip("-") for plan, kind in plans.items()}
        for line in lines[len(plans) :]:
            cells = [cell.strip() for cell in line[_TOOLS:].split("  ") if cell.strip()]
            whole = [cells[0], *(cells[0] if cell == "=" else cell for cell in cells[1:])]
            ends = dict(zip(Moment, whole, strict=True))
            for plan in plans:
                for tool in line[:_TOOLS].split():
                    table[plan, tool] = ends
    return classes, table


CLASSES, TABLE = _read()
