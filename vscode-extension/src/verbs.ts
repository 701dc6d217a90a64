/** What can be done with a session, and when: menus, pickers and the session's page all ask here. */

import type { InputRequest, Session, State } from "./protocol";

const ENDED: readonly State[] = ["completed", "failed", "stopped"];
const LIVE: readonly State[] = ["created", "running", "waiting_for_user"];

const isEnded = (session: Session) => ENDED.includes(session.state);
const isHere = (session: Session) => session.state !== "deleted";
const takesTexts = (session: Session) => isHere(session) && session.state !== "archived";
const hasFiles = (session: Session) => isHere(session) && session.worktreePath !== null;
const isApproval = (request: InputRequest) => request.kind === "approval";

/** When a verb makes sense; by its name, which is also the end of its command's. */
export const VERBS = {
  open: () => true,
  answer: (session) => session.inputRequests.length > 0,
  approve: (session) => session.inputRequests.some(isApproval),
  deny: (session) => session.inputRequests.some(isApproval),
  followUp: takesTexts,
  unqueue: (session) => session.queued.length > 0,
  stop: (session) => LIVE.includes(session.state),
  resume: isEnded,
  diff: isHere,
  diffFile: isHere,
  openInWorkspace: hasFiles,
  openInNewWindow: hasFiles,
  openTerminal: hasFiles,
  reveal: hasFiles,
  commit: (session) => hasFiles(session) && isEnded(session),
  apply: (session) => hasFiles(session) && takesTexts(session),
  undoApply: (session) => hasFiles(session) && takesTexts(session),
  archive: isEnded,
  unarchive: (session) => session.state === "archived",
  delete: (session) => isEnded(session) || session.state === "archived",
  restore: (session) => session.state === "deleted" || session.attention.includes("worktree_missing"),
  purge: (session) => session.state === "deleted",
  rename: isHere,
  setPolicy: takesTexts,
  showLog: () => true,
  showTranscript: () => true,
  copyId: () => true,
} as const satisfies Record<string, (session: Session) => boolean>;

export type Verb = keyof typeof VERBS;

export function verbsOf(session: Session): Verb[] {
  return (Object.keys(VERBS) as Verb[]).filter((verb) => VERBS[verb](session));
}

/** Whether an answer lets the agent do what it asked for. */
export function allows(kind: InputRequest["options"][number]["kind"]): boolean {
  return kind === "allow_once" || kind === "allow_always";
}

/** The option by which an approval is granted once, or refused once. */
export function optionFor(request: InputRequest, verb: "approve" | "deny"): string | undefined {
  const wanted = verb === "approve" ? ["allow_once", "allow_always"] : ["reject_once", "reject_always"];
  return wanted.flatMap((kind) => request.options.filter((option) => option.kind === kind))[0]?.id;
}
