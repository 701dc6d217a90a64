/** The settings of a project: all in one list with what they are now. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Project, UpdateProject } from "../protocol";
import { count } from "../readable";
import { pick } from "./pick";
import { pickPolicy } from "./policies";

type Setting = "name" | "defaultBranch" | "policy" | "setup" | "setupSeconds" | "spares";
type Change = Omit<UpdateProject, "project">;

/** Let the user change settings of a project, one after another, until they leave. */
export async function changeSettings(orch: Orch, given: Project): Promise<void> {
  let project = given;
  for (;;) {
    const setting = await pick(rows(project), "Which setting is to be changed?", `Settings of ${project.slug}`);
    if (setting === undefined) return;
    const change = await ask(project, setting);
    if (change) project = await orch.call("orch/project/update", { project: project.id, ...change });
  }
}

function rows(project: Project): { label: string; description: string; detail: string; value: Setting }[] {
  const trusted = project.trusted ? "" : " Runs once the project is trusted.";
  return [
    { label: "$(tag) Name", description: project.name, detail: "How it is shown", value: "name" },
    {
      label: "$(git-branch) Default branch",
      description: project.defaultBranch ?? "what is checked out",
      detail: "Where new worktrees begin, and what collisions are looked for against",
      value: "defaultBranch",
    },
    {
      label: "$(shield) Approval policy",
      description: project.policy ?? "as usual for each action",
      detail: "How requests of new sessions are decided",
      value: "policy",
    },
    {
      label: "$(tools) Set-up command",
      description: project.setup ?? "none",
      detail: `Run in every new worktree before its agent starts.${trusted}`,
      value: "setup",
    },
    {
      label: "$(watch) Time for the set-up command",
      description: count(project.setupSeconds, "second"),
      detail: "After that the start fails",
      value: "setupSeconds",
    },
    {
      label: "$(layers) Spare worktrees",
      description: String(project.spares),
      detail: "Kept ready, so that sessions in a big repository start at once",
      value: "spares",
    },
  ];
}

/** Ask for the new value; undefined if the user leaves. */
async function ask(project: Project, setting: Setting): Promise<Change | undefined> {
  switch (setting) {
    case "policy": {
      const policy = await pickPolicy(project.policy, "How are requests for approval of new sessions decided?");
      return policy && { policy };
    }
    case "name":
    case "defaultBranch": {
      const words = setting === "name" ? "How it is shown" : "The branch where new worktrees begin";
      const value = await input(words, project[setting] ?? "");
      return value ? { [setting]: value } : undefined;
    }
    case "setup": {
      const setup = await input("A shell command; nothing for none", project.setup ?? "");
      return setup === undefined ? undefined : { setup };
    }
    case "setupSeconds":
      return number(setting, "Seconds", project.setupSeconds, 1, 86_400);
    case "spares":
      return number(setting, "How many worktrees are kept ready", project.spares, 0, 10);
  }
}

async function number(
  setting: "setupSeconds" | "spares",
  prompt: string,
  now: number,
  least: number,
  most: number,
): Promise<Change | undefined> {
  const value = await input(`${prompt}, ${least} to ${most}`, String(now), (text) =>
    /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most ? "" : `A number from ${least} to ${most}.`,
  );
  return value === undefined ? undefined : { [setting]: Number(value) };
}

async function input(
  prompt: string,
  value: string,
  validateInput?: (text: string) => string,
): Promise<string | undefined> {
  return (await vscode.window.showInputBox({ prompt, value, validateInput, ignoreFocusOut: true }))?.trim();
}
