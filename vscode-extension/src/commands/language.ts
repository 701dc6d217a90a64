/**
 * The commands that the server's code lenses and code actions name: what the extension shows better is shown by it, and
 * what only the server can do is sent back to it. They take the arguments that the server gives them, so none is in the
 * palette; the server announces no commands to this client, or both would register them.
 */

import { join } from "node:path";
import * as vscode from "vscode";

import type { Changes } from "../changes";
import type { Orch } from "../orch";
import type { Session, StartSession } from "../protocol";
import { short } from "../readable";
import { begin } from "./start";

/** Where the two sides of a file that collides lie; null where a side does not have it. */
interface Sides {
  path: string;
  left: string | null;
  right: string | null;
}

/** Their names, which are those of `workspace/executeCommand`. */
export const LANGUAGE_COMMANDS = [
  "sessions",
  "diff",
  "open",
  "send",
  "followUp",
  "stop",
  "compare",
  "tell",
  "take",
] as const;

type Work = Record<(typeof LANGUAGE_COMMANDS)[number], (given: never) => unknown>;

export function register(orch: Orch, changes: Changes): vscode.Disposable[] {
  const work: Work = {
    sessions: () => vscode.commands.executeCommand("orch.sessions.focus"),
    diff: ({ session, paths }: { session: string; paths?: string[] }) =>
      changes.showFile(sessionOf(orch, session), paths?.[0]),
    open: ({ session, path }: { session: string; path: string }) => open(sessionOf(orch, session), path),
    send: (params: StartSession) => begin(orch, params),
    followUp: ({ session, text }: { session: string; text: string }) => followUp(orch, session, text),
    stop: ({ session }: { session: string }) => vscode.commands.executeCommand("orch.session.stop", session),
    compare: ({ collision }: { collision: string }) => compare(orch, collision),
    tell: (params: { collision: string; session: string }) => tell(orch, params),
    take: (params: unknown) => execute(orch, "orch.take", params),
  };
  return LANGUAGE_COMMANDS.map((name) =>
    vscode.commands.registerCommand(`orch.${name}`, (given: never) => orch.attempt(() => work[name](given))),
  );
}

/** Have the server carry out a command of its own. */
async function execute(orch: Orch, command: string, params: unknown): Promise<unknown> {
  return orch.client.connection.sendRequest("workspace/executeCommand", { command, arguments: [params] });
}

function sessionOf(orch: Orch, id: string): Session {
  const session = orch.session(id);
  if (!session) throw new Error(`There is no session ${id}.`);
  return session;
}

async function open(session: Session, path: string): Promise<void> {
  if (session.worktreePath === null) throw new Error("The session has no worktree.");
  await vscode.commands.executeCommand("vscode.open", vscode.Uri.file(join(session.worktreePath, path)));
}

async function followUp(orch: Orch, session: string, text: string): Promise<void> {
  await orch.call("orch/session/followUp", { session, text });
  await vscode.commands.executeCommand("orch.session.open", session);
}

/** Show both sides of a collision beside one another, in the first file that both have. */
async function compare(orch: Orch, collision: string): Promise<void> {
  const { files } = (await execute(orch, "orch.compare", { collision, show: false })) as { files: Sides[] };
  const both = files.find(({ left, right }) => left !== null && right !== null);
  if (both?.left == null || both.right == null)
    throw new Error("Only one side has the file: there is nothing to compare.");
  const [left, right] = [vscode.Uri.file(both.left), vscode.Uri.file(both.right)];
  await vscode.commands.executeCommand("vscode.diff", left, right, `${both.path}: both sides of a collision`);
}

async function tell(orch: Orch, params: { collision: string; session: string }): Promise<void> {
  const session = await orch.call("orch/collision/tell", params);
  void vscode.window.showInformationMessage(`“${short(session.title, 60)}” is told what the other side changed.`);
}
