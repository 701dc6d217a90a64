/** The server that the extension brings: wheels, unpacked once into a private virtual environment. */

import { execFile } from "node:child_process";
import { access, mkdir, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { onPath, type Program } from "./find";

const run = promisify(execFile);
const OLDEST = 11;
const NEWEST = 13;
const UNPACK_TIMEOUT = 5 * 60_000;
const ELSEWHERE =
  "Install the server yourself (`pipx install orch-server`, or `pip install` of a clone), " +
  "and set `orch.serverPath` unless it is on your PATH.";

export interface Bundle {
  /** The directory with the wheels. */
  wheels: string;
  /** Where the extension keeps things; the environment is made in it. */
  storage: string;
  version: string;
  /** The setting `orch.pythonPath`. */
  python: string | undefined;
  path: string;
  folders: readonly string[];
  report(message: string): void;
}

/** Return how to start the bundled server, unpacking it the first time. Raises an error that says what to do. */
export async function bundledServer(bundle: Bundle): Promise<Program> {
  const python = await findPython(bundle);
  const home = join(bundle.storage, `server-${bundle.version}-cp3${python.minor}`);
  if (!(await exists(join(home, "unpacked")))) await unpack(bundle, python.command, home);
  return {
    command: join(home, "bin", "python"),
    args: ["-I", "-m", "orch_server"],
    from: "the server that the extension brings",
  };
}

/** Make the environment beside its place and move it there when it is whole: a window that closes leaves no half. */
async function unpack(bundle: Bundle, python: string, home: string): Promise<void> {
  const wheels = await readdir(bundle.wheels).catch(() => []);
  const pip = wheels.find((name) => /^pip-.*\.whl$/.test(name));
  if (!pip) throw new Error(`This build of the extension brings no server. ${ELSEWHERE}`);
  bundle.report("Unpacking the server…");
  await mkdir(bundle.storage, { recursive: true });
  const made = `${home}.${process.pid}.part`;
  await rm(made, { recursive: true, force: true });
  try {
    // Without pip: a Python of Debian has the module venv, but what it would install pip from may be missing.
    await run(python, ["-I", "-m", "venv", "--without-pip", made], { timeout: UNPACK_TIMEOUT });
    const install = ["install", "--no-index", "--no-compile", "--disable-pip-version-check", "--quiet"];
    const where = ["--find-links", bundle.wheels, "orch-server"];
    // A wheel can be run as it is; without the environment's own settings of pip, which might name another index.
    const environment = { ...process.env, PIP_CONFIG_FILE: "/dev/null", PYTHONPATH: "" };
    await run(join(made, "bin", "python"), [join(bundle.wheels, pip, "pip"), ...install, ...where], {
      timeout: UNPACK_TIMEOUT,
      env: environment,
    });
    await run(join(made, "bin", "python"), ["-I", "-m", "orch_server", "--version"], { timeout: UNPACK_TIMEOUT });
    await writeFile(join(made, "unpacked"), "");
    await rename(made, home).catch(async (error: unknown) => {
      if (!(await exists(join(home, "unpacked")))) throw error; // else another window was first
    });
  } catch (error) {
    const said = (error as { stderr?: string }).stderr?.trim() || String(error);
    throw new Error(`The server could not be unpacked: ${said.split("\n").at(-1)} ${ELSEWHERE}`, { cause: error });
  } finally {
    await rm(made, { recursive: true, force: true });
  }
  await tidy(bundle.storage, home);
}

/** Remove all environments but the newest two: a hub may still run from the one before. */
async function tidy(storage: string, home: string): Promise<void> {
  const names = (await readdir(storage)).filter((name) => /^server-[^/]*-cp3\d+$/.test(name));
  const paths = names.map((name) => join(storage, name)).filter((path) => path !== home);
  const times = await Promise.all(paths.map(async (path) => ({ path, at: (await stat(path)).mtimeMs })));
  const old = times.sort((one, other) => other.at - one.at).slice(1);
  await Promise.all(old.map(({ path }) => rm(path, { recursive: true, force: true })));
}

async function findPython(bundle: Bundle): Promise<{ command: string; minor: number }> {
  const seen: string[] = [];
  for await (const command of candidates(bundle)) {
    const found = await ask(command);
    if (!found) continue;
    if (found.fits) return { command, minor: found.minor };
    seen.push(`${command} is ${found.name}`);
  }
  const looked = seen.length > 0 ? `Found only: ${seen.join("; ")}.` : "No Python was found on the PATH.";
  throw new Error(
    `The server that the extension brings needs CPython 3.${OLDEST} to 3.${NEWEST} on Linux (x86-64, glibc). ` +
      `${looked} Install one, or name it in \`orch.pythonPath\`. Or: ${ELSEWHERE}`,
  );
}

async function* candidates(bundle: Bundle): AsyncGenerator<string> {
  if (bundle.python) {
    yield bundle.python;
    return;
  }
  for (let minor = NEWEST; minor >= OLDEST; minor--)
    yield* await onPath(`python3.${minor}`, bundle.path, bundle.folders);
  yield* await onPath("python3", bundle.path, bundle.folders);
}

async function ask(command: string): Promise<{ fits: boolean; minor: number; name: string } | undefined> {
  const program =
    "import platform, sys, sysconfig; print(sys.implementation.name, sys.version_info[0], sys.version_info[1], " +
    "sysconfig.get_platform(), platform.libc_ver()[0] or '-')";
  try {
    const { stdout } = await run(command, ["-I", "-c", program], { timeout: UNPACK_TIMEOUT });
    const [name, major, minor, platform, libc] = stdout.trim().split(" ");
    const number = Number(minor);
    const isRight = name === "cpython" && major === "3" && number >= OLDEST && number <= NEWEST;
    const fits = isRight && platform === "linux-x86_64" && libc === "glibc";
    return { fits, minor: number, name: `${name} ${major}.${minor} on ${platform}` };
  } catch {
    return undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
