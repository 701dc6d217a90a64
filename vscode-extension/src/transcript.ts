/** A session's conversation, folded from its events: the same for the past and for what comes in live. */

import type { Event, PlanEntry, State } from "./protocol";

export interface Entry {
  /** The event it began with: its name for as long as it lives. */
  seq: number;
  at: string;
  kind: "user" | "message" | "thought" | "tool" | "input" | "note" | "error" | "log";
  title: string;
  text: string;
  /** Whether more of it may come. */
  open: boolean;
  failed: boolean;
}

const LONGEST_TEXT = 200_000;
/** The states that a reader wants to see among the words; the others are seen from these. */
const ENDS: readonly State[] = ["completed", "failed", "stopped"];

export class Transcript {
  readonly entries: Entry[] = [];
  plan: PlanEntry[] = [];
  seq = 0;

  private readonly open = new Map<string, Entry>();

  /** Fold an event in; return the entry that is new or another now. */
  apply(event: Event): Entry | undefined {
    if (event.seq <= this.seq) return undefined;
    this.seq = event.seq;
    if (Object.keys(event.data).length === 0) return undefined; // its session was purged
    switch (event.type) {
      case "agent.message":
      case "agent.thought":
        return this.grow(event, event.data.messageId, event.data.text, event.data.final);
      case "agent.tool_started":
        return this.begin(event, event.data.toolId, "tool", event.data.title || event.data.name, event.data.input);
      case "agent.tool_finished": {
        const tool = this.open.get(event.data.toolId) ?? this.begin(event, event.data.toolId, "tool", "Tool", "");
        this.open.delete(event.data.toolId);
        tool.open = false;
        tool.failed = !event.data.ok;
        tool.text = join(tool.text, event.data.output + (event.data.truncated ? "\n…" : ""));
        return tool;
      }
      case "agent.plan":
        this.plan = event.data.entries;
        return undefined;
      case "agent.log":
        return this.log(event, event.data.stream, event.data.text);
      case "turn.started":
        return event.data.prompt ? this.whole(event, "user", "You", event.data.prompt) : undefined;
      case "followup.delivered":
        return event.data.mode === "steer" ? this.whole(event, "user", "You", event.data.text) : undefined;
      case "followup.uncertain":
        return this.whole(event, "note", "Not acknowledged, back in the queue", event.data.text);
      case "turn.failed":
        return this.whole(event, "error", event.data.reason.replaceAll("_", " "), event.data.message);
      case "input.requested": {
        const request = event.data.inputRequest;
        const words = [request.detail, ...request.questions.map((question) => question.text)];
        const more = words.filter((word) => word && word !== request.title);
        return this.whole(event, "input", request.title, more.join("\n"));
      }
      case "input.answered":
        return this.whole(event, "input", `Answered by ${event.data.by}`, event.data.optionId ?? "");
      case "session.state_changed":
        return ENDS.includes(event.data.to) && event.data.from !== event.data.to
          ? this.whole(event, "note", event.data.to.replaceAll("_", " "), event.data.session.message)
          : undefined;
      case "run.adopted":
        return this.whole(event, "note", "Taken over by a new hub", "");
      default:
        return undefined;
    }
  }

  private grow(event: Event, id: string, text: string, final: boolean): Entry | undefined {
    const known = this.open.get(id);
    if (!known && !text) return undefined;
    const kind = event.type === "agent.thought" ? "thought" : "message";
    const entry = known ?? this.begin(event, id, kind, kind === "thought" ? "Thought" : "Agent", "");
    if (entry.text.length < LONGEST_TEXT) entry.text += text;
    if (final) {
      entry.open = false;
      this.open.delete(id);
    }
    return entry;
  }

  private log(event: Event, stream: string, text: string): Entry {
    const last = this.entries.at(-1);
    if (last?.kind === "log" && last.title === stream && last.text.length < LONGEST_TEXT) {
      last.text = join(last.text, text);
      return last;
    }
    return this.whole(event, "log", stream, text);
  }

  private begin(event: Event, id: string, kind: Entry["kind"], title: string, text: string): Entry {
    const entry = this.whole(event, kind, title, text);
    entry.open = true;
    this.open.set(id, entry);
    return entry;
  }

  private whole(event: Event, kind: Entry["kind"], title: string, text: string): Entry {
    const entry = { seq: event.seq, at: event.at, kind, title, text, open: false, failed: false };
    this.entries.push(entry);
    return entry;
  }
}

function join(one: string, other: string): string {
  return one && other ? `${one}\n${other}` : one + other;
}
