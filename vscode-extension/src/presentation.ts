/** How sessions look and in which order they stand, in whatever view. */

import type { Event, Session, State } from "./protocol";
import { age, plusMinus, told } from "./readable";

/** Who waits for the user comes first, then who works, then who failed. */
const RANK: Record<State, number> = {
  waiting_for_user: 0,
  running: 1,
  created: 1,
  failed: 2,
  stopped: 3,
  completed: 3,
  archived: 4,
  deleted: 5,
};

/** A codicon and a theme colour for each state. */
export const LOOKS: Record<State, { icon: string; color?: string; label: string }> = {
  waiting_for_user: { icon: "bell-dot", color: "notificationsWarningIcon.foreground", label: "waits for you" },
  running: { icon: "play-circle", color: "testing.iconPassed", label: "running" },
  created: { icon: "loading~spin", label: "starting" },
  failed: { icon: "error", color: "testing.iconFailed", label: "failed" },
  stopped: { icon: "debug-stop", label: "stopped" },
  completed: { icon: "pass", color: "testing.iconPassed", label: "completed" },
  archived: { icon: "archive", label: "archived" },
  deleted: { icon: "trash", label: "in the trash" },
};

export function byUrgency(one: Session, other: Session): number {
  return (
    RANK[one.state] - RANK[other.state] || other.createdAt.localeCompare(one.createdAt) || (one.id < other.id ? 1 : -1)
  );
}

/** Return `agent · action · age · changes`. */
export function describe(session: Session, now?: number): string {
  const words = [session.agent, session.action, age(session.createdAt, now)];
  if (session.changes?.files) words.push(plusMinus(session.changes));
  return words.join(" · ");
}

/** Return a session's state with its reason, in words. */
export function stateWords(session: Session): string {
  const reason = session.reason && session.reason !== "turn_ended" ? ` (${session.reason.replaceAll("_", " ")})` : "";
  return LOOKS[session.state].label + reason;
}

/** Return what an event tells where there is little room: a file by its name alone. */
export function toldShortly(event: Event): string {
  const isArtifact = event.type === "artifact.created" || event.type === "artifact.updated";
  return isArtifact && "artifact" in event.data ? event.data.artifact.name : told(event);
}
