/** The verbs of a session, each one command; what a verb needs to know, it asks. */

import * as vscode from "vscode";

import type { Changes } from "../changes";
import { Orch } from "../orch";
import type { Output } from "../output";
import type { Session } from "../protocol";
import type { SessionPages } from "../views/sessionPage";
import { VERBS, type Verb } from "../verbs";
import type { Worktrees } from "../worktrees";
import { answer, decide } from "./answering";
import { deleteWithPreview, purge } from "./cleanup";
import { apply, commit, undoApply } from "./home";
import { pick, pickSession, type Given } from "./pick";
import { pickPolicy } from "./policies";

export interface Parts {
  orch: Orch;
  pages: SessionPages;
  output: Output;
  changes: Changes;
  worktrees: Worktrees;
}

type Work = (session: Session) => unknown;

export function register(parts: Parts): vscode.Disposable[] {
  const work = verbs(parts);
  return (Object.keys(VERBS) as Verb[]).map((verb) =>
    vscode.commands.registerCommand(`orch.session.${verb}`, (given?: Given) =>
      parts.orch.attempt(async () => {
        const session = await pickSession(parts.orch, verb, given, parts.pages.active);
        if (session) await work[verb](session);
      }),
    ),
  );
}

function verbs({ orch, pages, output, changes, worktrees }: Parts): Record<Verb, Work> {
  return {
    open: (session) => pages.open(session.id),
    answer: (session) => answer(orch, session),
    approve: (session) => decide(orch, session, "approve"),
    deny: (session) => decide(orch, session, "deny"),
    followUp: (session) => followUp(orch, session),
    unqueue: (session) => unqueue(orch, session),
    stop: ({ id }) => orch.call("orch/session/stop", { session: id }),
    resume: ({ id }) => orch.call("orch/session/resume", { session: id }),
    diff: (session) => changes.showAll(session),
    diffFile: (session) => changes.showOne(session),
    openInWorkspace: (session) => worktrees.openInWorkspace(session),
    openInNewWindow: (session) => worktrees.openInNewWindow(session),
    openTerminal: (session) => worktrees.openTerminal(session),
    reveal: (session) => worktrees.reveal(session),
    commit: (session) => commit(orch, session),
    apply: (session) => apply(orch, session),
    undoApply: (session) => undoApply(orch, session),
    archive: ({ id }) => orch.call("orch/session/archive", { session: id }),
    unarchive: ({ id }) => orch.call("orch/session/unarchive", { session: id }),
    delete: (session) => deleteWithPreview(orch, session),
    restore: ({ id }) => orch.call("orch/session/restore", { session: id }),
    purge: (session) => purge(orch, session),
    rename: (session) => rename(orch, session),
    setPolicy: (session) => setPolicy(orch, session),
    showLog: ({ id }) => output.show(id),
    showTranscript: (session) => showTranscript(orch, session),
    copyId: ({ id }) => vscode.env.clipboard.writeText(id),
  };
}

async function followUp(orch: Orch, session: Session): Promise<void> {
  const isWorking = session.state === "running" || session.state === "waiting_for_user";
  const text = await vscode.window.showInputBox({
    title: session.title,
    prompt: isWorking ? "Delivered when the running turn ends" : "Goes on in the same conversation",
    placeHolder: "A further text for the agent",
    ignoreFocusOut: true,
  });
  if (text?.trim()) await orch.call("orch/session/followUp", { session: session.id, text });
}

async function unqueue(orch: Orch, session: Session): Promise<void> {
  const items = session.queued.map(({ id, text, status }) => ({ label: text, description: status, value: id }));
  const followUpId = await pick(items, "Which text is to be taken back?");
  if (followUpId) await orch.call("orch/session/unqueue", { session: session.id, followUpId });
}

async function rename(orch: Orch, session: Session): Promise<void> {
  const title = await vscode.window.showInputBox({ title: "Rename the session", value: session.title });
  if (title?.trim()) await orch.call("orch/session/update", { session: session.id, title: title.trim() });
}

async function setPolicy(orch: Orch, session: Session): Promise<void> {
  const policy = await pickPolicy(session.policy, "How are requests for approval decided?");
  if (policy) await orch.call("orch/session/update", { session: session.id, policy });
}

async function showTranscript(orch: Orch, session: Session): Promise<void> {
  const found = [...orch.model.artifacts.values()].find(
    (artifact) => artifact.sessionId === session.id && artifact.kind === "transcript" && artifact.name.endsWith(".md"),
  );
  if (!found) throw new Error("The session has no transcript yet; it is written when a turn ends.");
  await vscode.commands.executeCommand("orch.artifact.open", { kind: "artifact", artifact: found });
}
