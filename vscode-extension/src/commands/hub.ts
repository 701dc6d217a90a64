/** Commands about orch as a whole: the hub, its agents, search, the events that are shown. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import { byUrgency, describe, LOOKS } from "../presentation";
import { count, harmless, short } from "../readable";
import { FAMILIES, type EventsView } from "../views/events";
import type { SessionsView } from "../views/sessions";
import { pick } from "./pick";

const SEARCH_DELAY = 200;
export function register(orch: Orch, sessions: SessionsView, events: EventsView): vscode.Disposable[] {
  const command = (name: string, work: () => unknown) =>
    vscode.commands.registerCommand(`orch.${name}`, () => orch.attempt(work));
  return [
    command("restartServer", () => orch.client.restart()),
    command("hub.status", () => status(orch)),
    command("hub.doctor", () => inTerminal(orch, "doctor")),
    command("hub.restart", () => restartHub(orch)),
    command("demo", () => inTerminal(orch, "demo")),
    command("showOutput", () => orch.log.show()),
    command("agents", () => agents(orch)),
    command("search", () => search(orch)),
    command("waiting", () => waiting(orch)),
    command("sessions.showArchived", () => sessions.setShowArchived(true)),
    command("sessions.hideArchived", () => sessions.setShowArchived(false)),
    command("events.filter", () => filterEvents(orch, events)),
    command("events.clearFilter", () => events.setFilter({})),
  ];
}

async function status(orch: Orch): Promise<void> {
  const hub = await orch.call("orch/hub/status");
  const detail = [
    `Hub ${hub.version}, protocol ${hub.protocolVersion}, process ${hub.pid}`,
    `${count(hub.runs, "agent")} at work, ${hub.queued} waiting for a place, ${count(hub.connections, "client")}`,
    `Home: ${hub.home}`,
    `Server: ${orch.client.program?.command} (${orch.client.program?.from})`,
  ];
  await vscode.window.showInformationMessage("orch is well.", { modal: true, detail: detail.join("\n") });
}

/** Run a verb of the command line where its words can be read. */
function inTerminal(orch: Orch, verb: "doctor" | "demo"): void {
  const program = orch.client.program;
  if (!program) throw new Error("No server was found. The output channel of orch says where it was looked for.");
  const shellArgs = [...program.args, "--cli", verb];
  vscode.window.createTerminal({ name: `orch ${verb}`, shellPath: program.command, shellArgs }).show();
}

/** Have the hub leave, as one does after its program was replaced; whoever is connected starts the next one. */
async function restartHub(orch: Orch): Promise<void> {
  const detail = "Agents work on, and the next hub takes them up. Other editors are connected anew, too.";
  const answer = await vscode.window.showWarningMessage("Restart the hub?", { modal: true, detail }, "Restart");
  if (answer === "Restart") await orch.call("orch/hub/shutdown");
}

async function agents(orch: Orch): Promise<void> {
  const { items } = await orch.call("orch/agent/list");
  const usableFirst = items.sort((one, other) => Number(other.available) - Number(one.available));
  const shown = usableFirst.map((agent) => ({
    label: `$(${agent.available ? "check" : "circle-slash"}) ${agent.displayName}`,
    description: [agent.name, agent.version].filter(Boolean).join(" "),
    detail: agent.available ? (agent.path ?? undefined) : agent.hint,
    value: agent,
  }));
  const chosen = await pick(shown, "The agents that orch knows, as this editor's PATH has them");
  if (chosen && !chosen.available) void vscode.window.showInformationMessage(chosen.hint);
}

/** Find words in every conversation, while they are typed. */
function search(orch: Orch): void {
  const box = vscode.window.createQuickPick<vscode.QuickPickItem & { sessionId: string }>();
  box.placeholder = "Words that must all occur in a prompt or a conversation; word* for a beginning";
  let timer: NodeJS.Timeout | undefined;
  let asked = 0;
  const look = async (query: string) => {
    const mine = ++asked;
    box.busy = true;
    const found = await orch.call("orch/search", { query, limit: 100 }).catch(() => ({ items: [] }));
    if (mine !== asked) return;
    box.busy = false;
    box.items = found.items.map((hit) => ({
      label: harmless(short(hit.snippet)),
      description: `${orch.session(hit.sessionId)?.title ?? hit.sessionId} · ${hit.kind}`,
      alwaysShow: true,
      sessionId: hit.sessionId,
    }));
  };
  box.onDidChangeValue((value) => {
    clearTimeout(timer);
    if (value.trim()) timer = setTimeout(() => void look(value), SEARCH_DELAY);
    else box.items = [];
  });
  box.onDidAccept(() => {
    const chosen = box.selectedItems[0];
    box.hide();
    if (chosen) void vscode.commands.executeCommand("orch.session.open", chosen.sessionId);
  });
  box.onDidHide(() => {
    clearTimeout(timer);
    box.dispose();
  });
  box.show();
}

/** Go to the session that waits, or choose among many; without any, show the sessions. */
async function waiting(orch: Orch): Promise<void> {
  const sessions = orch.model.waiting();
  if (sessions.length === 0) {
    await vscode.commands.executeCommand("orch.sessions.focus");
    return;
  }
  const items = sessions.map((session) => ({
    label: `$(bell-dot) ${session.inputRequests[0]?.title ?? session.title}`,
    description: `${session.agent} · ${session.projectSlug}`,
    detail: session.title,
    value: session.id,
  }));
  const chosen = items.length === 1 ? items[0]?.value : await pick(items, "Which one do you want to answer?");
  if (chosen) await vscode.commands.executeCommand("orch.session.open", chosen);
}

async function filterEvents(orch: Orch, events: EventsView): Promise<void> {
  const by = await pick(
    [
      { label: "$(repo) Project…", value: "project" },
      { label: "$(comment-discussion) Session…", value: "session" },
      { label: "$(symbol-event) Type…", value: "type" },
      { label: "$(clear-all) Show all", value: "all" },
    ],
    "Which events are to be shown?",
  );
  if (by === "all") events.setFilter({});
  if (by === "project") {
    const projects = [...orch.model.projects.values()].map(({ slug, id }) => ({ label: slug, value: id }));
    const projectId = await pick(projects, "Events of which project?");
    if (projectId) events.setFilter({ projectId });
  }
  if (by === "session") {
    const sessions = [...orch.model.sessions.values()].sort(byUrgency).map((session) => ({
      label: `$(${LOOKS[session.state].icon}) ${session.title}`,
      description: describe(session),
      value: session.id,
    }));
    const sessionId = await pick(sessions, "Events of which session?");
    if (sessionId) events.setFilter({ sessionId });
  }
  if (by === "type") {
    const family = await pick(
      Object.entries(FAMILIES).map(([name, icon]) => ({ label: `$(${icon}) ${name}.*`, value: name })),
      "Events of which type?",
    );
    if (family) events.setFilter({ family });
  }
}
