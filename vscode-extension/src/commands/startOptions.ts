/** The options of a start: all in one list with what they are now, so that whoever wants none of them presses Enter. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Project, StartSession } from "../protocol";
import { short } from "../readable";
import { pick } from "./pick";
import { pickPolicy } from "./policies";

type Option = "title" | "model" | "baseRef" | "fromDirty" | "policy";
type Options = Pick<StartSession, Option>;

/** Show what is about to be started, and return it with the options the user chose; undefined if they leave. */
export async function chooseOptions(orch: Orch, params: StartSession): Promise<StartSession | undefined> {
  const project = orch.model.projects.get(params.project);
  if (!project) throw new Error("The project is not there any more.");
  const { items: agents } = await orch.call("orch/agent/list");
  const takesModel = agents.find(({ name }) => name === params.agent)?.capabilities.model === true;
  const where = params.scopePath ? `${project.slug} (${params.scopePath})` : project.slug;
  const title = `${params.agent} ${params.action} ${where}`;
  let chosen = params;
  for (;;) {
    const items = [
      {
        label: "$(play) Start now",
        detail: short(params.prompt ?? "With the usual prompt", 100),
        value: "start" as const,
      },
      { label: "Options", kind: vscode.QuickPickItemKind.Separator, value: "start" as const },
      ...rows(project, chosen, takesModel),
    ];
    const option = await pick(items, "Start, or change an option first", title);
    if (option === undefined) return undefined;
    if (option === "start") return chosen;
    chosen = { ...chosen, ...(await change(orch, project, chosen, option)) };
  }
}

/** The options that make sense: only what changes code begins somewhere of its own. */
function rows(
  project: Project,
  chosen: StartSession,
  takesModel: boolean,
): { label: string; description: string; value: Option }[] {
  const hasWorktree = chosen.action === "implement" || chosen.action === "plan";
  const begins = chosen.baseRef ?? project.defaultBranch ?? "what is checked out";
  const decides = chosen.policy ?? project.policy ?? "as usual for this action";
  const all: { label: string; description: string; value: Option; shown?: boolean }[] = [
    { label: "$(tag) Title", description: chosen.title ?? "from the task", value: "title" },
    { label: "$(chip) Model", description: chosen.model ?? "the agent's own", value: "model", shown: takesModel },
    { label: "$(git-branch) Begin at", description: begins, value: "baseRef", shown: hasWorktree },
    {
      label: "$(request-changes) Uncommitted changes of my checkout",
      description: chosen.fromDirty ? "come along" : "stay where they are",
      value: "fromDirty",
      shown: hasWorktree,
    },
    { label: "$(shield) Approval policy", description: decides, value: "policy" },
  ];
  return all.filter(({ shown }) => shown !== false);
}

/** Ask for one option; nothing changes if the user leaves. */
async function change(orch: Orch, project: Project, chosen: StartSession, option: Option): Promise<Options> {
  switch (option) {
    case "title":
      return text("title", "A short name for the list", chosen.title);
    case "model":
      return text("model", "The model, in the agent's own words; nothing for the agent's own", chosen.model);
    case "fromDirty":
      return { fromDirty: !chosen.fromDirty };
    case "policy": {
      const policy = await pickPolicy(chosen.policy ?? project.policy, "How are requests for approval decided?");
      return policy ? { policy } : {};
    }
    case "baseRef": {
      const base = await pickBase(orch, project);
      return base === "other" ? text("baseRef", "A branch, tag or commit", chosen.baseRef) : (base ?? {});
    }
  }
}

/** Ask for words; none at all mean what is usual. */
async function text(option: "title" | "model" | "baseRef", prompt: string, value?: string | null): Promise<Options> {
  const given = await vscode.window.showInputBox({ prompt, value: value ?? "", ignoreFocusOut: true });
  return given === undefined ? {} : { [option]: given.trim() || null };
}

type Base = { baseRef: string | null } | "other";

/** Return where the worktree begins: the usual place, the branch of a session, or another that is asked for. */
async function pickBase(orch: Orch, project: Project): Promise<Base | undefined> {
  const branches = orch.model
    .visibleSessions()
    .flatMap(({ projectId, branch, title }) =>
      projectId === project.id && branch !== null ? [{ branch, title }] : [],
    );
  const usual = project.defaultBranch ?? "What is checked out";
  const items: { label: string; description: string; value: Base }[] = [
    { label: `$(home) ${usual}`, description: "the usual place", value: { baseRef: null } },
    ...branches.map(({ branch, title }) => ({
      label: `$(git-branch) ${branch}`,
      description: title,
      value: { baseRef: branch },
    })),
    { label: "$(edit) Another branch, tag or commit…", description: "", value: "other" },
  ];
  return pick(items, "Where does the worktree begin?");
}
