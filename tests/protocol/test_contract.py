"""What clients and scripts rely on: every method, object, enum, event, error and exit code, by the names it has.

Written down once more and by hand, on purpose: the register, the models and the generated documentation all follow
the code, and would follow it into a breaking change. Things may be added here, nothing renamed or taken away.
"""

from enum import StrEnum
from pathlib import Path

import pytest
from pydantic import BaseModel

import orch_server.endpoints.cli
from orch_server import PROTOCOL_VERSION
from orch_server.domain.artifact import Artifact, ArtifactKind
from orch_server.domain.collision import Collision
from orch_server.domain.command import Command
from orch_server.domain.errors import ErrorKind
from orch_server.domain.events import EVENT_TYPES, Event
from orch_server.domain.project import Project
from orch_server.domain.session import (
    DEFAULT_POLICIES,
    Action,
    Attention,
    FollowUp,
    InputRequest,
    OptionKind,
    Policy,
    Question,
    Reason,
    Session,
    State,
)
from orch_server.endpoints.cli import main as cli
from orch_server.protocol.declared import NOTIFICATIONS
from orch_server.protocol.methods import METHODS
from orch_server.protocol.paging import PageParams
from orch_server.services.transcript import Entry, EntryKind, Role
from tests.generate import verbs

LIST = "limit? cursor?"

# Method: its parameters (? where it may be left out), what of its result clients read, whether it changes something.
METHOD_ROWS: dict[str, tuple[str, str, bool]] = {
    "orch/hub/status": (
        "",
        "version protocolVersion pid startedAt home database socket connections runs queued sessionsByState dataBytes",
        False,
    ),
    "orch/hub/shutdown": ("", "", True),
    "orch/project/list": (LIST, "items nextCursor", False),
    "orch/project/add": ("path name? defaultBranch?", "Project", True),
    "orch/project/get": ("project", "Project", False),
    "orch/project/update": ("project name? defaultBranch? trusted? policy?", "Project", True),
    "orch/project/remove": ("project", "", True),
    "orch/agent/list": ("", "items", False),
    "orch/command/parse": ("text", "agent action project scopePath prompt model problems candidates", False),
    "orch/command/submit": (
        "text? agent? action? project? scopePath? prompt? model? baseRef? fromDirty? title? policy?",
        "command session",
        True,
    ),
    "orch/command/list": (f"project? {LIST}", "items nextCursor", False),
    "orch/session/start": (
        "agent action project scopePath? prompt? model? baseRef? fromDirty? title? policy? workDoneToken?",
        "Session",
        True,
    ),
    "orch/session/list": (
        f"project? agent? states? includeArchived? includeDeleted? {LIST}",
        "items nextCursor",
        False,
    ),
    "orch/session/get": ("session", "Session", False),
    "orch/session/update": ("session title? policy?", "Session", True),
    "orch/session/followUp": ("session text mode?", "Session", True),
    "orch/session/unqueue": ("session followUpId", "Session", True),
    "orch/session/respond": ("session inputRequestId optionId? text? answers?", "Session", True),
    "orch/session/stop": ("session", "Session", True),
    "orch/session/resume": ("session text?", "Session", True),
    "orch/session/archive": ("session", "Session", True),
    "orch/session/unarchive": ("session", "Session", True),
    "orch/session/cleanupPreview": (
        "session",
        "session token worktree commitsOnlyHere branch artifacts logs processes keptUntil unknown blockers",
        False,
    ),
    "orch/session/delete": ("session deleteBranch? token? purge?", "session keptUntil", True),
    "orch/session/restore": ("session", "Session", True),
    "orch/session/logTail": ("session lines?", "lines truncated", False),
    "orch/session/transcript": (f"session {LIST}", "items nextCursor", False),
    "orch/session/diff": ("session against? paths?", "files insertions deletions", False),
    "orch/session/fileBefore": ("session path against?", "present text base64", False),
    "orch/session/commit": ("session message?", "commit files", True),
    "orch/session/apply": ("session strategy? preview?", "preview applied", True),
    "orch/collision/list": ("project? session?", "items", False),
    "orch/collision/plan": ("project", "order settleFirst", False),
    "orch/lease/claim": ("project paths session?", "items", True),
    "orch/lease/list": ("project?", "items", False),
    "orch/lease/release": ("lease", "", True),
    "orch/collision/tell": ("collision session", "Session", True),
    "orch/artifact/list": (f"project? session? kinds? {LIST}", "items nextCursor", False),
    "orch/artifact/read": ("artifact", "artifact text base64", False),
    "orch/event/list": ("after? project? session? types? limit?", "items lastSeq", False),
    "orch/event/subscribe": ("after? project? session? types?", "subscription lastSeq", False),
    "orch/event/unsubscribe": ("subscription", "", False),
    "orch/search": (f"query project? agent? kinds? {LIST}", "items nextCursor", False),
    "orch/dashboard/get": (
        "",
        "projects sessionsByState active waiting failures collisions recentEvents",
        False,
    ),
}
OBJECTS: dict[type[BaseModel], str] = {
    Project: "id slug name path defaultBranch trusted policy createdAt sessionCount missing",
    Command: "id agent action projectId scopePath prompt model text sessionId createdAt",
    Session: "id projectId projectSlug commandId agent action title prompt scopePath model policy state reason"
    " attention branch baseCommit worktreePath agentSessionId pid exitCode turns queued inputRequests usage changes"
    " collisions createdAt startedAt endedAt updatedAt version",
    FollowUp: "id text mode at",
    InputRequest: "id kind title detail tool options questions askedAt",
    Question: "id header text options multiSelect allowsText secret",
    Artifact: "id sessionId projectId kind name path mediaType bytes createdAt",
    Collision: "id projectId against sessions files detectedAt",
    Event: "seq id type at projectId sessionId runId turn data",
    Entry: "seq turn role kind text at",
}
ENUMS: dict[type[StrEnum], str] = {
    State: "created running waiting_for_user completed failed stopped archived deleted",
    Reason: "provisioning starting waiting_for_client queued_by_limit parked_until_reset turn_ended agent_error"
    " api_error usage_limit not_logged_in agent_unavailable worktree_failed exited_without_result killed lost"
    " machine_restarted output_limit silent_limit disk_full user_stopped refused",
    Attention: "worktree_missing worktree_replaced worktree_moved branch_missing branch_moved project_missing disk_full"
    " unadopted silent snapshot_failed read_only_changed",
    Action: "analyze review implement plan",
    Policy: "ask auto_edit auto_all deny",
    OptionKind: "allow_once allow_always reject_once reject_always",
    ArtifactKind: "plan report diff transcript file",
    Role: "user agent system",
    EntryKind: "message thought tool plan input",
}
EVENTS: dict[str, str] = {
    "project.registered": "project",
    "project.updated": "project",
    "project.removed": "project",
    "command.submitted": "command",
    "command.rejected": "text problems",
    "session.created": "session",
    "session.state_changed": "from to reason session",
    "session.updated": "changed",
    "session.archived": "session",
    "session.unarchived": "session",
    "session.deleted": "session",
    "session.restored": "session",
    "session.purged": "session",
    "worktree.creating": "path branch percent",
    "worktree.created": "path branch",
    "worktree.failed": "path branch error",
    "worktree.removed": "path branch",
    "worktree.restored": "path branch",
    "worktree.changed": "path branch changes",
    "worktree.committed": "path branch commit files paths",
    "checkout.applied": "strategy commit files paths record",
    "checkout.undone": "files paths record",
    "run.started": "pid",
    "run.adopted": "pid hubDownSeconds",
    "run.exited": "exitCode signal",
    "run.lost": "reason",
    "run.output_limited": "bytes",
    "turn.started": "prompt",
    "turn.completed": "text usage",
    "turn.failed": "reason message",
    "agent.message": "messageId text final",
    "agent.thought": "messageId text final",
    "agent.tool_started": "toolId name kind title paths input",
    "agent.tool_finished": "toolId ok output truncated",
    "agent.plan": "entries",
    "agent.usage": "usage",
    "agent.log": "stream text",
    "input.requested": "inputRequest",
    "input.answered": "inputRequestId by optionId",
    "input.withdrawn": "inputRequestId reason",
    "followup.queued": "id text mode",
    "followup.delivered": "id text mode",
    "followup.withdrawn": "id text mode",
    "followup.uncertain": "id text mode",
    "artifact.created": "artifact",
    "artifact.updated": "artifact",
    "cleanup.previewed": "token",
    "project.changed_read_only": "paths attributed",
    "collision.detected": "collision",
    "collision.cleared": "collision",
    "lease.claimed": "lease",
    "lease.contested": "lease by path",
    "lease.released": "lease",
    "hub.started": "version",
    "hub.recovered": "adopted lost resent",
    "hub.stopping": "reason",
}
# Kind: its code on the wire, and the exit code that the command line makes of it.
ERRORS: dict[str, tuple[int, int]] = {
    "invalidRequest": (-32600, 1),
    "unknownMethod": (-32601, 1),
    "invalidParams": (-32602, 2),
    "internal": (-32603, 1),
    "cancelled": (-32800, 1),
    "notInitialized": (-32002, 1),
    "notFound": (-32010, 3),
    "illegalTransition": (-32011, 4),
    "agentUnavailable": (-32012, 5),
    "gitFailed": (-32013, 1),
    "stalePreview": (-32014, 4),
    "alreadyAnswered": (-32015, 4),
    "busy": (-32016, 4),
    "notTrusted": (-32017, 1),
    "diskFull": (-32018, 1),
    "databaseUnusable": (-32019, 1),
    "protocolMismatch": (-32020, 6),
    "forbidden": (-32021, 1),
    "requestKeyReused": (-32022, 4),
    "conflict": (-32023, 4),
}
VERBS = """
health; hub status; hub start; hub stop; hub restart
projects list; projects add PATH --name --default-branch; projects show PROJECT; projects update PROJECT
projects remove PROJECT
send AGENT ACTION PROJECT SCOPE_OR_PROMPT --scope --prompt --model --base --from-dirty --policy --title --wait --follow
do TEXT; commands list
sessions list --project --state --archived --deleted; sessions show SESSION; sessions followup SESSION TEXT
sessions update SESSION
followup SESSION TEXT --steer; unqueue SESSION ID; respond SESSION OPTION --request --text
stop SESSION; resume SESSION TEXT; archive SESSION; unarchive SESSION
preview SESSION; delete SESSION --delete-branch --purge --yes; restore SESSION
wait SESSION... --until --timeout
logs SESSION -f -n; transcript SESSION; diff SESSION --stat --against; artifacts list; artifacts show ARTIFACT
open SESSION
commit SESSION -m; apply SESSION --strategy --preview; collisions; plan-merge PROJECT
events --follow --after --session --type; search QUERY
agents; dashboard; doctor; demo; replay AGENT FILE
"""
# What no verb needs: a connection that ends unsubscribes from everything.
NOT_IN_THE_COMMAND_LINE = {"orch/event/unsubscribe"}


def _wire_names(model: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


def test_nothing_is_missing_and_nothing_is_new_without_a_row() -> None:
    assert PROTOCOL_VERSION == 1
    assert set(METHODS) == set(METHOD_ROWS)
    assert set(EVENT_TYPES) == set(EVENTS)
    assert {kind.wire_name for kind in ErrorKind} == set(ERRORS)
    assert set(NOTIFICATIONS) == {"orch/event", "orch/event/lost"}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_method_has_its_parameters_and_its_result(name: str) -> None:
    method, (parameters, result, changes) = METHODS[name], METHOD_ROWS[name]
    fields = {field.alias or key: field for key, field in method.params.model_fields.items()}
    for word in parameters.split():
        assert word.removesuffix("?") in fields
        assert fields[word.removesuffix("?")].is_required() == (not word.endswith("?")), word
    needed = {key for key, field in fields.items() if field.is_required()}
    assert needed == {word for word in parameters.split() if not word.endswith("?")}
    if result in {"Project", "Session"}:
        assert method.result.__name__ == result
    else:
        assert set(result.split()) <= _wire_names(method.result)
    assert method.changes == changes
    if LIST in parameters:
        assert issubclass(method.params, PageParams)
        assert method.params.model_fields["limit"].default == 100


@pytest.mark.parametrize("model", OBJECTS, ids=lambda model: model.__name__)
def test_an_object_has_its_fields(model: type[BaseModel]) -> None:
    assert set(OBJECTS[model].split()) <= _wire_names(model)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_an_enum_has_its_values(enum: type[StrEnum]) -> None:
    values = [member.value for member in enum]
    assert set(ENUMS[enum].split()) <= set(values)
    if enum is State:
        assert ENUMS[enum].split() == values


def test_the_default_policies() -> None:
    assert {action.value: policy.value for action, policy in DEFAULT_POLICIES.items()} == {
        "implement": "auto_edit",
        "analyze": "deny",
        "review": "deny",
        "plan": "deny",
    }


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_carries_its_data(name: str) -> None:
    assert set(EVENTS[name].split()) <= _wire_names(EVENT_TYPES[name])


@pytest.mark.parametrize("kind", ErrorKind, ids=lambda kind: kind.wire_name)
def test_an_error_has_its_code_and_its_exit_code(kind: ErrorKind) -> None:
    assert (kind.code, cli.exit_code(kind.code)) == ERRORS[kind.wire_name]


@pytest.mark.parametrize("row", [row.strip() for line in VERBS.split("\n") for row in line.split(";") if row.strip()])
def test_a_verb_takes_its_words_and_options(row: str) -> None:
    words = row.split()
    name = " ".join(["orch", *(word for word in words if word.islower() and not word.startswith("-"))])
    known = {verb: command for verb, command, _ in verbs()}
    arguments = [
        (item.metavar or item.human_readable_name).upper()
        for item in known[name].params
        if not item.opts[0].startswith("-")
    ]
    assert arguments == [word for word in words if word[0].isupper()]
    options = {option for item in known[name].params for option in item.opts}
    assert {word for word in words if word.startswith("-")} <= options
    assert "--json" in options
    assert isinstance(known[name], cli.Verb)


@pytest.mark.parametrize("method", sorted(set(METHODS) - NOT_IN_THE_COMMAND_LINE))
def test_the_command_line_covers_every_method(method: str) -> None:
    sources = Path(orch_server.endpoints.cli.__path__[0]).glob("*.py")
    assert any(f'"{method}"' in source.read_text("utf-8") for source in sources)
