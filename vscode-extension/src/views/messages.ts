/** What a webview and the extension say to one another. */

import type { Action, Artifact, Event, FollowUpMode, QuestionAnswer, Session } from "../protocol";
import type { Verb } from "../verbs";

/** To the page of a session. */
export type ToSessionPage =
  | { type: "session"; session: Session; verbs: Verb[]; artifacts: Artifact[] }
  | { type: "events"; events: Event[] }
  | { type: "log"; lines: string[]; truncated: boolean }
  | { type: "refused" };

/** From the page of a session. */
export type FromSessionPage =
  | { type: "ready" }
  | { type: "verb"; verb: Verb }
  | { type: "followUp"; text: string; mode: FollowUpMode }
  | { type: "respond"; inputRequestId: string; optionId?: string; text?: string; answers?: QuestionAnswer[] }
  | { type: "unqueue"; followUpId: string }
  | { type: "artifact"; id: string }
  | { type: "log" };

/** A session in the dashboard, ready to be shown. */
export interface Line {
  id: string;
  title: string;
  detail: string;
  /** What a button on it does; without one the line is only opened. */
  verb?: Verb;
}

/** To the dashboard. */
export interface ToDashboard {
  type: "state";
  notice: string;
  counts: { label: string; number: number }[];
  waiting: Line[];
  active: Line[];
  failures: Line[];
  collisions: Line[];
  recent: string[];
  agents: string[];
  projects: { id: string; slug: string }[];
  project: string;
}

/** From the dashboard. */
export type FromDashboard =
  | { type: "ready" }
  | { type: "open"; id: string }
  | { type: "verb"; verb: Verb; id: string }
  | { type: "start"; agent: string; action: Action; project: string; prompt: string }
  | { type: "command"; command: "orch.start" | "orch.do" | "orch.project.add" | "orch.search" };
