/** Worktrees in the editor: as a folder of the workspace, in a window of their own, in a terminal. */

import { createHash } from "node:crypto";
import { basename, dirname } from "node:path";
import * as vscode from "vscode";

import type { Orch } from "./orch";
import type { Session } from "./protocol";
import { short } from "./readable";

const HERE = "Open Here as a Workspace";
const NEW_WINDOW = "New Window";
/** The editor shows the name of a workspace's file as that of the window. */
const LONGEST_NAME = 40;
/** Where this extension keeps the workspaces that it has saved. */
const WORKSPACES = "workspaces";
/** Set once the folders of this workspace were asked for again: that may reload the window, which must end. */
const ASKED_AGAIN = "foldersAskedForAgain";

export class Worktrees implements vscode.Disposable {
  private readonly listening: { dispose(): void };

  constructor(private readonly orch: Orch) {
    this.listening = orch.model.onDidChange(({ moved }) => moved && this.close());
    void this.findFolders();
  }

  /**
   * Add the worktree to the workspace. A window that shows a single folder would have to turn into an unnamed workspace,
   * which reloads it and sometimes loses the folder; so there the user chooses a saved workspace of both, or a new window.
   */
  async openInWorkspace(session: Session): Promise<void> {
    const uri = pathOf(session);
    const folders = vscode.workspace.workspaceFolders ?? [];
    const known = folders.find((folder) => folder.uri.toString() === uri.toString());
    if (known) {
      await vscode.commands.executeCommand("revealInExplorer", uri);
      return;
    }
    if (vscode.workspace.workspaceFile) {
      vscode.workspace.updateWorkspaceFolders(folders.length, 0, { uri, name: nameOf(session) });
      return;
    }
    if (folders.length === 0) {
      await vscode.commands.executeCommand("vscode.openFolder", uri, { forceReuseWindow: true });
      return;
    }
    const detail = "This window shows a single folder. Unsaved files are kept.";
    const answer = await vscode.window.showInformationMessage(
      `Open ${folders[0]?.name} and the worktree of “${session.title}” together?`,
      { modal: true, detail },
      HERE,
      NEW_WINDOW,
    );
    if (answer === NEW_WINDOW) await this.openInNewWindow(session);
    if (answer === HERE) {
      const workspace = await this.saveWorkspace([...folders.map((folder) => folder.uri), uri], session);
      await vscode.commands.executeCommand("vscode.openFolder", workspace, { forceReuseWindow: true });
    }
  }

  async openInNewWindow(session: Session): Promise<void> {
    await vscode.commands.executeCommand("vscode.openFolder", pathOf(session), { forceNewWindow: true });
  }

  openTerminal(session: Session): void {
    vscode.window.createTerminal({ name: nameOf(session), cwd: pathOf(session) }).show();
  }

  async reveal(session: Session): Promise<void> {
    const isOpen = vscode.workspace.getWorkspaceFolder(pathOf(session)) !== undefined;
    await vscode.commands.executeCommand(isOpen ? "revealInExplorer" : "revealFileInOS", pathOf(session));
  }

  dispose(): void {
    this.listening.dispose();
  }

  /** Take out of the workspace what is in the trash: its folder is not there any more. */
  private close(): void {
    const folders = vscode.workspace.workspaceFolders ?? [];
    if (folders.length < 2) return; // a window without a folder would be reloaded
    const index = folders.findIndex(({ uri }) => {
      // A worktree has the name of its session; a session in the trash has no worktree any more that it could name.
      const isWorktree = basename(dirname(uri.fsPath)) === "worktrees";
      return isWorktree && this.orch.session(basename(uri.fsPath))?.state === "deleted";
    });
    if (index < 0) return;
    const onceMore = vscode.workspace.onDidChangeWorkspaceFolders(() => {
      onceMore.dispose();
      this.close();
    });
    vscode.workspace.updateWorkspaceFolders(index, 1);
  }

  /**
   * Have the editor read a saved workspace again that it shows without its folders. On another machine, and in a
   * browser, it reads the file while it starts, and sometimes misses that it has read it, until the file changes.
   */
  private async findFolders(): Promise<void> {
    const file = vscode.workspace.workspaceFile;
    if (!file || vscode.workspace.workspaceFolders?.length) return;
    const { globalStorageUri, workspaceState } = this.orch.context;
    const isOurs = file.path.startsWith(`${vscode.Uri.joinPath(globalStorageUri, WORKSPACES).path}/`);
    if (!isOurs || workspaceState.get(ASKED_AGAIN)) return;
    await workspaceState.update(ASKED_AGAIN, true);
    await vscode.workspace.fs.writeFile(file, await vscode.workspace.fs.readFile(file));
  }

  private async saveWorkspace(folders: vscode.Uri[], session: Session): Promise<vscode.Uri> {
    const paths = folders.map((folder) => folder.fsPath);
    const own = createHash("sha256").update(paths.join("\0")).digest("hex").slice(0, 12);
    const directory = vscode.Uri.joinPath(this.orch.context.globalStorageUri, WORKSPACES, own);
    const title = short(session.title.replace(/[^\p{L}\p{N} .-]/gu, " "), LONGEST_NAME);
    const file = vscode.Uri.joinPath(directory, `${session.projectSlug} with ${title}.code-workspace`);
    const worktree = { path: paths.at(-1), name: nameOf(session) };
    const content = { folders: [...paths.slice(0, -1).map((path) => ({ path })), worktree] };
    await vscode.workspace.fs.createDirectory(directory);
    await vscode.workspace.fs.writeFile(file, Buffer.from(JSON.stringify(content, null, 2)));
    return file;
  }
}

function pathOf(session: Session): vscode.Uri {
  if (session.worktreePath === null) throw new Error("The session has no worktree.");
  return vscode.Uri.file(session.worktreePath);
}

function nameOf(session: Session): string {
  return `${session.title} (${session.agent})`;
}
