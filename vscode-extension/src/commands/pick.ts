/** Quick picks that show what matters, with what is most likely meant on top. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import { byUrgency, describe, LOOKS, stateWords } from "../presentation";
import type { AgentInfo, Project, Session } from "../protocol";
import { VERBS, type Verb } from "../verbs";

/** What a command may be given: a node of a tree, an id, or nothing. */
export type Given = { kind?: string; id?: string } | string | undefined;

interface Choice<T> extends vscode.QuickPickItem {
  value: T;
}

/** A page that gets the focus back from the palette takes it from a list that was only just opened, which closes it. */
const JUST_OPENED = 800;

/** Return what the user picks, or undefined if they leave. */
export function pick<T>(items: Choice<T>[], placeholder: string, title?: string): Promise<T | undefined> {
  const box = vscode.window.createQuickPick<Choice<T>>();
  Object.assign(box, { items, placeholder, title, matchOnDescription: true, matchOnDetail: true });
  return new Promise((resolve) => {
    let accepted = false;
    const opened = performance.now();
    box.onDidAccept(() => {
      accepted = true;
      resolve(box.selectedItems[0]?.value);
      box.hide();
    });
    box.onDidHide(() => {
      if (!accepted && performance.now() - opened < JUST_OPENED) {
        box.items = [...items]; // a list that was closed has lost its rows
        box.show();
        return;
      }
      resolve(undefined);
      box.dispose();
    });
    box.show();
  });
}

/** Return the session that is given, else the one the user picks of those for which the verb makes sense. */
export async function pickSession(
  orch: Orch,
  verb: Verb,
  given: Given,
  present?: string,
): Promise<Session | undefined> {
  const id = typeof given === "string" ? given : given?.id;
  if (id !== undefined) {
    const session = orch.session(id);
    if (session) return session;
    throw new Error(`There is no session ${id}.`);
  }
  const fitting = [...orch.model.sessions.values()].filter((session) => VERBS[verb](session));
  const shown =
    fitting.length > 1 ? fitting.filter((session) => verb !== "open" || session.state !== "deleted") : fitting;
  if (shown.length === 0) {
    void vscode.window.showInformationMessage("There is no session for which this makes sense now.");
    return undefined;
  }
  const isPresent = (session: Session) => Number(session.id === present);
  shown.sort((one, other) => isPresent(other) - isPresent(one) || byUrgency(one, other));
  const items = shown.map((session) => ({
    label: `$(${LOOKS[session.state].icon}) ${session.title}`,
    description: describe(session),
    detail: `${session.projectSlug} · ${stateWords(session)} · ${session.id}`,
    value: session,
  }));
  return pick(items, "Which session?");
}

/** Return the project that is given, else the one the user picks; that of the active file comes first. */
export async function pickProject(orch: Orch, given?: Given): Promise<Project | undefined> {
  const id = typeof given === "string" ? given : given?.id;
  if (id !== undefined) return orch.model.projects.get(id);
  const projects = [...orch.model.projects.values()];
  const present = projectOf(orch, activeFile());
  projects.sort(
    (one, other) => Number(other === present) - Number(one === present) || one.slug.localeCompare(other.slug),
  );
  const items: Choice<Project | "add">[] = projects.map((project) => ({
    label: `$(repo) ${project.slug}`,
    description: project === present ? "of the active file" : "",
    detail: project.path,
    value: project,
  }));
  items.push({ label: "$(add) Add a repository…", value: "add", alwaysShow: true });
  const chosen = await pick(items, "In which project?");
  if (chosen !== "add") return chosen;
  return vscode.commands.executeCommand<Project | undefined>("orch.project.add");
}

/** Return the agent that the user picks; those that can be used come first, the one used last on top. */
export async function pickAgent(orch: Orch): Promise<AgentInfo | undefined> {
  const { items } = await orch.call("orch/agent/list");
  const last = orch.context.globalState.get<string>("lastAgent");
  const rank = (agent: AgentInfo) => (agent.name === last ? 0 : agent.available ? 1 : 2);
  items.sort((one, other) => rank(one) - rank(other));
  const choices = items.map((agent) => ({
    label: `$(${agent.available ? "robot" : "circle-slash"}) ${agent.name}`,
    description: agent.available ? [agent.displayName, agent.version].filter(Boolean).join(" ") : "not installed",
    detail: agent.available ? undefined : agent.hint,
    value: agent,
  }));
  const chosen = await pick(choices, "Which agent?");
  if (chosen && !chosen.available) throw new Error(`${chosen.displayName} cannot be used. ${chosen.hint}`);
  return chosen;
}

export function activeFile(): vscode.Uri | undefined {
  const uri = vscode.window.activeTextEditor?.document.uri;
  return uri?.scheme === "file" ? uri : undefined;
}

/** The project that a file, or else the first folder of the workspace, lies in. */
export function projectOf(orch: Orch, file: vscode.Uri | undefined): Project | undefined {
  const place = file ?? vscode.workspace.workspaceFolders?.[0]?.uri;
  const holding = [...orch.model.projects.values()].filter(
    (project) => place && (place.fsPath === project.path || place.fsPath.startsWith(`${project.path}/`)),
  );
  return holding.sort((one, other) => other.path.length - one.path.length)[0];
}
