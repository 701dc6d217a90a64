/** Which program is started as the server: the order, and that no workspace has a say. Real programs, real Pythons. */

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";

import { bundledServer } from "../../src/server/bundled";
import { findServer, type Surroundings } from "../../src/server/find";

const INSTALLED = resolve(__dirname, "../../../../.venv/bin/python");
const BUNDLED = { command: "bundled", args: [], from: "the test" };
let root: string;

function program(path: string, script = "exit 0"): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\n${script}\n`);
  chmodSync(file, 0o755);
  return file;
}

function find(look: Partial<Surroundings>) {
  const folders = [join(root, "workspace")];
  const nowhere = { configured: undefined, interpreter: undefined, path: "", folders };
  return findServer({ ...nowhere, bundled: () => Promise.resolve(BUNDLED), ...look });
}

describe("the server", () => {
  beforeEach(() => {
    root = realpathSync(mkdtempSync(join(tmpdir(), "orch-find-")));
    mkdirSync(join(root, "workspace"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it("is that of the setting, before all others", async () => {
    const configured = program("mine/orch-server");
    const found = await find({ configured, interpreter: INSTALLED, path: dirname(program("path/orch-server")) });
    assert.equal(found.command, configured);
  });

  it("is that of the Python extension's interpreter, if it has the package", async () => {
    const path = dirname(program("path/orch-server"));
    assert.deepEqual((await find({ interpreter: INSTALLED, path })).args, ["-I", "-m", "orch_server"]);
    assert.equal(
      (await find({ interpreter: program("without/python", "exit 1"), path })).command,
      join(path, "orch-server"),
    );
  });

  it("is that of the PATH, before the one that is brought along", async () => {
    const path = ["relative", join(root, "nothing"), dirname(program("path/orch-server"))].join(delimiter);
    assert.equal((await find({ path })).command, join(root, "path/orch-server"));
    assert.equal((await find({ path: "" })).command, "bundled");
  });

  it("is never taken from the workspace", async () => {
    const evil = program("workspace/bin/orch-server");
    symlinkSync(dirname(evil), join(root, "link"));
    symlinkSync(evil, program("outside/other").replace("other", "orch-server"));
    for (const path of [dirname(evil), join(root, "link"), join(root, "outside")]) {
      assert.equal((await find({ path })).command, "bundled", path);
    }
    assert.equal((await find({ interpreter: program("workspace/.venv/bin/python") })).command, "bundled");
    await assert.rejects(find({ configured: evil }), /inside the workspace/);
  });

  it("is not guessed where the setting is wrong", async () => {
    await assert.rejects(find({ configured: "orch-server" }), /no absolute path/);
    await assert.rejects(find({ configured: join(root, "nothing") }), /no program that can be run/);
  });

  it("cannot be unpacked without a fitting Python, which is said with what to do", async () => {
    const wheels = join(root, "wheels");
    const rest = {
      wheels,
      storage: join(root, "storage"),
      version: "1",
      python: undefined,
      folders: [],
      report: () => undefined,
    };
    await assert.rejects(
      bundledServer({ ...rest, path: "" }),
      /No Python was found.*pipx install orch-server.*orch\.serverPath/s,
    );
    const old = program("old/python3", "echo cpython 3 10 linux-x86_64 glibc");
    await assert.rejects(bundledServer({ ...rest, path: dirname(old) }), /Found only: .*cpython 3\.10/);
    const other = program("musl/python3", "echo cpython 3 12 linux-x86_64 -");
    await assert.rejects(bundledServer({ ...rest, path: dirname(other) }), /glibc/);
    const fits = program("fits/python3", "echo cpython 3 12 linux-x86_64 glibc");
    await assert.rejects(bundledServer({ ...rest, path: dirname(fits) }), /brings no server/);
  });
});
