/** The tree of sessions, by project; those that wait for the user first. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "../orch";
import { byUrgency, describe, LOOKS, stateWords } from "../presentation";
import type { Collision, Session } from "../protocol";
import { count, short } from "../readable";
import { verbsOf } from "../verbs";

export type SessionsNode = ProjectNode | SessionNode | CollisionNode;

interface ProjectNode {
  kind: "project";
  id: string;
}

/** One session; the same object for as long as the session lives, so that it alone can be drawn anew. */
export interface SessionNode {
  kind: "session";
  id: string;
}

/** A side on which a session would not merge. */
export interface CollisionNode {
  kind: "collision";
  session: string;
  collision: Collision;
}

const REDRAW = 100;
const A_MINUTE = 60_000;
/** What a row says beside the title must be seen too. */
const LONGEST_TITLE = 40;

export class SessionsView implements vscode.TreeDataProvider<SessionsNode>, vscode.Disposable {
  readonly view: vscode.TreeView<SessionsNode>;
  private readonly changed = new vscode.EventEmitter<SessionsNode | undefined>();
  readonly onDidChangeTreeData = this.changed.event;

  private readonly nodes = new Map<string, SessionNode>();
  private readonly projects = new Map<string, ProjectNode>();
  private readonly stale = new Set<string>();
  private moved = false;
  private showArchived = false;
  private readonly disposables: { dispose(): void }[] = [];

  constructor(private readonly orch: Orch) {
    this.view = vscode.window.createTreeView("orch.sessions", { treeDataProvider: this, showCollapseAll: true });
    const redraw = coalesced(REDRAW, () => this.redraw());
    const clock = setInterval(() => this.view.visible && this.changed.fire(undefined), A_MINUTE);
    this.disposables.push(
      this.view,
      this.changed,
      { dispose: () => clearInterval(clock) },
      orch.model.onDidChange(({ event, moved }) => {
        if (moved) this.moved = true;
        else if (event?.sessionId) this.stale.add(event.sessionId);
        redraw();
      }),
    );
  }

  /** Show or hide what was archived or is in the trash. */
  setShowArchived(show: boolean): void {
    this.showArchived = show;
    void vscode.commands.executeCommand("setContext", "orch.showArchived", show);
    this.changed.fire(undefined);
  }

  getChildren(node?: SessionsNode): SessionsNode[] {
    if (!node) {
      const sorted = this.shown().sort(byUrgency);
      return [...new Set(sorted.map((session) => session.projectId))].map((id) => this.projectNode(id));
    }
    if (node.kind === "project") {
      const mine = this.shown().filter((session) => session.projectId === node.id);
      return mine.sort(byUrgency).map((session) => this.node(session.id));
    }
    if (node.kind === "collision") return [];
    return this.orch.model
      .collisionsOf(node.id)
      .map((collision) => ({ kind: "collision", session: node.id, collision }));
  }

  getParent(node: SessionsNode): SessionsNode | undefined {
    if (node.kind === "project") return undefined;
    if (node.kind === "collision") return this.node(node.session);
    const session = this.orch.session(node.id);
    return session && this.projectNode(session.projectId);
  }

  getTreeItem(node: SessionsNode): vscode.TreeItem {
    if (node.kind === "project") return this.projectItem(node);
    if (node.kind === "collision") return this.collisionItem(node);
    const session = this.orch.session(node.id);
    return session ? this.sessionItem(session) : new vscode.TreeItem("");
  }

  /** Select a session, if it is shown. */
  async reveal(id: string): Promise<void> {
    const session = this.orch.session(id);
    if (session && this.isShown(session)) await this.view.reveal(this.node(id), { select: true, focus: false });
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private redraw(): void {
    const waiting = this.orch.model.waiting().length;
    const tooltip = waiting === 1 ? "1 session waits for you" : `${waiting} sessions wait for you`;
    this.view.badge = waiting === 0 ? undefined : { value: waiting, tooltip };
    if (this.moved) this.changed.fire(undefined);
    else for (const id of this.stale) if (this.nodes.has(id)) this.changed.fire(this.node(id));
    this.moved = false;
    this.stale.clear();
  }

  private shown(): Session[] {
    return [...this.orch.model.sessions.values()].filter((session) => this.isShown(session));
  }

  private isShown(session: Session): boolean {
    return this.showArchived || (session.state !== "archived" && session.state !== "deleted");
  }

  private node(id: string): SessionNode {
    return kept(this.nodes, id, () => ({ kind: "session", id }));
  }

  private projectNode(id: string): ProjectNode {
    return kept(this.projects, id, () => ({ kind: "project", id }));
  }

  private projectItem({ id }: ProjectNode): vscode.TreeItem {
    const project = this.orch.model.projects.get(id);
    const item = new vscode.TreeItem(project?.slug ?? id, vscode.TreeItemCollapsibleState.Expanded);
    item.id = `project:${id}`;
    item.iconPath = new vscode.ThemeIcon("repo");
    item.contextValue = "project";
    if (project?.missing) item.description = "its repository is missing";
    item.tooltip = project?.path;
    return item;
  }

  private sessionItem(session: Session): vscode.TreeItem {
    const collisions = this.orch.model.collisionsOf(session.id).length;
    const { None, Collapsed } = vscode.TreeItemCollapsibleState;
    const item = new vscode.TreeItem(short(session.title, LONGEST_TITLE), collisions > 0 ? Collapsed : None);
    item.id = `session:${session.id}`;
    const marks = [...(collisions > 0 ? ["⚠ collides"] : []), ...(session.attention.length > 0 ? ["⚠"] : [])];
    item.description = [...marks, describe(session)].join(" · ");
    const { icon, color } = LOOKS[session.state];
    item.iconPath = new vscode.ThemeIcon(icon, color === undefined ? undefined : new vscode.ThemeColor(color));
    item.contextValue = `session,${verbsOf(session).join(",")},`;
    item.command = { command: "orch.session.open", title: "Open", arguments: [{ kind: "session", id: session.id }] };
    item.tooltip = tooltip(session);
    item.accessibilityInformation = { label: `${session.title}, ${stateWords(session)}, ${describe(session)}` };
    return item;
  }

  private collisionItem({ session, collision }: CollisionNode): vscode.TreeItem {
    const other = collision.sessions.find((id) => id !== session && id !== null);
    const against = other ? (this.orch.session(other)?.title ?? other) : `the ${collision.against}`;
    const item = new vscode.TreeItem(`Would not merge with ${against}`);
    item.description = collision.files.map((file) => file.path).join(", ");
    item.contextValue = other === undefined ? "collision" : "collision,tell,";
    item.iconPath = new vscode.ThemeIcon("warning", new vscode.ThemeColor("problemsWarningIcon.foreground"));
    item.tooltip = `${count(collision.files.length, "file")}: ${item.description}`;
    const hunk = collision.files[0]?.hunks[0]?.sides[collision.sessions.indexOf(session) === 1 ? 1 : 0];
    const path = this.orch.session(session)?.worktreePath;
    if (path && collision.files[0]) {
      const line = Math.max(0, (hunk?.startLine ?? 1) - 1);
      const file = vscode.Uri.joinPath(vscode.Uri.file(path), collision.files[0].path);
      item.command = {
        command: "vscode.open",
        title: "Open",
        arguments: [file, { selection: new vscode.Range(line, 0, line, 0) }],
      };
    }
    return item;
  }
}

function tooltip(session: Session): string {
  const lines = [
    session.title,
    stateWords(session),
    session.message,
    ...session.inputRequests.map(({ title }) => title),
  ];
  if (session.attention.length > 0) lines.push(`Attention: ${session.attention.join(", ").replaceAll("_", " ")}`);
  if (session.branch) lines.push(session.branch);
  return [...lines, `${session.id} · ${session.projectSlug}`].filter(Boolean).join("\n");
}

function kept<T>(map: Map<string, T>, key: string, make: () => T): T {
  const known = map.get(key) ?? make();
  map.set(key, known);
  return known;
}
