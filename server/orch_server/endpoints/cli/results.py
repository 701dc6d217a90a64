"""What `--json` prints where it is no object of the protocol. The documentation and its schema are made from these;
the command line itself does not import them, since it starts quickly.
"""

from orch_server.domain.events import Event
from orch_server.domain.session import InputRequest, Reason, Session, State
from orch_server.domain.wire import WireModel
from orch_server.git.diff import Diff
from orch_server.services.agents import AgentInfo


class Opened(WireModel):
    """Where a session works."""

    path: str


class Exported(WireModel):
    """A file of events, one JSON document a line."""

    path: str
    events: int
    last_seq: int


class Check(WireModel):
    """Something that orch needs."""

    name: str
    ok: bool
    found: str
    advice: str


class Checkup(WireModel):
    """Whether everything is there that orch needs."""

    checks: list[Check]


class Replay(WireModel):
    """The session that a recording amounts to; `inputRequests` has all that were asked, answered or not."""

    events: list[Event]
    input_requests: list[InputRequest]
    state: State
    reason: Reason | None
    agent_session_id: str | None


class DemoStep(WireModel):
    """A step of the demonstration, with what belongs to its kind: begin, command, event, session, untouched, next."""

    kind: str
    scratch: str | None = None
    repository: str | None = None
    command: str | None = None
    event: Event | None = None
    session: Session | None = None
    diff: Diff | None = None
    agents: list[AgentInfo] | None = None
    commands: list[str] | None = None


RESULTS: tuple[type[WireModel], ...] = (Opened, Exported, Checkup, Replay, DemoStep)
