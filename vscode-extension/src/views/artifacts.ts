/** Plans, reports, diffs and transcripts that sessions left, by session. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "../orch";
import type { Artifact, ArtifactKind } from "../protocol";
import { age } from "../readable";

const ICONS: Record<ArtifactKind, string> = {
  plan: "checklist",
  report: "note",
  diff: "diff",
  transcript: "comment-discussion",
  file: "file",
};

export type ArtifactsNode = { kind: "session"; id: string } | { kind: "artifact"; artifact: Artifact };

export class ArtifactsView implements vscode.TreeDataProvider<ArtifactsNode>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly disposables: { dispose(): void }[];

  constructor(private readonly orch: Orch) {
    const redraw = coalesced(200, () => this.changed.fire(undefined));
    this.disposables = [
      vscode.window.createTreeView("orch.artifacts", { treeDataProvider: this, showCollapseAll: true }),
      this.changed,
      orch.model.onDidChange(({ event, moved }) => (moved || event?.type.startsWith("artifact.")) && redraw()),
    ];
  }

  getChildren(node?: ArtifactsNode): ArtifactsNode[] {
    const all = [...this.orch.model.artifacts.values()].filter((artifact) => this.isHere(artifact));
    if (!node) {
      const newest = all.sort((one, other) => other.createdAt.localeCompare(one.createdAt));
      return [...new Set(newest.map((artifact) => artifact.sessionId))].map((id) => ({ kind: "session", id }));
    }
    if (node.kind === "artifact") return [];
    const mine = all.filter((artifact) => artifact.sessionId === node.id);
    return mine
      .sort((one, other) => one.name.localeCompare(other.name))
      .map((artifact) => ({ kind: "artifact", artifact }));
  }

  getTreeItem(node: ArtifactsNode): vscode.TreeItem {
    if (node.kind === "session") {
      const session = this.orch.session(node.id);
      const item = new vscode.TreeItem(session?.title ?? node.id, vscode.TreeItemCollapsibleState.Collapsed);
      item.id = node.id;
      item.description = session && `${session.agent} · ${session.projectSlug}`;
      return item;
    }
    const { artifact } = node;
    const item = new vscode.TreeItem(artifact.name);
    item.id = artifact.id;
    item.description = `${artifact.kind} · ${age(artifact.createdAt)}`;
    item.iconPath = new vscode.ThemeIcon(ICONS[artifact.kind]);
    item.contextValue = "artifact";
    item.tooltip = artifact.path;
    item.command = { command: "orch.artifact.open", title: "Open", arguments: [node] };
    return item;
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private isHere(artifact: Artifact): boolean {
    const state = this.orch.session(artifact.sessionId)?.state;
    return state !== undefined && state !== "deleted";
  }
}
