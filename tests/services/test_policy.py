"""Which requests are decided without the user."""

from pathlib import Path

import pytest

from orch_server.agents.adapter import Subject
from orch_server.domain.session import Action, ApprovalOption, OptionKind, Policy
from orch_server.services.policy import choose, decide

OPTIONS = [
    ApprovalOption(id="yes", label="Allow", kind=OptionKind.ALLOW_ONCE),
    ApprovalOption(id="always", label="Always", kind=OptionKind.ALLOW_ALWAYS),
    ApprovalOption(id="no", label="Deny", kind=OptionKind.REJECT_ONCE),
]


@pytest.fixture
def root(tmp_path: Path) -> str:
    """A worktree with a link that leads out of it."""
    (tmp_path / "tree" / "src").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "tree" / "out").symlink_to(tmp_path / "secret")
    return str(tmp_path / "tree")


@pytest.mark.parametrize(
    ("policy", "action", "effect", "path", "chosen"),
    [
        ("ask", "implement", "edit", "src/a.py", None),
        ("ask", "implement", "read", "src/a.py", None),
        ("auto_edit", "implement", "edit", "src/a.py", "yes"),
        ("auto_edit", "implement", "edit", "new/dir/b.py", "yes"),
        ("auto_edit", "implement", "read", "src/a.py", "yes"),
        ("auto_edit", "implement", "edit", "../secret/x", None),
        ("auto_edit", "implement", "edit", "out/x", None),
        ("auto_edit", "implement", "edit", "/etc/passwd", None),
        ("auto_edit", "implement", "edit", ".git/config", None),
        ("auto_edit", "implement", "edit", "sub/.GIT/hooks/x", None),
        ("auto_edit", "implement", "execute", "src", None),
        ("auto_edit", "implement", "other", "src", None),
        ("auto_all", "implement", "execute", "src", "yes"),
        ("deny", "implement", "edit", "src/a.py", "no"),
        ("deny", "implement", "read", "src/a.py", "yes"),
        ("auto_all", "analyze", "edit", "src/a.py", "no"),
        ("auto_all", "plan", "execute", "src", "no"),
        ("ask", "review", "execute", "src", "no"),
        ("ask", "review", "read", "src/a.py", None),
        ("deny", "review", "read", "src/a.py", "yes"),
        ("deny", "review", "read", "/etc/passwd", "no"),
    ],
)
def test_the_table(root: str, policy: str, action: str, effect: str, path: str, chosen: str | None) -> None:
    option = decide(Policy(policy), Action(action), root, Subject(effect, (path,)), OPTIONS)
    assert (option.id if option else None) == chosen


def test_an_edit_of_nothing_named_is_asked(root: str) -> None:
    assert decide(Policy.AUTO_EDIT, Action.IMPLEMENT, root, Subject("edit"), OPTIONS) is None


def test_the_nearest_option_is_chosen() -> None:
    assert choose(OPTIONS[1:], OptionKind.ALLOW_ONCE) == OPTIONS[1]
    assert choose(OPTIONS[:2], OptionKind.REJECT_ONCE) is None
