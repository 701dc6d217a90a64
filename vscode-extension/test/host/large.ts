/** 500 sessions and 50,000 events: what the extension host needs for them. Run alone, in a home that was filled before. */

import assert from "node:assert/strict";
import { appendFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as vscode from "vscode";

import type { Api } from "../../src/extension";
import { call } from "../../src/protocol";
import type { SessionsNode } from "../../src/views/sessions";

const EVENTS = 50_000;
const MOST_MEGABYTES = 60;
const MOST_MILLISECONDS = 300;

describe("many sessions and events", () => {
  let api: Api;

  before(async () => {
    const extension = vscode.extensions.getExtension<Api>("orch.orch");
    assert.ok(extension);
    api = await extension.activate();
    await waitFor(() => api.client.status.kind === "connected" && api.model.sessions.size >= 500);
  });

  it("take little memory", async () => {
    api.model.reset({ seq: 0, sessions: [], projects: [], artifacts: [], collisions: [], recent: [] });
    const empty = used();
    await api.client.restart();
    await waitFor(() => api.model.sessions.size >= 500);
    const loaded = used();
    const before = api.model.seq;
    const [project] = api.model.projects.values();
    assert.ok(project);
    const prompt = `[[count ${EVENTS} 0]]`;
    const params = { agent: "demo", action: "analyze", project: project.id, prompt } as const;
    const { id } = await call(api.client.connection, "orch/session/start", params);
    await waitFor(() => api.model.sessions.get(id)?.state === "completed");
    assert.ok(api.model.seq - before >= EVENTS, `${api.model.seq - before} events`);
    const followed = used();
    const grown = `${loaded - empty} MB for the sessions, ${followed - loaded} MB for ${EVENTS} events`;
    note(`memory: ${grown}`);
    assert.ok(followed - empty < MOST_MEGABYTES, grown);
  });

  it("make a tree quickly", () => {
    const began = performance.now();
    let items = 0;
    const walk = (node?: SessionsNode) => {
      for (const child of api.sessions.getChildren(node)) {
        api.sessions.getTreeItem(child);
        items++;
        walk(child);
      }
    };
    walk();
    const taken = performance.now() - began;
    assert.ok(items > 500, `${items} items`);
    note(`tree: ${items} items in ${taken.toFixed(0)} ms`);
    assert.ok(taken < MOST_MILLISECONDS, `${taken} ms`);
  });
});

/** Leave a measurement for whoever started the editor. */
function note(words: string): void {
  appendFileSync(`${process.env.ORCH_TEST_REPORT}.measured`, `${words}. `);
}

/** The megabytes in use, without what only waits to be collected. */
function used(): number {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return Math.round((heapUsed + external) / 1024 / 1024);
}

async function waitFor(is: () => boolean): Promise<void> {
  while (!is()) await new Promise((resolve) => setTimeout(resolve, 50));
}
