"""Which of an agent's requests are decided without the user. Pure, but for resolving symbolic links."""

import os

from orch_server.agents.adapter import Subject
from orch_server.domain.session import READ_ONLY_ACTIONS, Action, ApprovalOption, OptionKind, Policy

_HARMLESS = frozenset({"read"})


def decide(
    policy: Policy, action: Action, root: str, subject: Subject, options: list[ApprovalOption]
) -> ApprovalOption | None:
    """Return the option that the policy chooses for an approval, None where the user is to be asked.

    In read-only actions nothing that could write is ever allowed, whatever the policy says.
    """
    harmless = subject.effect in _HARMLESS and all(_inside(root, path) for path in subject.paths)
    if action in READ_ONLY_ACTIONS and not harmless:
        return choose(options, OptionKind.REJECT_ONCE)
    if policy == Policy.DENY:
        return choose(options, OptionKind.ALLOW_ONCE if harmless else OptionKind.REJECT_ONCE)
    if policy == Policy.AUTO_ALL:
        return choose(options, OptionKind.ALLOW_ONCE)
    if policy == Policy.AUTO_EDIT and (harmless or _edits_inside(root, subject)):
        return choose(options, OptionKind.ALLOW_ONCE)
    return None


def choose(options: list[ApprovalOption], kind: OptionKind) -> ApprovalOption | None:
    """Return the option of a kind, or else the nearest that means the same."""
    twin = {
        OptionKind.ALLOW_ONCE: OptionKind.ALLOW_ALWAYS,
        OptionKind.ALLOW_ALWAYS: OptionKind.ALLOW_ONCE,
        OptionKind.REJECT_ONCE: OptionKind.REJECT_ALWAYS,
        OptionKind.REJECT_ALWAYS: OptionKind.REJECT_ONCE,
    }[kind]
    for wanted in (kind, twin):
        for option in options:
            if option.kind == wanted:
                return option
    return None


def _edits_inside(root: str, subject: Subject) -> bool:
    return subject.effect == "edit" and bool(subject.paths) and all(_inside(root, path) for path in subject.paths)


def _inside(root: str, path: str) -> bool:
    real_root = os.path.realpath(root)
    real = os.path.realpath(os.path.join(real_root, path))
    if os.path.commonpath([real_root, real]) != real_root:
        return False
    return ".git" not in (part.lower() for part in os.path.relpath(real, real_root).split(os.sep))
