/** The model: the golden events of the Python tests, folded; the order of numbers; and versions. */

import assert from "node:assert/strict";

import { Model } from "../../src/model";
import type { Event, EventOf, Session } from "../../src/protocol";
import golden from "../event-lines.json";

const events = golden.events.map(({ event }) => event as unknown as Event);
const eventOf = <T extends Event["type"]>(type: T) => events.find((event) => event.type === type) as EventOf<T>;
const template = eventOf("session.created").data.session;

function session(change: Partial<Session> = {}): Session {
  return { ...template, id: "one", state: "running", version: 1, ...change };
}

function modelOf(...sessions: Session[]): Model {
  const model = new Model();
  model.reset({ seq: 10, sessions, projects: [], artifacts: [], collisions: [], recent: [] });
  return model;
}

function changed(seq: number, to: Session): Event {
  const data = { from: "running", to: to.state, reason: to.reason, session: to } as const;
  return { ...eventOf("session.state_changed"), seq, sessionId: to.id, data };
}

describe("the model", () => {
  it("folds every golden event", () => {
    const model = new Model();
    for (const event of events) model.apply(event);
    assert.equal(model.seq, events.length);
    assert.equal(model.recent.length, events.length);
    assert.deepEqual([...model.artifacts.values()], [eventOf("artifact.updated").data.artifact]);
    assert.equal(model.projects.size, 0, "project.removed comes after project.registered");
    assert.equal(model.sessions.size, 0, "session.purged comes last of its family");
    assert.equal(model.collisions.size, 0, "collision.cleared comes after collision.detected");
  });

  for (const event of events) {
    const { type, data } = event;
    if (!("session" in data) || type === "session.purged") continue;
    it(`keeps the session of ${type}`, () => {
      const model = new Model();
      model.apply(event);
      assert.deepEqual(model.sessions.get(data.session.id), data.session);
    });
  }

  it("takes an event once, however often it comes", () => {
    const model = modelOf(session());
    const told: (number | undefined)[] = [];
    model.onDidChange(({ event }) => told.push(event?.seq));
    const event = changed(11, session({ state: "completed", version: 2 }));
    for (const again of [event, event, { ...event, seq: 9 }]) model.apply(again);
    assert.deepEqual(told, [11]);
    assert.equal(model.sessions.get("one")?.state, "completed");
  });

  it("keeps the newer of a list and an event", () => {
    const model = modelOf(session({ state: "completed", version: 5 }));
    model.apply(changed(11, session({ state: "running", version: 3 })));
    const stale = {
      ...eventOf("session.updated"),
      seq: 12,
      sessionId: "one",
      data: { changed: { title: "old", version: 4 } },
    };
    model.apply(stale);
    assert.equal(model.sessions.get("one")?.state, "completed");
    assert.equal(model.sessions.get("one")?.title, template.title);
    model.apply({ ...stale, seq: 13, data: { changed: { title: "new", version: 6 } } });
    assert.equal(model.sessions.get("one")?.title, "new");
  });

  it("says whether a session's place may be another one", () => {
    const model = modelOf(session());
    const moved: boolean[] = [];
    model.onDidChange((change) => moved.push(change.moved));
    model.apply(changed(11, session({ version: 2 })));
    model.apply(changed(12, session({ state: "failed", version: 3 })));
    model.apply({
      ...eventOf("session.updated"),
      seq: 13,
      sessionId: "one",
      data: { changed: { turns: 3, version: 4 } },
    });
    assert.deepEqual(moved, [false, true, false]);
  });

  it("does not grow with the number of events", () => {
    const model = modelOf(session());
    for (let seq = 11; seq < 11 + 5 * Model.MOST_RECENT; seq++) model.apply({ ...eventOf("agent.usage"), seq });
    assert.ok(model.recent.length <= 1.5 * Model.MOST_RECENT);
    assert.equal(model.recent.at(-1)?.seq, model.seq);
  });

  it("shows nothing of a session that was purged", () => {
    const model = modelOf(session());
    model.apply({ ...changed(11, session()), data: {} } as unknown as Event);
    assert.equal(model.sessions.size, 1);
  });
});
