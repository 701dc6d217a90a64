/** The places to look for the server in, as the editor and its settings name them. */

import * as vscode from "vscode";

import { bundledServer } from "./bundled";
import { findServer, type Program } from "./find";

interface PythonExtension {
  environments: {
    getActiveEnvironmentPath(): { path: string };
    resolveEnvironment(environment: { path: string }): Promise<{ executable: { uri?: vscode.Uri } } | undefined>;
  };
}

/** Return how to start the server; `report` hears what takes long. */
export async function locateServer(
  context: vscode.ExtensionContext,
  report: (message: string) => void,
): Promise<Program> {
  const settings = vscode.workspace.getConfiguration("orch");
  const folders = (vscode.workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath);
  const path = process.env.PATH ?? "";
  return findServer({
    configured: ofUser(settings, "serverPath"),
    interpreter: await interpreter(),
    path,
    folders,
    bundled: () =>
      bundledServer({
        wheels: context.asAbsolutePath("wheels"),
        storage: context.globalStorageUri.fsPath,
        version: (context.extension.packageJSON as { version: string }).version,
        python: ofUser(settings, "pythonPath"),
        path,
        folders,
        report,
      }),
  });
}

/** A setting as the user made it. Its scope keeps a workspace from making it; here it is not even read from there. */
function ofUser(settings: vscode.WorkspaceConfiguration, name: string): string | undefined {
  return settings.inspect<string>(name)?.globalValue || undefined;
}

async function interpreter(): Promise<string | undefined> {
  const chosen = vscode.workspace.getConfiguration("python").inspect<string>("defaultInterpreterPath");
  if (chosen?.workspaceValue !== undefined || chosen?.workspaceFolderValue !== undefined) return undefined;
  const extension = vscode.extensions.getExtension<PythonExtension>("ms-python.python");
  if (!extension) return undefined;
  try {
    const { environments } = await extension.activate();
    const found = await environments.resolveEnvironment(environments.getActiveEnvironmentPath());
    return found?.executable.uri?.fsPath;
  } catch {
    return undefined; // an extension that fails is as good as none
  }
}
