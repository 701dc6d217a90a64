/** What was asked for so far: to look at again, or to ask for again. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Command } from "../protocol";
import { age, short } from "../readable";
import { pick } from "./pick";
import { begin } from "./start";
import { chooseOptions } from "./startOptions";

const MOST_SHOWN = 200;

export function register(orch: Orch): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand("orch.commands", () => orch.attempt(() => show(orch))),
    vscode.commands.registerCommand("orch.startAgain", () => orch.attempt(() => startAgain(orch))),
  ];
}

async function show(orch: Orch): Promise<void> {
  const command = await pickCommand(orch, "What was asked for, the newest first. Choose one to open its session");
  if (command) await vscode.commands.executeCommand("orch.session.open", command.sessionId);
}

/** Send the same agent to the same work again, in a session of its own. */
async function startAgain(orch: Orch): Promise<void> {
  const command = await pickCommand(orch, "What is to be done again?");
  if (!command) return;
  const { agent, action, projectId: project, scopePath, prompt, model } = command;
  const chosen = await chooseOptions(orch, { agent, action, project, scopePath, prompt, model });
  if (chosen) await begin(orch, chosen);
}

async function pickCommand(orch: Orch, placeHolder: string): Promise<Command | undefined> {
  const { items } = await orch.call("orch/command/list", { limit: MOST_SHOWN });
  if (items.length === 0) {
    void vscode.window.showInformationMessage("Nothing was asked for yet.");
    return undefined;
  }
  const rows = items.map((command) => ({
    label: short(command.text ?? command.prompt, 80),
    description: `${age(command.createdAt)} ago`.replace("now ago", "now"),
    detail: [
      `${command.agent} ${command.action}`,
      orch.model.projects.get(command.projectId)?.slug,
      command.scopePath,
      command.model,
    ]
      .filter(Boolean)
      .join(" · "),
    value: command,
  }));
  return pick(rows, placeHolder);
}
