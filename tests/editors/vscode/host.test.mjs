// The tests that run inside the extension host, in a workspace that means harm.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";

import { Machine, ROOT } from "./rig.mjs";

test("in the extension host, opened on a hostile workspace", { timeout: 600_000 }, async () => {
  const machine = new Machine();
  try {
    const folder = machine.repository("hostile");
    // Every way in which a repository could name a program: settings, an environment, and a folder on the PATH.
    const evil = path.join(folder, "bin/orch-server");
    for (const file of [evil, path.join(folder, ".venv/bin/python")]) {
      fs.mkdirSync(path.dirname(file), { recursive: true });
      fs.writeFileSync(file, `#!/bin/sh\ntouch ${folder}/ran\n`, { mode: 0o755 });
    }
    fs.mkdirSync(path.join(folder, ".vscode"));
    const settings = {
      "orch.serverPath": evil,
      "orch.pythonPath": path.join(folder, ".venv/bin/python"),
      "python.defaultInterpreterPath": path.join(folder, ".venv/bin/python"),
    };
    fs.writeFileSync(path.join(folder, ".vscode/settings.json"), JSON.stringify(settings));
    const PATH = [path.dirname(evil), path.join(ROOT, ".venv/bin"), machine.environment.PATH].join(":");
    const { exit, stats, failures } = await machine.runHostTests(folder, { environment: { PATH } });
    assert.deepEqual(
      failures.map(({ fullTitle, err }) => `${fullTitle}: ${err.message}`),
      [],
    );
    assert.equal(exit, 0);
    assert.ok(stats.passes > 90, `${stats.passes} tests ran`);
    assert.ok(!fs.existsSync(path.join(folder, "ran")));
  } finally {
    await machine.end();
  }
});
