/** Lines of events: word for word those of the command line. */

import assert from "node:assert/strict";

import type { Event } from "../../src/protocol";
import { age, eventLine, harmless, short } from "../../src/readable";
import golden from "../event-lines.json";

describe("a line", () => {
  for (const { event, line } of golden.events) {
    it(`of ${event.type} is that of the command line`, () => {
      assert.equal(eventLine(event as unknown as Event), line);
    });
  }

  for (const { text, harmless: expected } of golden.texts) {
    it(`makes ${JSON.stringify(text)} harmless`, () => assert.equal(harmless(text), expected));
  }

  it("is short by characters, not by halves of them", () => {
    assert.equal(short("🙂🙂🙂🙂", 3), "🙂🙂…");
    assert.equal(short(" a \n b\t c ", 10), "a b c");
  });

  it("says an age", () => {
    const now = Date.parse("2026-01-02T00:00:00Z");
    const ages = ["2026-01-01T23:59:30Z", "2026-01-01T23:55:00Z", "2026-01-01T20:00:00Z", "2025-12-30T00:00:00Z"];
    assert.deepEqual(
      ages.map((at) => age(at, now)),
      ["now", "5m", "4h", "3d"],
    );
  });
});
