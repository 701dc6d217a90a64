/** What a session changed: the editor's own diffs, between where it began and its files as they are now. */

import { join } from "node:path";
import * as vscode from "vscode";

import { pick } from "./commands/pick";
import type { Orch } from "./orch";
import type { DiffFile, Session } from "./protocol";

const SCHEME = "orch-before";

export class Changes implements vscode.Disposable {
  private readonly registration: vscode.Disposable;

  constructor(private readonly orch: Orch) {
    this.registration = vscode.workspace.registerFileSystemProvider(SCHEME, new FilesBefore(orch), {
      isReadonly: true,
      isCaseSensitive: true,
    });
  }

  /** Open all changed files in one editor. */
  async showAll(session: Session): Promise<void> {
    const files = await this.read(session);
    if (files.length === 0) return;
    const resources = files.map((file) => {
      const [before, after] = sides(this.orch, session, file);
      return [after ?? before, before, after];
    });
    await vscode.commands.executeCommand("vscode.changes", `Changes: ${session.title}`, resources);
  }

  /** Open one changed file that the user picks. */
  async showOne(session: Session): Promise<void> {
    const files = await this.read(session);
    const items = files.map((file) => ({
      label: file.path,
      description: `${file.status} +${file.insertions} -${file.deletions}`,
      value: file,
    }));
    const file = files.length > 1 ? await pick(items, "Which file?") : files[0];
    if (file) await this.show(session, file);
  }

  /** Open the changes of one file by its path; all of them where the session changed it no more, or none is named. */
  async showFile(session: Session, path: string | undefined): Promise<void> {
    const file = (await this.read(session)).find((each) => each.path === path);
    if (file) await this.show(session, file);
    else await this.showAll(session);
  }

  dispose(): void {
    this.registration.dispose();
  }

  private async show(session: Session, file: DiffFile): Promise<void> {
    const [before, after] = sides(this.orch, session, file);
    if (before && after)
      await vscode.commands.executeCommand("vscode.diff", before, after, `${file.path} (${session.title})`);
    else await vscode.commands.executeCommand("vscode.open", after ?? before);
  }

  private async read(session: Session): Promise<DiffFile[]> {
    const { files } = await this.orch.call("orch/session/diff", { session: session.id });
    if (files.length === 0) void vscode.window.showInformationMessage(`“${session.title}” has changed nothing.`);
    return files;
  }
}

/** The two sides of a changed file: undefined where it does not exist on that side. */
function sides(orch: Orch, session: Session, file: DiffFile): [vscode.Uri | undefined, vscode.Uri | undefined] {
  const root = session.worktreePath ?? orch.model.projects.get(session.projectId)?.path ?? "";
  const before = uriBefore(session, root, file.oldPath ?? file.path);
  const after = vscode.Uri.file(join(root, file.path));
  return [file.status === "added" ? undefined : before, file.status === "deleted" ? undefined : after];
}

/** The address of a file as it was: the same path as the file has now, so that the editor sees no renaming. */
function uriBefore(session: Session, root: string, path: string): vscode.Uri {
  return vscode.Uri.file(join(root, path)).with({
    scheme: SCHEME,
    query: JSON.stringify({ session: session.id, path }),
  });
}

/** Files as they were where a session began; their address has the session in its query. They never change. */
class FilesBefore implements vscode.FileSystemProvider {
  private readonly changed = new vscode.EventEmitter<vscode.FileChangeEvent[]>();
  readonly onDidChangeFile = this.changed.event;

  constructor(private readonly orch: Orch) {}

  async stat(uri: vscode.Uri): Promise<vscode.FileStat> {
    return { type: vscode.FileType.File, ctime: 0, mtime: 0, size: (await this.readFile(uri)).length };
  }

  async readFile(uri: vscode.Uri): Promise<Uint8Array> {
    const { session, path } = JSON.parse(uri.query) as { session: string; path: string };
    const before = await this.orch.call("orch/session/fileBefore", { session, path });
    if (!before.present) throw vscode.FileSystemError.FileNotFound(uri);
    return before.text === null ? Buffer.from(before.base64 ?? "", "base64") : Buffer.from(before.text);
  }

  watch(): vscode.Disposable {
    return new vscode.Disposable(() => undefined);
  }

  readDirectory(uri: vscode.Uri): never {
    throw vscode.FileSystemError.FileNotADirectory(uri);
  }

  createDirectory(uri: vscode.Uri): never {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  writeFile(uri: vscode.Uri): never {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  delete(uri: vscode.Uri): never {
    throw vscode.FileSystemError.NoPermissions(uri);
  }

  rename(uri: vscode.Uri): never {
    throw vscode.FileSystemError.NoPermissions(uri);
  }
}
