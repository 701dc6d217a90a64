/** What happens, live, the latest first; by project, session and type. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "../orch";
import { toldShortly } from "../presentation";
import type { Event } from "../protocol";
import { eventLine, harmless, isEmpty, short } from "../readable";

export interface EventFilter {
  projectId?: string;
  sessionId?: string;
  /** The family of types, as `agent`. */
  family?: string;
}

/** The families of types, each with its icon. */
export const FAMILIES: Record<string, string> = {
  agent: "comment",
  session: "circle-outline",
  turn: "arrow-swap",
  input: "question",
  followup: "reply",
  run: "pulse",
  worktree: "git-branch",
  checkout: "git-pull-request-go-to-changes",
  artifact: "file",
  collision: "warning",
  lease: "lock",
  cleanup: "trash",
  project: "repo",
  command: "terminal",
  hub: "server-process",
};

const MOST_SHOWN = 300;
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

export class EventsView implements vscode.TreeDataProvider<Event>, vscode.Disposable {
  readonly view: vscode.TreeView<Event>;
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private filter: EventFilter = {};
  private readonly disposables: { dispose(): void }[];

  constructor(private readonly orch: Orch) {
    this.view = vscode.window.createTreeView("orch.events", { treeDataProvider: this });
    const redraw = coalesced(300, () => this.view.visible && this.changed.fire(undefined));
    this.disposables = [this.view, this.changed, orch.model.onDidChange(redraw)];
  }

  setFilter(filter: EventFilter): void {
    this.filter = filter;
    const { projectId, sessionId, family } = filter;
    const words = [
      projectId && (this.orch.model.projects.get(projectId)?.slug ?? projectId),
      sessionId && (this.orch.session(sessionId)?.title ?? sessionId),
      family && `${family}.*`,
    ].filter(Boolean);
    this.view.description = words.join(" · ") || undefined;
    void vscode.commands.executeCommand("setContext", "orch.eventsFiltered", words.length > 0);
    this.changed.fire(undefined);
  }

  getChildren(node?: Event): Event[] {
    if (node) return [];
    const shown: Event[] = [];
    for (let index = this.orch.model.recent.length - 1; index >= 0 && shown.length < MOST_SHOWN; index--) {
      const event = this.orch.model.recent[index];
      if (event && !isEmpty(event) && this.wants(event)) shown.push(event);
    }
    return shown;
  }

  getTreeItem(event: Event): vscode.TreeItem {
    const item = new vscode.TreeItem(event.type);
    item.id = String(event.seq);
    const session = event.sessionId ? (this.orch.session(event.sessionId)?.title ?? event.sessionId) : undefined;
    const what = harmless(short(toldShortly(event), 120));
    item.description = [TIME.format(new Date(event.at)), what, session && short(session, 30)]
      .filter(Boolean)
      .join(" · ");
    item.iconPath = new vscode.ThemeIcon(FAMILIES[event.type.split(".")[0] ?? ""] ?? "circle-outline");
    item.tooltip = eventLine(event);
    if (event.sessionId) {
      const node = { kind: "session", id: event.sessionId };
      item.command = { command: "orch.session.open", title: "Open", arguments: [node] };
    }
    return item;
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private wants(event: Event): boolean {
    const { projectId, sessionId, family } = this.filter;
    return (
      (projectId === undefined || event.projectId === projectId) &&
      (sessionId === undefined || event.sessionId === sessionId) &&
      (family === undefined || event.type.startsWith(`${family}.`))
    );
  }
}
