/** Runs the tests inside the extension host; the editor calls `run`. A report is left for whoever started the editor. */

import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Mocha from "mocha";

export async function run(): Promise<void> {
  const mocha = new Mocha({
    ui: "bdd",
    timeout: 300_000,
    reporter: "json",
    reporterOptions: { output: process.env.ORCH_TEST_REPORT },
  });
  const only = process.env.ORCH_TEST_ONLY;
  if (only) mocha.addFile(join(__dirname, only));
  else {
    for (const folder of [join(__dirname, "../unit"), __dirname]) {
      for (const name of readdirSync(folder)) if (name.endsWith(".test.js")) mocha.addFile(join(folder, name));
    }
  }
  try {
    const failures = await new Promise<number>((resolve) => mocha.run(resolve));
    if (failures > 0) throw new Error(`${failures} tests failed`);
  } catch (error) {
    writeFileSync(`${process.env.ORCH_TEST_REPORT}.error`, String(error));
    throw error;
  }
}
