/** Sending an agent to work: step by step, or in plain words. */

import { relative } from "node:path";
import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Action, Parsed, Project, StartSession } from "../protocol";
import { activeFile, pick, pickAgent, pickProject, projectOf, type Given } from "./pick";
import { chooseOptions } from "./startOptions";

const ACTIONS: { action: Action; icon: string; detail: string }[] = [
  { action: "implement", icon: "tools", detail: "Changes code, in a worktree and on a branch of its own" },
  { action: "plan", icon: "checklist", detail: "Reads in a worktree of its own and leaves a plan" },
  { action: "review", icon: "search", detail: "Reads the project and reports bugs and risks; changes nothing" },
  { action: "analyze", icon: "telescope", detail: "Reads the project and explains it; changes nothing" },
];

export function register(orch: Orch): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand("orch.start", (given?: Given) => orch.attempt(() => start(orch, given))),
    vscode.commands.registerCommand("orch.do", (text?: string) => orch.attempt(() => say(orch, text))),
  ];
}

async function start(orch: Orch, given: Given): Promise<void> {
  const scope = proposedScope(orch);
  const agent = await pickAgent(orch);
  if (!agent) return;
  const lastAction = orch.context.globalState.get<Action>("lastAction");
  const sorted = [...ACTIONS].sort(
    (one, other) => Number(other.action === lastAction) - Number(one.action === lastAction),
  );
  const action = await pick(
    sorted.map(({ action, icon, detail }) => ({ label: `$(${icon}) ${action}`, detail, value: action })),
    `What is ${agent.name} to do?`,
  );
  if (!action) return;
  const project = await pickProject(orch, typeof given === "object" && given.kind === "project" ? given : undefined);
  if (!project) return;
  const scopePath = await pickScope(project, scope);
  if (scopePath === undefined) return;
  const needsPrompt = action === "implement" || action === "plan";
  const prompt = await vscode.window.showInputBox({
    title: `${agent.name} ${action} ${project.slug}${scopePath ? ` (${scopePath})` : ""}`,
    prompt: needsPrompt ? "The task" : "The task, or nothing for the usual one",
    placeHolder: needsPrompt ? "Round prices up to whole cents, and test it" : "",
    ignoreFocusOut: true,
    validateInput: (text) => (needsPrompt && !text.trim() ? "Say what is to be done." : undefined),
  });
  if (prompt === undefined) return;
  const chosen = await chooseOptions(orch, {
    agent: agent.name,
    action,
    project: project.id,
    scopePath: scopePath || null,
    prompt: prompt.trim() || null,
  });
  if (!chosen) return;
  await orch.context.globalState.update("lastAgent", agent.name);
  await orch.context.globalState.update("lastAction", action);
  await begin(orch, chosen);
}

/** Start a session and show it. */
export async function begin(orch: Orch, params: StartSession): Promise<void> {
  const session = await orch.call("orch/session/start", params);
  await vscode.commands.executeCommand("orch.session.open", session.id);
}

async function say(orch: Orch, given?: string): Promise<void> {
  const project = projectOf(orch, activeFile())?.id ?? null;
  const text =
    given ??
    (await vscode.window.showInputBox({
      title: "orch: in your own words",
      placeHolder: "ask claude to review src/prices.py in shop",
      prompt: "Who is to do what, where. Nothing starts before you have seen what was understood.",
      ignoreFocusOut: true,
    }));
  if (!text?.trim()) return;
  const parsed = await complete(await orch.call("orch/command/parse", { text, project }));
  if (!parsed) return;
  const { agent, action, project: slug, scopePath, prompt, model } = parsed;
  if (!agent || !action || !slug) throw new Error(parsed.problems.join(" "));
  const understood = [`${agent} ${action} ${slug}`, scopePath && `in ${scopePath}`, model && `with ${model}`];
  const answer = await vscode.window.showInformationMessage(
    `Start: ${understood.filter(Boolean).join(" ")}?`,
    { modal: true, detail: prompt ?? "With the usual prompt." },
    "Start",
  );
  if (answer !== "Start") return;
  const { session } = await orch.call("orch/command/submit", {
    text,
    agent,
    action,
    project: slug,
    scopePath,
    prompt,
    model,
  });
  await vscode.commands.executeCommand("orch.session.open", session.id);
}

/** Ask for what the text leaves open. */
async function complete(parsed: Parsed): Promise<Parsed | undefined> {
  const known: Record<string, unknown> = { ...parsed };
  for (const choice of parsed.candidates) {
    if (known[choice.field]) continue;
    const items = choice.options.map((option) => ({ label: option, value: option }));
    const chosen = await pick(items, `Which ${choice.field} is meant?`);
    if (chosen === undefined) return undefined;
    known[choice.field] = chosen;
  }
  return known as unknown as Parsed;
}

/** The active file, if something is selected in it or it was just being worked on: proposed, never assumed. */
function proposedScope(orch: Orch): { project: Project; path: string } | undefined {
  const file = activeFile();
  const project = file && projectOf(orch, file);
  return file && project && { project, path: relative(project.path, file.fsPath) };
}

/** Return the path to keep to, "" for the whole project, undefined if the user leaves. */
async function pickScope(
  project: Project,
  proposed: { project: Project; path: string } | undefined,
): Promise<string | undefined> {
  if (proposed?.project.id !== project.id) return "";
  const whole = { label: "$(repo) The whole project", value: "" };
  const file = { label: `$(file) ${proposed.path}`, description: "the active file", value: proposed.path };
  const hasSelection = vscode.window.activeTextEditor?.selection.isEmpty === false;
  return pick(hasSelection ? [file, whole] : [whole, file], "What is it about?");
}
