/** The dashboard: what waits, runs and failed, the latest events, and a place to send an agent to work. */

import * as vscode from "vscode";

import { activeFile, projectOf } from "../commands/pick";
import { begin } from "../commands/start";
import { coalesced, type Orch } from "../orch";
import { byUrgency, describe, stateWords, toldShortly } from "../presentation";
import type { Event, Session } from "../protocol";
import { isEmpty, short } from "../readable";
import type { FromDashboard, Line, ToDashboard } from "./messages";
import { pageHtml, pageOptions } from "./page";

const BEAT = 250;
const MOST_LINES = 20;
const MOST_EVENTS = 12;
/** What is of no interest at a glance; the view of events has it. */
const SMALL: ReadonlySet<Event["type"]> = new Set([
  "session.updated",
  "agent.usage",
  "run.exited",
  "cleanup.previewed",
]);

export class DashboardView implements vscode.WebviewViewProvider, vscode.Disposable {
  private view: vscode.WebviewView | undefined;
  private agents: string[] = [];
  private readonly disposables: { dispose(): void }[];

  constructor(private readonly orch: Orch) {
    const draw = coalesced(BEAT, () => this.draw());
    this.disposables = [
      vscode.window.registerWebviewViewProvider("orch.dashboard", this),
      orch.model.onDidChange(draw),
      orch.client.onDidChangeStatus(({ kind }) => {
        if (kind === "connected") void orch.attempt(() => this.readAgents());
        draw();
      }),
    ];
  }

  resolveWebviewView(view: vscode.WebviewView): void {
    const { extensionUri } = this.orch.context;
    this.view = view;
    view.webview.options = pageOptions(extensionUri);
    view.webview.onDidReceiveMessage((message: FromDashboard) => void this.orch.attempt(() => this.receive(message)));
    view.onDidChangeVisibility(() => this.draw());
    view.onDidDispose(() => (this.view = undefined));
    view.webview.html = pageHtml(view.webview, extensionUri, "dashboard", "orch dashboard");
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private async receive(message: FromDashboard): Promise<void> {
    switch (message.type) {
      case "ready":
        this.draw();
        return;
      case "open":
        await vscode.commands.executeCommand("orch.session.open", message.id);
        return;
      case "verb":
        await vscode.commands.executeCommand(`orch.session.${message.verb}`, message.id);
        return;
      case "start": {
        const { agent, action, project, prompt } = message;
        await begin(this.orch, { agent, action, project, prompt: prompt.trim() || null });
        return;
      }
      case "command":
        await vscode.commands.executeCommand(message.command);
    }
  }

  private async readAgents(): Promise<void> {
    const { items } = await this.orch.call("orch/agent/list");
    this.agents = items.filter(({ available }) => available).map(({ name }) => name);
    this.draw();
  }

  private draw(): void {
    if (!this.view?.visible) return;
    void this.view.webview.postMessage(this.state());
  }

  private state(): ToDashboard {
    const { model, client } = this.orch;
    const sessions = model.visibleSessions().sort(byUrgency);
    const of = (...states: Session["state"][]) => sessions.filter(({ state }) => states.includes(state));
    const line = (session: Session, detail: string, verb?: Line["verb"]): Line => ({
      id: session.id,
      title: session.title,
      detail,
      verb,
    });
    const [waiting, active, failures] = [of("waiting_for_user"), of("running", "created"), of("failed")];
    const recent = model.recent.slice(-MOST_EVENTS * 5).filter((event) => !isEmpty(event) && !SMALL.has(event.type));
    return {
      type: "state",
      notice:
        client.status.kind === "connected"
          ? ""
          : "message" in client.status
            ? client.status.message
            : "The hub is being reached again.",
      counts: [
        { label: "waiting", number: waiting.length },
        { label: "running", number: active.length },
        { label: "failed", number: failures.length },
        { label: "done", number: of("completed", "stopped").length },
      ],
      waiting: waiting
        .slice(0, MOST_LINES)
        .map((session) => line(session, session.inputRequests[0]?.title ?? "", "answer")),
      active: active.slice(0, MOST_LINES).map((session) => line(session, describe(session), "stop")),
      failures: failures
        .slice(0, MOST_LINES)
        .map((session) => line(session, session.message || stateWords(session), "resume")),
      collisions: [...model.collisions.values()].slice(0, MOST_LINES).map((collision) => {
        const [one, other] = collision.sessions.map((id) => (id ? (this.orch.session(id)?.title ?? id) : undefined));
        const files = collision.files.map(({ path }) => path).join(", ");
        return { id: collision.sessions[0], title: `${one} ↔ ${other ?? `the ${collision.against}`}`, detail: files };
      }),
      recent: recent
        .slice(-MOST_EVENTS)
        .reverse()
        .map((event) => `${event.type}  ${short(toldShortly(event), 80)}`),
      agents: this.agents,
      projects: [...model.projects.values()].map(({ id, slug }) => ({ id, slug })),
      project: projectOf(this.orch, activeFile())?.id ?? "",
    };
  }
}
