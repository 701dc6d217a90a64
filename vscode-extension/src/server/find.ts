/** Finding `orch-server`. */

import { execFile } from "node:child_process";
import { access, constants, realpath } from "node:fs/promises";
import { basename, delimiter, dirname, isAbsolute, join, relative } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const LOOK_TIMEOUT = 20_000;

/** A program with its arguments, and where it was found, in words. */
export interface Program {
  command: string;
  args: string[];
  from: string;
}

/** Where to look. */
export interface Surroundings {
  /** The setting `orch.serverPath`; its scope is the machine, so no workspace can give it. */
  configured: string | undefined;
  /** The interpreter that the user, not a workspace, chose in the Python extension. */
  interpreter: string | undefined;
  /** The PATH of the editor. */
  path: string;
  /** The folders that are open: nothing in them is ever run. */
  folders: readonly string[];
  /** Unpacks the server that the extension brings. */
  bundled(): Promise<Program>;
}

/**
 * Return how to start the server. The first of these that there is:
 *
 * 1. the setting `orch.serverPath`
 * 2. the interpreter of the Python extension, if the package `orch-server` is installed in it
 * 3. `orch-server` on the PATH
 * 4. the server that the extension brings
 *
 * A program within a folder of the workspace is passed over, however it is named: opening a repository must not decide
 * what runs. Only what the user set explicitly (1) is an error if it is not there, or is within the workspace.
 */
export async function findServer(look: Surroundings): Promise<Program> {
  if (look.configured) {
    if (!isAbsolute(look.configured)) throw new Error(`orch.serverPath is no absolute path: ${look.configured}`);
    if (!(await isExecutable(look.configured))) {
      throw new Error(`orch.serverPath names no program that can be run: ${look.configured}`);
    }
    if (await isWithin(look.folders, look.configured)) {
      throw new Error(`orch.serverPath is inside the workspace, which must not bring the server: ${look.configured}`);
    }
    return { command: look.configured, args: [], from: "the setting orch.serverPath" };
  }
  if (look.interpreter && !(await isWithin(look.folders, look.interpreter)) && (await hasPackage(look.interpreter))) {
    return { command: look.interpreter, args: ["-I", "-m", "orch_server"], from: "the Python extension's interpreter" };
  }
  for (const command of await onPath("orch-server", look.path, look.folders)) {
    return { command, args: [], from: "the PATH" };
  }
  return look.bundled();
}

/** Return every program of a name on a PATH, without what is relative or within the given folders. */
export async function onPath(name: string, path: string, folders: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const directory of path.split(delimiter)) {
    const file = join(directory, name);
    if (isAbsolute(directory) && (await isExecutable(file)) && !(await isWithin(folders, file))) found.push(file);
  }
  return found;
}

/** Whether a file lies in one of the folders; what it or its directory links to counts as well. */
export async function isWithin(folders: readonly string[], file: string): Promise<boolean> {
  const places = [file, join(await real(dirname(file)), basename(file)), await real(file)];
  for (const folder of folders) {
    for (const root of [folder, await real(folder)]) {
      if (places.some((place) => isBelow(root, place))) return true;
    }
  }
  return false;
}

function isBelow(root: string, place: string): boolean {
  const way = relative(root, place);
  return way === "" || (!way.startsWith("..") && !isAbsolute(way));
}

async function real(path: string): Promise<string> {
  return realpath(path).catch(() => path);
}

async function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

async function hasPackage(python: string): Promise<boolean> {
  // -I: neither the working directory nor the environment can bring a package.
  const look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('orch_server') is None)";
  return run(python, ["-I", "-c", look], { timeout: LOOK_TIMEOUT }).then(
    () => true,
    () => false,
  );
}
