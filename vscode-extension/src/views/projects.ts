/** The repositories in which agents may be sent to work. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "../orch";
import type { Project } from "../protocol";
import { count } from "../readable";

export interface ProjectItem {
  kind: "project";
  id: string;
}

export class ProjectsView implements vscode.TreeDataProvider<ProjectItem>, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly disposables: { dispose(): void }[];

  constructor(private readonly orch: Orch) {
    const redraw = coalesced(200, () => this.changed.fire(undefined));
    this.disposables = [
      vscode.window.createTreeView("orch.projects", { treeDataProvider: this }),
      this.changed,
      orch.model.onDidChange(({ moved }) => moved && redraw()),
    ];
  }

  getChildren(node?: ProjectItem): ProjectItem[] {
    if (node) return [];
    const sorted = [...this.orch.model.projects.values()].sort((one, other) => one.slug.localeCompare(other.slug));
    return sorted.map(({ id }) => ({ kind: "project", id }));
  }

  getTreeItem({ id }: ProjectItem): vscode.TreeItem {
    const project = this.orch.model.projects.get(id);
    if (!project) return new vscode.TreeItem("");
    const item = new vscode.TreeItem(project.slug);
    item.id = project.id;
    item.description = [this.sessions(project), ...(project.trusted ? ["trusted"] : []), project.path].join(" · ");
    item.iconPath = new vscode.ThemeIcon(project.missing ? "warning" : "repo");
    item.contextValue = `project,${project.trusted ? "distrust" : "trust"},`;
    const missing = project.missing ? "\nThe repository is not there any more." : "";
    item.tooltip = `${project.name}\n${project.path}${missing}`;
    return item;
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private sessions(project: Project): string {
    const mine = this.orch.model.visibleSessions().filter((session) => session.projectId === project.id);
    return mine.length === 0 ? "no sessions" : count(mine.length, "session");
  }
}
