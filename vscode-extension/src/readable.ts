/**
 * Events as lines that a person reads, and any text made harmless: the words are those of the command line, and a test
 * holds both to the same examples.
 */

import type { Changes, Event, Project, Session } from "./protocol";

const LONGEST = 160;

/** Return an event as one readable line, without its time where the reader shows one already. */
export function eventLine(event: Event, when = event.at.slice(11, 19)): string {
  const columns = [String(event.seq).padStart(6), when, (event.sessionId ?? "-").padEnd(12), event.type.padEnd(22)];
  return harmless([...columns.filter((column) => column !== ""), told(event)].join("  "));
}

/** Return what an event tells, in a few words. */
export function told(event: Event): string {
  if (Object.keys(event.data).length === 0) return ""; // its session was purged
  switch (event.type) {
    case "session.state_changed": {
      const { from, to, reason } = event.data;
      return (from === to ? to : `${from} -> ${to}`) + (reason ? ` (${reason})` : "");
    }
    case "session.created":
      return `${event.data.session.agent} ${event.data.session.action}: ${event.data.session.title}`;
    case "session.updated":
      return Object.keys(event.data.changed)
        .filter((name) => name !== "updatedAt" && name !== "version")
        .join(", ");
    case "agent.message":
    case "agent.thought":
    case "agent.log":
      return oneLine(event.data.text);
    case "followup.queued":
    case "followup.delivered":
    case "followup.withdrawn":
    case "followup.uncertain":
      return short(event.data.text);
    case "agent.tool_started":
      return event.data.title || event.data.name;
    case "agent.tool_finished":
      return (event.data.ok ? "ok  " : "failed  ") + short(event.data.output);
    case "agent.plan":
      return event.data.entries.map((entry) => `[${entry.status}] ${entry.text}`).join("; ");
    case "turn.started":
      return short(event.data.prompt);
    case "turn.completed":
      return short(event.data.text);
    case "turn.failed":
      return `${event.data.reason}: ${event.data.message}`;
    case "input.requested":
      return event.data.inputRequest.title;
    case "input.answered":
      return `by ${event.data.by}: ${event.data.optionId ?? "answered"}`;
    case "artifact.created":
    case "artifact.updated":
      return event.data.artifact.path;
    case "run.started":
      return `pid ${event.data.pid}`;
    case "run.exited":
      return event.data.signal === null ? `exit code ${event.data.exitCode}` : `signal ${event.data.signal}`;
    case "agent.usage":
      return `${event.data.usage.inputTokens} tokens in, ${event.data.usage.outputTokens} out`;
    case "worktree.creating":
      return event.data.percent === null ? event.data.path : `${event.data.percent} %`;
    case "worktree.failed":
      return event.data.error;
    case "worktree.changed":
      return `${count(event.data.changes.files, "file")} ${plusMinus(event.data.changes)}`;
    case "worktree.committed":
      return `${event.data.commit.slice(0, 12)}  ${count(event.data.files, "file")}`;
    case "checkout.applied":
      return `${event.data.strategy}  ${count(event.data.files, "file")}`;
    case "checkout.undone":
      return count(event.data.files, "file");
    case "collision.detected":
    case "collision.cleared": {
      const { sessions, against, files } = event.data.collision;
      const sides = sessions.map((each) => each ?? `the ${against}`).join(" and ");
      return `${sides}: ${files.map(({ path }) => path).join(", ")}`;
    }
    case "lease.claimed":
    case "lease.released":
      return `${event.data.lease.path} by ${event.data.lease.sessionId ?? "the user"}`;
    case "lease.contested":
      return `${event.data.path} by ${event.data.by}, held by ${event.data.lease.sessionId ?? "the user"}`;
    case "command.rejected":
      return `${short(event.data.text)}: ${event.data.problems.join(" ")}`;
    case "command.submitted":
      return short(event.data.command.prompt);
    case "project.changed_read_only":
      return event.data.paths.join(", ") + (event.data.attributed ? " (by a tool of it)" : "");
    case "cleanup.previewed":
      return "";
    default:
      return toldOfRest(event.data);
  }
}

/** What the remaining events tell: a session, a project, a path, or a few plain values. */
function toldOfRest(data: object): string {
  if ("session" in data) return (data.session as Session).title;
  if ("project" in data) {
    const { slug, path } = data.project as Project;
    return `${slug}  ${path}`;
  }
  if ("path" in data && data.path) return data.path as string;
  const word = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
  return short(
    Object.entries(data)
      .map(([name, value]) => `${name}: ${word(value)}`)
      .join(", "),
  );
}

/** Whether an event only says that a message or a thought is at its end. */
export function isEmpty(event: Event): boolean {
  return (event.type === "agent.message" || event.type === "agent.thought") && !event.data.text;
}

/** Return `text` with its control and direction characters made visible. */
export function harmless(text: string, keep = ""): string {
  let made = "";
  for (const character of text) made += keep.includes(character) ? character : visible(character);
  return made;
}

/** Return a text on one line of bearable length. */
export function short(text: string, most = LONGEST): string {
  const line = oneLine(text);
  const characters = Array.from(line);
  return characters.length <= most ? line : characters.slice(0, most - 1).join("") + "…";
}

function oneLine(text: string): string {
  return text.split(/\s+/).filter(Boolean).join(" ");
}

/** Return how much changed: `+12 -3`. */
export function plusMinus(changes: Changes): string {
  return `+${changes.insertions} -${changes.deletions}`;
}

export function count(number: number, noun: string): string {
  return number === 1 ? `1 ${noun}` : `${number} ${noun}s`;
}

/** Return how long ago a time was, shortly: `3m`. */
export function age(at: string, now: number = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(at)) / 1000);
  if (seconds < 60) return "now";
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

function visible(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  const isDirection = (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) || code === 0x200e;
  const isSurrogate = code >= 0xd800 && code <= 0xdfff;
  if ((code >= 0x80 && code < 0xa0) || isDirection || code === 0x200f || isSurrogate) {
    return `<${code.toString(16).toUpperCase().padStart(4, "0")}>`;
  }
  return character;
}
