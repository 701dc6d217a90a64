/** Every event as a readable line: in one output channel, and in one of a session's own where it is asked for. */

import * as vscode from "vscode";

import type { Orch } from "./orch";
import type { Event } from "./protocol";
import { eventLine, isEmpty } from "./readable";

const PAGE = 1_000;

export class Output implements vscode.Disposable {
  /** The channels of sessions, each with the last event that it shows. */
  private readonly channels = new Map<string, { channel: vscode.LogOutputChannel; seq: number }>();
  private readonly listening: { dispose(): void };

  constructor(private readonly orch: Orch) {
    this.listening = orch.model.onDidChange(({ event }) => {
      if (!event || isEmpty(event)) return;
      write(orch.log, event);
      const own = event.sessionId ? this.channels.get(event.sessionId) : undefined;
      if (own && event.seq > own.seq) write(own.channel, event);
    });
  }

  /** Show a session's own channel, with all that happened in it so far. */
  async show(sessionId: string): Promise<void> {
    const known = this.channels.get(sessionId);
    if (known) {
      known.channel.show(true);
      return;
    }
    const channel = vscode.window.createOutputChannel(`orch: ${sessionId}`, { log: true });
    const own = { channel, seq: Infinity }; // what comes in waits until the past is written
    this.channels.set(sessionId, own);
    channel.show(true);
    let after = 0;
    for (;;) {
      const page = await this.orch.call("orch/event/list", { session: sessionId, after, limit: PAGE });
      for (const event of page.items) if (!isEmpty(event)) write(channel, event);
      after = page.lastSeq;
      if (page.items.length === 0) break;
    }
    for (const event of this.orch.model.recent) {
      if (event.seq > after && event.sessionId === sessionId && !isEmpty(event)) write(channel, event);
    }
    own.seq = Math.max(after, this.orch.model.seq);
  }

  dispose(): void {
    this.listening.dispose();
    for (const { channel } of this.channels.values()) channel.dispose();
  }
}

/** Write an event: a failure as an error, what waits for the user as a warning. */
function write(channel: vscode.LogOutputChannel, event: Event): void {
  const line = eventLine(event, "");
  const isFailure = event.type === "turn.failed" || event.type === "worktree.failed" || event.type === "run.lost";
  if (isFailure || (event.type === "session.state_changed" && event.data.to === "failed")) channel.error(line);
  else if (event.type === "input.requested" || event.type === "collision.detected") channel.warn(line);
  else channel.info(line);
}
