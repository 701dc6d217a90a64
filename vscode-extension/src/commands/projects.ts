/** The verbs of projects and artifacts. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Artifact, Project } from "../protocol";
import { pick, pickProject, type Given } from "./pick";
import { changeSettings } from "./projectSettings";

export function register(orch: Orch): vscode.Disposable[] {
  const onProject = (name: string, work: (project: Project) => unknown) =>
    vscode.commands.registerCommand(`orch.project.${name}`, (given?: Given) =>
      orch.attempt(async () => {
        const project = await pickProject(orch, given);
        return project && work(project);
      }),
    );
  return [
    vscode.commands.registerCommand("orch.project.add", (folder?: vscode.Uri) => orch.attempt(() => add(orch, folder))),
    onProject("rename", (project) => rename(orch, project)),
    onProject("trust", (project) => trust(orch, project)),
    onProject("distrust", ({ id }) => orch.call("orch/project/update", { project: id, trusted: false })),
    onProject("settings", (project) => changeSettings(orch, project)),
    onProject("remove", (project) => remove(orch, project)),
    onProject("openFolder", ({ path }) =>
      vscode.commands.executeCommand("vscode.openFolder", vscode.Uri.file(path), { forceNewWindow: true }),
    ),
    vscode.commands.registerCommand("orch.artifact.open", (given?: { artifact?: Artifact }) =>
      orch.attempt(() => openArtifact(orch, given)),
    ),
  ];
}

async function add(orch: Orch, given?: vscode.Uri): Promise<Project | undefined> {
  const known = new Set([...orch.model.projects.values()].map((project) => project.path));
  const open = (vscode.workspace.workspaceFolders ?? []).filter((folder) => !known.has(folder.uri.fsPath));
  let path = given instanceof vscode.Uri ? given.fsPath : undefined;
  if (path === undefined && open.length > 0) {
    const items = [
      ...open.map((folder) => ({
        label: `$(folder) ${folder.name}`,
        description: folder.uri.fsPath,
        path: folder.uri.fsPath,
      })),
      { label: "$(folder-opened) Another folder…", description: "", path: "" },
    ];
    const chosen = await vscode.window.showQuickPick(items, {
      placeHolder: "Which repository? Adding it is consent to run agents in it.",
    });
    if (!chosen) return undefined;
    path = chosen.path || undefined;
  }
  if (path === undefined) {
    const title = "Add a repository: agents may then be run in it";
    const chosen = await vscode.window.showOpenDialog({
      canSelectFiles: false,
      canSelectFolders: true,
      title,
      openLabel: "Add",
    });
    path = chosen?.[0]?.fsPath;
  }
  return path === undefined ? undefined : orch.call("orch/project/add", { path });
}

async function rename(orch: Orch, project: Project): Promise<void> {
  const name = await vscode.window.showInputBox({ title: "Rename the project", value: project.name });
  if (name?.trim()) await orch.call("orch/project/update", { project: project.id, name: name.trim() });
}

async function trust(orch: Orch, project: Project): Promise<void> {
  const detail = "Its own hooks, set-up commands and filters are then run in the worktrees of sessions.";
  const answer = await vscode.window.showWarningMessage(`Trust ${project.slug}?`, { modal: true, detail }, "Trust");
  if (answer === "Trust") await orch.call("orch/project/update", { project: project.id, trusted: true });
}

async function remove(orch: Orch, project: Project): Promise<void> {
  const detail = "orch forgets the project. None of its files is touched.";
  const answer = await vscode.window.showWarningMessage(`Remove ${project.slug}?`, { modal: true, detail }, "Remove");
  if (answer === "Remove") await orch.call("orch/project/remove", { project: project.id });
}

async function openArtifact(orch: Orch, given: { artifact?: Artifact } | undefined): Promise<void> {
  const newest = [...orch.model.artifacts.values()].sort((one, other) => other.createdAt.localeCompare(one.createdAt));
  const items = newest.map((artifact) => ({
    label: artifact.name,
    description: artifact.kind,
    detail: orch.session(artifact.sessionId)?.title,
    value: artifact,
  }));
  const artifact = given?.artifact ?? (await pick(items, "Which artifact?"));
  // As text: what an agent wrote is not rendered, since a page could load things.
  if (artifact) await vscode.commands.executeCommand("vscode.open", vscode.Uri.file(artifact.path));
}
