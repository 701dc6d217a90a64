"""Deliberate defects of the code that keeps work safe, each with the test that must catch it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Planted:
    """One defect: in which file of the package what is replaced by what, and who notices."""

    what: str
    file: str
    old: str
    new: str
    caught_by: str


PLANTED = (
    Planted(
        "a purge follows symbolic links",
        "git/trash.py",
        "    found = os.stat(name, dir_fd=parent, follow_symlinks=False)\n    if not stat.S_ISDIR",
        "    found = os.stat(name, dir_fd=parent)\n    if not stat.S_ISDIR",
        "services/test_cleanup.py::test_a_purge_follows_no_link_and_leaves_read_only_and_deep_folders_no_hiding_place",
    ),
    Planted(
        "a delete does not pin the branch",
        "git/trash.py",
        '"branch": branch_commit, "index"',
        '"branch": None, "index"',
        "git/test_trash.py::test_everything_git_can_hold_is_pinned",
    ),
    Planted(
        "a delete does not pin the index",
        "git/trash.py",
        '"index": index}',
        '"index": None}',
        "git/test_trash.py::test_everything_git_can_hold_is_pinned",
    ),
    Planted(
        "a branch that somebody has checked out is deleted",
        "git/trash.py",
        "commit == trashed.branch_commit and not elsewhere",
        "commit == trashed.branch_commit",
        "services/test_cleanup.py::test_the_branch_is_dropped_only_if_asked_and_never_from_under_anyone",
    ),
    Planted(
        "a directory that replaced the worktree is deleted",
        "git/trash.py",
        "if found.st_ino != worktree.inode or",
        "if",
        "services/test_cleanup.py::test_a_removed_directory_can_be_deleted_and_what_replaced_it_is_left_alone",
    ),
    Planted(
        "the worktree is not locked",
        "git/worktree.py",
        '"--no-track", "--lock", "--reason", planned.lock_reason]',
        '"--no-track"]',
        "git/test_worktree.py::test_prune_spares_it",
    ),
    Planted(
        "a half-made worktree's branch is dropped although it went on",
        "git/worktree.py",
        """        if tip.line == planned.base:
            # Only while it is still at the base: git compares, under its own lock.
            await update_refs(git, target, [Update(ref, "", planned.base)]""",
        """        if tip.status == 0:
            await update_refs(git, target, [Update(ref, "")]""",
        "git/test_worktree.py::test_recover_leaves_a_branch_that_went_on",
    ),
    Planted(
        "a worktree is known by its path alone",
        "git/worktree.py",
        'same and runtime_dir.read_file(directory, ".git") == worktree.dot_git',
        "True",
        "git/test_worktree.py::test_check_sees_what_happened",
    ),
    Planted(
        "hooks of a project run",
        "git/command.py",
        '    ("core.hooksPath", "/dev/null"),\n',
        "",
        "git/test_safety.py::test_no_canary_fires",
    ),
    Planted(
        "git gets the hub's own environment",
        "git/command.py",
        '["/usr/bin/env", "-i", *self._variables()',
        '["/usr/bin/env", *self._variables()',
        "git/test_command.py::test_the_environment_holds_nothing_of_ours",
    ),
    Planted(
        "a call of git that takes too long leaves its children",
        "git/command.py",
        "os.killpg(process.pid, number)",
        "os.kill(process.pid, number)",
        "git/test_command.py::test_a_call_that_takes_too_long_is_ended_with_its_children",
    ),
    Planted(
        "git changes an index where it lies, and is killed with its lock",
        "git/index.py",
        "private = replace(index, index=copy)",
        "private = index",
        "git/test_index.py::test_a_git_that_dies_as_it_writes_leaves_nothing_locked",
    ),
    Planted(
        "an index that changed meanwhile is overwritten",
        "git/index.py",
        "if mark_of(real) == mark:",
        "if True:",
        "git/test_index.py::test_an_index_that_changed_meanwhile_is_begun_with_again",
    ),
    Planted(
        "the lock of another git is taken for one that ours left",
        "git/locks.py",
        "if _look(lock) == found:",
        "if True:",
        "git/test_refs.py::test_a_lock_that_another_git_takes_meanwhile_stays",
    ),
    Planted(
        "snapshots convert line ends",
        "git/shadow.py",
        'EXACT_ATTRIBUTES = b"* -text',
        'EXACT_ATTRIBUTES = b"* text',
        "git/test_snapshot.py::test_exact_keeps_the_bytes",
    ),
    Planted(
        "hidden changes are not seen",
        "git/snapshot.py",
        "assumed = [name for tag, name in marked if tag.islower()]",
        "assumed: list[bytes] = []",
        "git/test_snapshot.py::test_changes_that_git_was_told_not_to_see_are_seen",
    ),
    Planted(
        "ignored files go into the project's objects",
        "git/snapshot.py",
        '"--modified", "--others", "--exclude-standard"',
        '"--modified", "--others"',
        "git/test_snapshot.py::test_what_the_user_ignores_is_ignored",
    ),
    Planted(
        "a preview does not count what is ignored",
        "git/inventory.py",
        'ignored = await names("--others", "--ignored", "--exclude-standard")',
        "ignored: list[bytes] = []",
        "services/test_cleanup.py::test_a_preview_tells_what_git_does_not",
    ),
    Planted(
        "a stale preview is accepted",
        "services/cleanup.py",
        "    if now.token != token:",
        "    if not now.token:",
        "services/test_cleanup.py::test_what_is_deleted_comes_back_byte_for_byte[untracked-stopped-stale]",
    ),
    Planted(
        "the trash is emptied after one start of the hub",
        "services/cleanup.py",
        "HUB_STARTS_KEPT = 2",
        "HUB_STARTS_KEPT = 0",
        "services/test_cleanup.py::test_retention_needs_the_time_and_two_hub_starts",
    ),
    Planted(
        "the runner ends the agent alone",
        "runtime/runner.py",
        "        leftovers = self.sweep()\n",
        "        leftovers = 0\n",
        "runtime/test_runs.py::TestStop::test_one_that_ignores_signals_and_hides",
    ),
    Planted(
        "output that was read twice at an end is lost",
        "services/live.py",
        "            self._out.offset, self._err.offset = taken\n",
        "            self._out.offset, self._err.offset = out.end, err.end\n            del taken\n",
        "services/test_live.py::test_what_was_being_taken_in_when_an_agent_ended_is_taken_once",
    ),
    Planted(
        "an input is written twice",
        "runtime/runner.py",
        "        if input_id in self.written:",
        "        if input_id in set():",
        "runtime/test_runs.py::TestInput::test_an_id_is_written_once",
    ),
    Planted(
        "an input is written before its intent",
        "runtime/runner.py",
        "                if not self.write_journal(item.record, sync=True):\n                    return\n",
        "",
        "runtime/test_runs.py::TestInput::test_the_journal_tells_intent_before_done",
    ),
    Planted(
        "a secret is journalled",
        "runtime/runner.py",
        '"line": "" if secret else line}',
        '"line": line}',
        "runtime/test_runs.py::TestALife::test_the_environment_is_never_on_disk",
    ),
    Planted(
        "a process is known by its number alone",
        "runtime/bundle.py",
        "return runner.start_time(pid) == start",
        "return True",
        "runtime/test_bundle.py::test_who_is_alive",
    ),
    Planted(
        "numbers of before a restart of the machine count",
        "runtime/bundle.py",
        "return record.boot_id == runner.boot_id()",
        "return True",
        "runtime/test_bundle.py::test_who_is_alive",
    ),
    Planted(
        "what a dead runner left is not looked for by its mark",
        "runtime/bundle.py",
        "roots = self._known(record) | runner.kill_carriers(cookie)",
        "roots = self._known(record)",
        "runtime/test_bundle.py::test_the_remains_of_a_dead_runner_are_swept",
    ),
    Planted(
        "a hub that died before it made a bundle never starts again",
        "runtime/bundle.py",
        "        if not self.exists():\n            return True\n        claim",
        "        claim",
        "runtime/test_runner.py::test_a_run_without_a_bundle_needs_no_forbidding",
    ),
    Planted(
        "an illegal change of state is made",
        "store/transaction.py",
        "check_transition(",
        "str(",
        "store/test_store.py::test_a_transition_that_is_not_listed_is_refused",
    ),
    Planted(
        "a database that was cut is taken as it is",
        "store/schema.py",
        " and size < told:",
        " and told < 0:",
        "faults/test_database.py::test_a_file_that_lost_its_last_byte_is_refused",
    ),
    Planted(
        "a commit is not synced",
        "store/schema.py",
        '"synchronous=FULL"',
        '"synchronous=OFF"',
        "faults/test_durability.py::test_nothing_is_acknowledged_before_it_is_synced",
    ),
    Planted(
        "the trash is not synced before a delete is acknowledged",
        "git/trash.py",
        "        os.fsync(new)\n        os.fsync(old)\n",
        "        del new, old\n",
        "faults/test_durability.py::test_nothing_is_acknowledged_before_it_is_synced",
    ),
    Planted(
        "the socket is open to others for a moment",
        "hub/address.py",
        "os.umask(0o177)",
        "os.umask(0)",
        "hub/test_address.py::test_nobody_else_ever_could_connect",
    ),
    Planted(
        "a socket's directory may be open to others",
        "hub/address.py",
        "if stat.S_IMODE(found.st_mode) & 0o077:",
        "if not found:",
        "hub/test_address.py::test_a_place_that_others_reach_is_refused",
    ),
    Planted(
        "anybody is let in",
        "hub/address.py",
        "return bool(uid == os.geteuid())",
        "return bool(uid >= 0)",
        "hub/test_address.py::test_another_user_is_not_let_in",
    ),
    Planted(
        "an agent that detaches itself is taken for its user",
        "hub/peer.py",
        "        if words and os.path.dirname(words[-1]) == runs:",
        "        if words is None:",
        "faults/test_agent_access.py::test_an_agent_can_only_read_its_own_session[stripped]",
    ),
    Planted(
        "an agent may do more than read",
        "protocol/access.py",
        "    if method in READING:",
        "    if method:",
        "faults/test_agent_access.py::test_an_agent_can_only_read_its_own_session[plain]",
    ),
    Planted(
        "tokens are kept",
        "domain/redact.py",
        "        if beginning in json:",
        "        if beginning not in json:",
        "domain/test_redact.py::test_a_token_is_left_out",
    ),
    Planted(
        "control characters reach the terminal",
        "domain/readable.py",
        "    if code < 0x20:",
        "    if code < 0x10:",
        "faults/test_names.py::test_nothing_that_moves_a_terminal_is_shown",
    ),
)
