/** The conversation of a page. */

import assert from "node:assert/strict";

import type { Event, EventData, EventType } from "../../src/protocol";
import { Transcript } from "../../src/transcript";

function transcriptOf(...told: { [T in EventType]: [T, Partial<EventData[T]>] }[EventType][]): Transcript {
  const transcript = new Transcript();
  told.forEach(([type, data], index) => transcript.apply(event(index + 1, type, data)));
  return transcript;
}

function event(seq: number, type: EventType, data: object): Event {
  const about = { id: `e${seq}`, at: "2026-01-02T03:04:05.678Z", projectId: "p", sessionId: "s", runId: "r", turn: 1 };
  return { ...about, seq, type, data } as Event;
}

const shown = ({ entries }: Transcript) => entries.map(({ kind, text }) => [kind, text]);

describe("a conversation", () => {
  it("joins the pieces of a message, also of two that alternate", () => {
    const made = transcriptOf(
      ["agent.message", { messageId: "a", text: "Hel", final: false }],
      ["agent.thought", { messageId: "b", text: "hm", final: true }],
      ["agent.message", { messageId: "a", text: "lo", final: false }],
      ["agent.message", { messageId: "a", text: "", final: true }],
      ["agent.message", { messageId: "c", text: "", final: true }],
    );
    assert.deepEqual(shown(made), [
      ["message", "Hello"],
      ["thought", "hm"],
    ]);
    assert.ok(made.entries.every(({ open }) => !open));
  });

  it("closes a tool with what it gave", () => {
    const made = transcriptOf(
      ["agent.tool_started", { toolId: "t", name: "run", title: "Run it", input: "ls" }],
      ["agent.tool_finished", { toolId: "t", ok: false, output: "no", truncated: false }],
    );
    assert.deepEqual(
      made.entries.map(({ title, text, failed, open }) => [title, text, failed, open]),
      [["Run it", "ls\nno", true, false]],
    );
  });

  it("takes an event once", () => {
    const made = new Transcript();
    const once = event(1, "turn.started", { prompt: "Do it" });
    assert.notEqual(made.apply(once), undefined);
    assert.equal(made.apply(once), undefined);
    assert.deepEqual(shown(made), [["user", "Do it"]]);
  });

  it("shows the latest plan, what steers, and what failed", () => {
    const made = transcriptOf(
      ["agent.plan", { entries: [{ text: "one", status: "pending" }] }],
      ["agent.plan", { entries: [{ text: "one", status: "completed" }] }],
      ["followup.delivered", { id: "f", text: "queued", mode: "queue" }],
      ["followup.delivered", { id: "g", text: "now", mode: "steer" }],
      ["turn.failed", { reason: "api_error", message: "429" }],
    );
    assert.deepEqual(made.plan, [{ text: "one", status: "completed" }]);
    assert.deepEqual(shown(made), [
      ["user", "now"],
      ["error", "429"],
    ]);
  });
});
