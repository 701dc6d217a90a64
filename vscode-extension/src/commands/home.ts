/** Bringing a session's work home: a commit on its branch, or its changes in the user's checkout. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Session, Strategy } from "../protocol";
import { count } from "../readable";
import { pick } from "./pick";

const STRATEGIES: { strategy: Strategy; label: string; detail: string }[] = [
  { strategy: "patch", label: "As a patch", detail: "Changes files in your checkout and commits nothing" },
  { strategy: "squash", label: "As one commit", detail: "One commit on the branch that you have checked out" },
  { strategy: "merge", label: "Merge", detail: "Merges the session's branch" },
  { strategy: "rebase", label: "Rebase", detail: "Puts the session's commits on top of your branch" },
];

export async function commit(orch: Orch, session: Session): Promise<void> {
  const message = await vscode.window.showInputBox({
    title: `Commit on ${session.branch ?? "the session's branch"}`,
    prompt: "What the commit says",
    value: session.title,
    ignoreFocusOut: true,
  });
  if (message === undefined) return;
  const made = await orch.call("orch/session/commit", { session: session.id, message: message.trim() || null });
  const said =
    made.files.length === 0 ? "There was nothing to commit." : `Committed ${count(made.files.length, "file")}.`;
  void vscode.window.showInformationMessage(said);
}

/** Show what would change in the checkout, and change it if the user says so. */
export async function apply(orch: Orch, session: Session): Promise<void> {
  const chosen = await pick(
    STRATEGIES.map((each) => ({ label: each.label, detail: each.detail, value: each })),
    "How is the work to come into your checkout?",
  );
  if (!chosen) return;
  const { strategy } = chosen;
  const { preview, message } = await orch.call("orch/session/apply", { session: session.id, strategy, preview: true });
  if (preview.conflicts.length > 0) {
    const conflicts = preview.conflicts.map(({ path, kind }) => `${path} (${kind.replaceAll("_", " ")})`);
    throw new Error(`It does not go into your checkout: ${conflicts.join(", ")}. Nothing was changed.`);
  }
  if (preview.files.length === 0) {
    void vscode.window.showInformationMessage(message || "There is nothing to bring into your checkout.");
    return;
  }
  const lines = preview.files.map((file) => `${file.status} ${file.path}  +${file.insertions} -${file.deletions}`);
  const shown = lines.length > 20 ? [...lines.slice(0, 20), `and ${lines.length - 20} more`] : lines;
  const question = `Bring ${count(lines.length, "file")} into your checkout of ${session.projectSlug}?`;
  const answer = await vscode.window.showInformationMessage(
    question,
    { modal: true, detail: `${chosen.label}. ${chosen.detail}.\n\n${shown.join("\n")}` },
    "Apply",
  );
  if (answer !== "Apply") return;
  const applied = await orch.call("orch/session/apply", { session: session.id, strategy });
  const done = `${count(applied.preview.files.length, "file")} came into your checkout of ${session.projectSlug}.`;
  void vscode.window.showInformationMessage(done, "Undo").then((undo) => {
    if (undo) void orch.attempt(() => undoApply(orch, session));
  });
}

export async function undoApply(orch: Orch, session: Session): Promise<void> {
  await orch.call("orch/session/apply", { session: session.id, undo: true });
  void vscode.window.showInformationMessage("Your checkout is as it was before.");
}
