/** Taking a session away: nothing goes before the user has seen what it is. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Preview, Session } from "../protocol";
import { count } from "../readable";

const TRASH = "Move to Trash";
const TRASH_WITH_BRANCH = "Move to Trash with its Branch";
const FOR_GOOD = "Delete for Good";

export async function deleteWithPreview(orch: Orch, session: Session): Promise<void> {
  const preview = await orch.call("orch/session/cleanupPreview", { session: session.id });
  if (preview.blockers.length > 0)
    throw new Error(`${session.title} cannot be deleted now. ${preview.blockers.join(" ")}`);
  const buttons = preview.branch === null ? [TRASH] : [TRASH, TRASH_WITH_BRANCH];
  const question = `Move “${session.title}” to the trash?`;
  const chosen = await vscode.window.showWarningMessage(question, { modal: true, detail: tell(preview) }, ...buttons);
  if (chosen === undefined) return;
  const { keptUntil } = await orch.call("orch/session/delete", {
    session: session.id,
    token: preview.token,
    deleteBranch: chosen === TRASH_WITH_BRANCH,
  });
  const kept = keptUntil ? ` It can be restored until ${new Date(keptUntil).toLocaleDateString()}.` : "";
  void vscode.window.showInformationMessage(`“${session.title}” is in the trash.${kept}`, "Undo").then((undo) => {
    if (undo) void orch.attempt(() => orch.call("orch/session/restore", { session: session.id }));
  });
}

export async function purge(orch: Orch, session: Session): Promise<void> {
  const preview = await orch.call("orch/session/cleanupPreview", { session: session.id });
  const detail = `${tell(preview)}\n\nThis cannot be taken back.`;
  const question = `Delete “${session.title}” for good?`;
  const chosen = await vscode.window.showWarningMessage(question, { modal: true, detail }, FOR_GOOD);
  if (chosen === FOR_GOOD)
    await orch.call("orch/session/delete", { session: session.id, token: preview.token, purge: true });
}

/** Return what a delete would take away, in lines; what exists nowhere else comes first. */
export function tell(preview: Preview): string {
  const lines: string[] = [];
  const { worktree, commitsOnlyHere, processes } = preview;
  if (worktree?.present) {
    const unsaved = [
      [worktree.modified, "modified"],
      [worktree.staged, "staged"],
      [worktree.untracked, "untracked"],
      [worktree.ignored, "ignored"],
    ] as const;
    const words = unsaved.filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`);
    lines.push(`Worktree: ${words.length > 0 ? words.join(", ") : "nothing that is not committed"}`);
    for (const file of worktree.largest.slice(0, 5)) lines.push(`   ${file.path} (${file.kind})`);
    if (worktree.nested.length > 0) lines.push(`Repositories within: ${worktree.nested.join(", ")}`);
    if (worktree.operation) lines.push(`A ${worktree.operation} is under way.`);
  } else if (worktree) lines.push("The worktree is not there any more.");
  if (commitsOnlyHere.length > 0) lines.push(`${count(commitsOnlyHere.length, "commit")} only here:`);
  for (const { commit, subject } of commitsOnlyHere.slice(0, 5)) lines.push(`   ${commit.slice(0, 8)} ${subject}`);
  if (preview.branch) lines.push(`Branch: ${preview.branch}`);
  if (preview.artifacts > 0) lines.push(count(preview.artifacts, "artifact"));
  for (const { pid, name } of processes) lines.push(`Works in it: ${name} (${pid})`);
  for (const unknown of preview.unknown) lines.push(`Not known: ${unknown}`);
  if (preview.session.state !== "deleted")
    lines.push(`Kept until ${new Date(preview.keptUntil).toLocaleDateString()}.`);
  return lines.join("\n");
}
