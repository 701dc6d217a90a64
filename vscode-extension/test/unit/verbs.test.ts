/** What can be done with a session in which state: what the server's table of transitions allows, and no more. */

import assert from "node:assert/strict";

import { byUrgency } from "../../src/presentation";
import { TRANSITIONS, type Session, type State } from "../../src/protocol";
import { optionFor, verbsOf } from "../../src/verbs";
import golden from "../event-lines.json";

const created = golden.events.find(({ event }) => event.type === "session.created");
const template = (created?.event.data as unknown as { session: Session }).session;
const STATES = Object.keys(TRANSITIONS) as State[];

function session(change: Partial<Session>): Session {
  return { ...template, inputRequests: [], queued: [], attention: [], worktreePath: "/w", ...change };
}

describe("the verbs", () => {
  for (const state of STATES) {
    it(`of a session that is ${state} lead only where the table goes`, () => {
      const verbs = verbsOf(session({ state }));
      const may = TRANSITIONS[state];
      assert.equal(verbs.includes("stop"), may.includes("stopped") && state !== "archived" && state !== "deleted");
      assert.equal(verbs.includes("archive"), may.includes("archived") && state !== "deleted");
      assert.equal(verbs.includes("delete"), may.includes("deleted"));
      assert.equal(verbs.includes("restore"), state === "deleted");
      assert.equal(verbs.includes("unarchive"), state === "archived");
    });
  }

  it("answer only where something is asked", () => {
    const [request] = template.inputRequests;
    assert.ok(request);
    assert.ok(!verbsOf(session({ state: "waiting_for_user" })).includes("approve"));
    assert.ok(verbsOf(session({ inputRequests: [{ ...request, kind: "approval" }] })).includes("approve"));
    assert.ok(!verbsOf(session({ inputRequests: [{ ...request, kind: "question" }] })).includes("approve"));
  });

  it("grant once where that is offered", () => {
    const [request] = template.inputRequests;
    assert.ok(request);
    const options = (["reject_once", "allow_always", "allow_once"] as const).map((kind) => ({
      id: kind,
      label: kind,
      kind,
    }));
    assert.equal(optionFor({ ...request, options }, "approve"), "allow_once");
    assert.equal(optionFor({ ...request, options: options.slice(0, 2) }, "approve"), "allow_always");
    assert.equal(optionFor({ ...request, options: options.slice(1) }, "deny"), undefined);
  });

  it("are offered first for those that wait", () => {
    const sorted = STATES.map((state) => session({ state, id: state })).sort(byUrgency);
    assert.equal(sorted[0]?.state, "waiting_for_user");
    assert.equal(sorted.at(-1)?.state, "deleted");
  });
});
