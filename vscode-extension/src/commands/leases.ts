/** Claims on paths: who is asked before an agent changes them. */

import { join, relative } from "node:path";
import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Lease, Project } from "../protocol";
import { count } from "../readable";
import { activeFile, pick, pickProject, projectOf } from "./pick";

export function register(orch: Orch): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand("orch.leases", () => orch.attempt(() => show(orch))),
    vscode.commands.registerCommand("orch.lease.claim", (given?: unknown) => orch.attempt(() => claim(orch, given))),
    vscode.commands.registerCommand("orch.lease.release", () => orch.attempt(() => release(orch))),
  ];
}

/** List the claims, and show the file of one. */
async function show(orch: Orch): Promise<void> {
  const leases = await read(orch);
  const chosen = leases && (await pick(leases.map(item(orch)), "Who has claimed what? Choose one to see the path"));
  const project = chosen && orch.model.projects.get(chosen.projectId);
  if (!project) return;
  const uri = vscode.Uri.file(join(project.path, chosen.path));
  const stat = await vscode.workspace.fs.stat(uri).then(
    ({ type }) => type,
    () => undefined,
  );
  if (stat === undefined) throw new Error(`${chosen.path} is not in the checkout of ${project.slug}.`);
  await vscode.commands.executeCommand(stat === vscode.FileType.File ? "vscode.open" : "revealInExplorer", uri);
}

/** Claim a path for the user, or for a session. */
async function claim(orch: Orch, given: unknown): Promise<void> {
  const uri = given instanceof vscode.Uri ? given : undefined;
  const project = uri ? projectOf(orch, uri) : await pickProject(orch);
  if (!project) {
    if (uri) throw new Error("The path is in no project that orch knows.");
    return;
  }
  const path = uri ? relative(project.path, uri.fsPath) : await pickPath(project);
  if (!path) return;
  const session = await pickHolder(orch, project);
  if (session === undefined) return;
  await orch.call("orch/lease/claim", { project: project.id, paths: [path], session });
  void vscode.window.showInformationMessage(`Claimed ${path}: other agents have to ask before they change it.`);
}

async function pickPath(project: Project): Promise<string | undefined> {
  const file = activeFile();
  const path = file && relative(project.path, file.fsPath);
  const isInside = path && !path.startsWith("..");
  const folder = isInside ? path.split("/").slice(0, -1).join("/") : "";
  const items = [
    ...(isInside ? [{ label: `$(file) ${path}`, description: "the active file", value: path }] : []),
    ...(folder ? [{ label: `$(folder) ${folder}`, description: "all that lies in it", value: folder }] : []),
    { label: "$(edit) Another path…", description: "", value: "" },
  ];
  const chosen = items.length > 1 ? await pick(items, "Which path is claimed?") : "";
  if (chosen !== "") return chosen;
  const prompt = `From the top of ${project.slug}; a folder stands for all that lies in it`;
  return (await vscode.window.showInputBox({ title: "Claim a path", prompt, placeHolder: "src/cart" }))?.trim();
}

/** Return the session that is to hold a claim: null for the user, undefined if they leave. */
async function pickHolder(orch: Orch, project: Project): Promise<string | null | undefined> {
  const sessions = orch.model.visibleSessions().filter(({ projectId }) => projectId === project.id);
  const items: { label: string; description: string; value: string | null }[] = [
    { label: "$(account) Myself", description: "every agent has to ask", value: null },
    ...sessions.map(({ id, title, agent }) => ({ label: `$(robot) ${title}`, description: agent, value: id })),
  ];
  return sessions.length === 0 ? null : pick(items, "For whom?");
}

async function release(orch: Orch): Promise<void> {
  const leases = await read(orch);
  if (!leases) return;
  const placeHolder = "Which claims end?";
  const chosen = await vscode.window.showQuickPick(leases.map(item(orch)), { placeHolder, canPickMany: true });
  if (!chosen || chosen.length === 0) return;
  for (const { value } of chosen) await orch.call("orch/lease/release", { lease: value.id });
  void vscode.window.showInformationMessage(`${count(chosen.length, "claim")} ended.`);
}

async function read(orch: Orch): Promise<Lease[] | undefined> {
  const { items } = await orch.call("orch/lease/list", {});
  if (items.length > 0) return items;
  void vscode.window.showInformationMessage("Nobody has claimed a path.");
  return undefined;
}

function item(orch: Orch): (lease: Lease) => { label: string; description: string; value: Lease } {
  return (lease) => ({
    label: `$(lock) ${lease.path}`,
    description: [
      orch.model.projects.get(lease.projectId)?.slug,
      lease.sessionId === null ? "you" : (orch.session(lease.sessionId)?.title ?? lease.sessionId),
    ].join(" · "),
    value: lease,
  });
}
