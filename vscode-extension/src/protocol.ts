// Generated: change the source and run `make gen`.

export const PROTOCOL_VERSION = 1;

/** The codes of errors by their kind, which is in an error's `data.kind`. */
export const ERROR_CODES = {
  invalidRequest: -32600,
  unknownMethod: -32601,
  invalidParams: -32602,
  internal: -32603,
  cancelled: -32800,
  notInitialized: -32002,
  notFound: -32010,
  illegalTransition: -32011,
  agentUnavailable: -32012,
  gitFailed: -32013,
  stalePreview: -32014,
  alreadyAnswered: -32015,
  busy: -32016,
  notTrusted: -32017,
  diskFull: -32018,
  databaseUnusable: -32019,
  protocolMismatch: -32020,
  forbidden: -32021,
  requestKeyReused: -32022,
  conflict: -32023,
} as const;

/** Which state may follow which; anything else is refused with `illegalTransition`. */
export const TRANSITIONS: Readonly<Record<State, readonly State[]>> = {
  created: ["failed", "running", "stopped"],
  running: ["completed", "failed", "stopped", "waiting_for_user"],
  waiting_for_user: ["completed", "failed", "running", "stopped"],
  completed: ["archived", "deleted", "running"],
  failed: ["archived", "deleted", "running"],
  stopped: ["archived", "deleted", "running"],
  archived: ["completed", "deleted", "failed", "stopped"],
  deleted: ["archived", "completed", "failed", "stopped"],
};

/** What an agent is sent to do. */
export type Action = "analyze" | "review" | "implement" | "plan";

/** A repository to register. */
export interface AddProject {
  /** The repository, or any folder in it; its real top level is taken. */
  path: string;
  name?: string | null;
  defaultBranch?: string | null;
}

/** What a session's files are compared with. */
export type Against = "base" | "head" | "turn";

/** An agent as a client can use it. */
export interface AgentInfo {
  name: string;
  displayName: string;
  available: boolean;
  version: string | null;
  path: string | null;
  protocol: string;
  capabilities: Capabilities;
  hint: string;
}

/** All known agents. */
export interface AgentList {
  items: AgentInfo[];
}

/** What was, or would be, brought into the project's checkout. */
export interface Applied {
  preview: ApplyPreview;
  applied: boolean;
  message: string;
}

/** What would change in the checkout, and what stands against it. */
export interface ApplyPreview {
  /** What would change, without patches. */
  files: DiffFile[];
  conflicts: Conflict[];
}

/** How a session's work comes into the project's checkout. */
export interface ApplySession {
  /** Its id, or a unique beginning of it. */
  session: string;
  /** `patch` changes files and commits nothing; the others make commits on the branch checked out. */
  strategy?: Strategy;
  /** Only say what it would do. */
  preview?: boolean;
  /** Take the last application of this session back instead. */
  undo?: boolean;
}

/** One answer that an approval allows. */
export interface ApprovalOption {
  id: string;
  label: string;
  kind: OptionKind;
}

/** A file that a session leaves, kept under a name of ours. */
export interface Artifact {
  id: string;
  sessionId: string;
  projectId: string;
  kind: ArtifactKind;
  name: string;
  path: string;
  mediaType: string;
  bytes: number;
  createdAt: string;
}

/** An artifact with its content, as text or, where it is no UTF-8, as base64. */
export interface ArtifactContent {
  artifact: Artifact;
  text: string | null;
  base64: string | null;
}

/** What an artifact is. */
export type ArtifactKind = "plan" | "report" | "diff" | "transcript" | "file";

/** Some artifacts, newest first. */
export interface ArtifactPage {
  items: Artifact[];
  nextCursor: string | null;
}

/** What happened behind our back: shown beside the state, never repaired by deleting. */
export type Attention = "worktree_missing" | "worktree_replaced" | "worktree_moved" | "branch_missing" | "branch_moved" | "project_missing" | "disk_full" | "unadopted" | "silent" | "snapshot_failed" | "read_only_changed" | "setup_failed";

/** What an agent program can do, as `orch/agent/list` tells it. */
export interface Capabilities {
  resume: boolean;
  followUp: "queue" | "steer" | "none";
  approvals: boolean;
  questions: boolean;
  readOnly: boolean;
  model: boolean;
}

/** How much a session's worktree differs from where it began, uncommitted work included. */
export interface Changes {
  files: number;
  insertions: number;
  deletions: number;
}

/** Something that the text leaves open, and what it may be. */
export interface Choice {
  field: string;
  options: string[];
}

/** Which paths are wanted, and by whom. */
export interface ClaimPaths {
  /** Its id or slug. */
  project: string;
  /** From the top of the project; a folder stands for all in it. */
  paths: string[];
  /** Who holds them; the user if left out. */
  session?: string | null;
}

/** A merge that would not go through, predicted. */
export interface Collision {
  /** The same as long as it is about the same two. */
  id: string;
  projectId: string;
  against: CollisionAgainst;
  /** The sides, in order; null is the base branch or the checkout. */
  sessions: [string, string | null];
  files: CollisionFile[];
  detectedAt: string;
}

/** What a session collides with. */
export type CollisionAgainst = "session" | "base" | "checkout";

/** One file in which two sides collide. */
export interface CollisionFile {
  path: string;
  kind: CollisionKind;
  /** Empty where the lines are not what does not go together. */
  hunks: CollisionHunk[];
  /** What each side itself calls it; null where a side does not have it. */
  sidePaths: [string | null, string | null];
}

/** The lines of each side that do not go together, in each side's own numbers. */
export interface CollisionHunk {
  sides: [LineRange, LineRange];
}

/** How two sides of one file collide. */
export type CollisionKind = "content" | "add_add" | "modify_delete" | "rename";

/** What would not merge now. */
export interface CollisionList {
  items: Collision[];
}

/** A task as the user gave it: who is to do what, where, with which words. */
export interface Command {
  id: string;
  agent: string;
  action: Action;
  projectId: string;
  scopePath: string | null;
  prompt: string;
  model: string | null;
  text: string | null;
  sessionId: string;
  createdAt: string;
}

/** Some commands, newest first. */
export interface CommandPage {
  items: Command[];
  nextCursor: string | null;
}

/** A commit on a session's branch. */
export interface CommitSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  /** What it says; else the session's title and prompt. */
  message?: string | null;
}

/** A commit and the files that it changed; without files there was nothing to commit. */
export interface Committed {
  commit: string;
  files: DiffFile[];
}

/** A file that cannot be brought together. */
export interface Conflict {
  path: string;
  kind: ConflictKind;
}

/** Why a file cannot be brought together with what is there. */
export type ConflictKind = "content" | "add_add" | "modify_delete" | "rename" | "uncommitted" | "in_the_way" | "submodule";

/** What a user wants to see first. */
export interface Dashboard {
  projects: Project[];
  sessionsByState: Record<string, number>;
  active: Session[];
  waiting: Session[];
  failures: Session[];
  collisions: Collision[];
  recentEvents: Event[];
  /** Over for now, with changes in their worktrees; the newest. */
  changed: Session[];
  /** What all sessions together have used. */
  usage: Usage;
}

/** What to take away. */
export interface DeleteSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  /** The session's branch too; a restore brings it back. */
  deleteBranch?: boolean;
  /** Of a preview: act on exactly what it showed, or refuse. */
  token?: string | null;
  /** Remove it for good, now. Needs a token. */
  purge?: boolean;
}

/** A session in the trash. */
export interface DeletedSession {
  session: Session;
  /** Until when it can be restored at least; null once it is purged. */
  keptUntil: string | null;
}

/** All files that differ, and by how much. */
export interface Diff {
  files: DiffFile[];
  insertions: number;
  deletions: number;
}

/** One file that differs. */
export interface DiffFile {
  /** A name that is not UTF-8 shows its other bytes as \xNN. */
  path: string;
  /** Where it was, if it was renamed. */
  oldPath: string | null;
  status: FileStatus;
  insertions: number;
  deletions: number;
  binary: boolean;
  /** Unified text; null if `truncated`. */
  patch: string | null;
  /** Whether the patch is left out for its size. */
  truncated: boolean;
}

/** What to compare a session's files with. */
export interface DiffSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  against?: Against;
  paths?: string[];
}

/** One piece of a conversation. */
export interface Entry {
  seq: number;
  turn: number | null;
  role: Role;
  kind: EntryKind;
  text: string;
  at: string;
}

/** What an entry is. */
export type EntryKind = "message" | "thought" | "tool" | "plan" | "input";

/** `orch/event/lost`: the client did not read fast enough; subscribe again with `after`. */
export interface EventLostNotification {
  subscription: string;
  resumeAfter: number;
}

/** `orch/event`: something happened. */
export interface EventNotification {
  subscription: string;
  event: Event;
}

/** Some events, ascending. */
export interface EventPage {
  items: Event[];
  /** The number of the last item, or `after`. */
  lastSeq: number;
}

/** The content of a file, as text or, where it is no UTF-8, as base64; neither where there was no such file. */
export interface FileBefore {
  present: boolean;
  text: string | null;
  base64: string | null;
}

/** What happened to a file. */
export type FileStatus = "added" | "modified" | "deleted" | "renamed" | "type_changed";

/** A text of the user that the agent has not acknowledged yet. */
export interface FollowUp {
  id: string;
  text: string;
  mode: FollowUpMode;
  at: string;
  /** `uncertain`: the agent died before it acknowledged the text; it is not sent again by itself. */
  status: FollowUpStatus;
}

/** When a further text reaches the agent. */
export type FollowUpMode = "queue" | "steer";

/** A further text for the agent. */
export interface FollowUpSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  text: string;
  mode?: FollowUpMode;
}

/** How far a text of the user has come. */
export type FollowUpStatus = "queued" | "sent" | "uncertain";

/** How the hub is. */
export interface HubStatus {
  version: string;
  protocolVersion: number;
  pid: number;
  startedAt: string;
  home: string;
  database: string;
  socket: string;
  connections: number;
  /** Agent processes that live. */
  runs: number;
  /** Sessions that wait for a place, a client or a limit to end. */
  queued: number;
  sessionsByState: Record<string, number>;
  /** The size of the database. */
  dataBytes: number;
}

/** Something an agent asks of the user, and waits for. */
export interface InputRequest {
  id: string;
  kind: InputRequestKind;
  title: string;
  detail: string;
  tool: string;
  options: ApprovalOption[];
  questions: Question[];
  askedAt: string;
}

/** Whether the agent wants leave to do something, or to know something. */
export type InputRequestKind = "approval" | "question";

/** A path that a session, or the user, wants for itself for a while. */
export interface Lease {
  id: string;
  projectId: string;
  /** Null where the user holds it. */
  sessionId: string | null;
  /** From the top of the project; a directory stands for all that lies in it. */
  path: string;
  createdAt: string;
}

/** Who wants which paths for itself. */
export interface LeaseList {
  items: Lease[];
}

/** Lines of one side, counted from 1, both ends included. */
export interface LineRange {
  startLine: number;
  /** startLine - 1 where the side has no lines there: it deleted them, say. */
  endLine: number;
}

/** Which artifacts. */
export interface ListArtifacts {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
  project?: string | null;
  session?: string | null;
  kinds?: ArtifactKind[] | null;
}

/** Which collisions. */
export interface ListCollisions {
  project?: string | null;
  session?: string | null;
}

/** Which commands. */
export interface ListCommands {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
  project?: string | null;
}

/** Which events, and how many. */
export interface ListEvents {
  /** Only events with a number above this. */
  after?: number | null;
  project?: string | null;
  session?: string | null;
  /** `session.*` takes all that begin so. */
  types?: string[] | null;
  limit?: number;
}

/** Which leases. */
export interface ListLeases {
  project?: string | null;
}

/** Which page of the projects. */
export interface ListProjects {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
}

/** Which sessions. */
export interface ListSessions {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
  project?: string | null;
  agent?: string | null;
  states?: State[] | null;
  includeArchived?: boolean;
  includeDeleted?: boolean;
}

/** The last lines of an agent's standard error. */
export interface LogTail {
  lines: string[];
  /** Whether there are more lines before these. */
  truncated: boolean;
}

/** A commit that only this session's branch or HEAD leads to. */
export interface LonelyCommit {
  commit: string;
  subject: string;
}

/** In which order ended sessions come home so that the fewest conflict. */
export interface MergePlan {
  /** Sessions that ended and did something that is not at home yet. */
  order: string[];
  /** Pairs that collide; first those without which more sessions would come home together. */
  settleFirst: [string, string][];
}

/** Which artifact. */
export interface NamedArtifact {
  artifact: string;
}

/** Which project. */
export interface NamedProject {
  /** Its id or slug. */
  project: string;
}

/** Which session. */
export interface NamedSession {
  /** Its id, or a unique beginning of it. */
  session: string;
}

/** Which subscription. */
export interface NamedSubscription {
  subscription: string;
}

/** What choosing an option of an approval means, whatever the agent calls it. */
export type OptionKind = "allow_once" | "allow_always" | "reject_once" | "reject_always";

/** A text that asks an agent for something. */
export interface ParseCommand {
  text: string;
  /** Meant where the text names none: id or slug. */
  project?: string | null;
}

/** What was understood of a text, and what was not. */
export interface Parsed {
  agent: string | null;
  action: Action | null;
  project: string | null;
  scopePath: string | null;
  prompt: string | null;
  model: string | null;
  problems: string[];
  candidates: Choice[];
}

/** One step of an agent's plan. */
export interface PlanEntry {
  text: string;
  /** pending, in_progress or completed. */
  status: string;
}

/** Whose sessions to bring home. */
export interface PlanMerge {
  /** Its id or slug. */
  project: string;
}

/** How an agent's requests for approval are decided without the user. */
export type Policy = "ask" | "auto_edit" | "auto_all" | "deny";

/** What a delete would take away. It takes nothing that `orch/session/restore` does not give back. */
export interface Preview {
  session: Session;
  /** Pass it to `orch/session/delete`: it then acts on exactly this, or refuses. */
  token: string;
  worktree: WorktreeContents | null;
  /** The newest hundred at most. */
  commitsOnlyHere: LonelyCommit[];
  branch: string | null;
  artifacts: number;
  /** Bytes of its log and of what its agents wrote. */
  logs: number;
  processes: WorkingProcess[];
  /** Until when it can be restored at least. */
  keptUntil: string;
  /** What could not be looked at. It is kept like everything else. */
  unknown: string[];
  /** Why a delete would be refused now. */
  blockers: string[];
}

/** A git repository in which agents may be sent to work. */
export interface Project {
  id: string;
  /** Its short name, unique: `[a-z0-9][a-z0-9-]{0,31}`. */
  slug: string;
  name: string;
  /** The repository's real top level. */
  path: string;
  /** Where new worktrees start; null: what is checked out. */
  defaultBranch: string | null;
  /** Whether the project's own hooks, set-up commands and smudge filters may run. */
  trusted: boolean;
  /** The approval policy of new sessions; null: the action's default. */
  policy: Policy | null;
  /** What is run in a new worktree before its agent starts, while the project is trusted. */
  setup: string | null;
  /** How long that may take. */
  setupSeconds: number;
  /** How many worktrees are kept ready for new sessions. */
  spares: number;
  createdAt: string;
  sessionCount: number;
  /** Whether the repository is not at its path any more. */
  missing: boolean;
}

/** Some projects, in order of their slugs. */
export interface ProjectPage {
  items: Project[];
  nextCursor: string | null;
}

/** One question of an agent to the user. */
export interface Question {
  id: string;
  header: string;
  text: string;
  options: QuestionOption[];
  multiSelect: boolean;
  allowsText: boolean;
  /** Whether the answer must not be stored or shown. */
  secret: boolean;
}

/** The answer to one question. */
export interface QuestionAnswer {
  questionId: string;
  optionIds: string[];
  text: string | null;
}

/** One answer that a question suggests. */
export interface QuestionOption {
  id: string;
  label: string;
  description: string;
}

/** Which file, and as of when. */
export interface ReadFileBefore {
  /** Its id, or a unique beginning of it. */
  session: string;
  /** From the top of the repository, as `orch/session/diff` names it. */
  path: string;
  against?: Against;
}

/** Which part of a conversation. */
export interface ReadTranscript {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
  /** Its id, or a unique beginning of it. */
  session: string;
}

/** Why a session is in its state. */
export type Reason = "provisioning" | "starting" | "waiting_for_client" | "queued_by_limit" | "parked_until_reset" | "turn_ended" | "agent_error" | "api_error" | "usage_limit" | "not_logged_in" | "agent_unavailable" | "worktree_failed" | "exited_without_result" | "killed" | "lost" | "machine_restarted" | "output_limit" | "silent_limit" | "disk_full" | "user_stopped" | "refused";

/** Which lease to end. */
export interface ReleaseLease {
  lease: string;
}

/** The answer to an input request. */
export interface RespondToInput {
  /** Its id, or a unique beginning of it. */
  session: string;
  inputRequestId: string;
  optionId?: string | null;
  text?: string | null;
  answers?: QuestionAnswer[];
}

/** How to go on. */
export interface ResumeSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  text?: string | null;
  /** Begin a new conversation of the agent, with what was said so far as its context. */
  anew?: boolean;
}

/** Whose words an entry holds. */
export type Role = "user" | "agent" | "system";

/** What to look for. */
export interface Search {
  limit?: number;
  /** `nextCursor` of the page before. */
  cursor?: string | null;
  /** Words that must all occur; `word*` for a beginning. */
  query: string;
  project?: string | null;
  agent?: string | null;
  kinds?: EntryKind[] | null;
}

/** A place where words were found. */
export interface SearchHit {
  sessionId: string;
  seq: number;
  kind: string;
  snippet: string;
  at: string;
}

/** Some hits, newest first. */
export interface SearchPage {
  items: SearchHit[];
  nextCursor: string | null;
}

/** A conversation with one agent about one task. */
export interface Session {
  /** 12 characters of lower-case base32. */
  id: string;
  projectId: string;
  projectSlug: string;
  commandId: string;
  agent: string;
  action: Action;
  title: string;
  prompt: string;
  scopePath: string | null;
  model: string | null;
  policy: Policy;
  state: State;
  reason: Reason | null;
  /** What a person should know about the reason. */
  message: string;
  attention: Attention[];
  branch: string | null;
  baseCommit: string | null;
  worktreePath: string | null;
  /** The agent's own name of the conversation. */
  agentSessionId: string | null;
  /** The agent's process, while it lives. */
  pid: number | null;
  exitCode: number | null;
  turns: number;
  queued: FollowUp[];
  inputRequests: InputRequest[];
  usage: Usage;
  changes: Changes | null;
  collisions: number;
  createdAt: string;
  startedAt: string | null;
  endedAt: string | null;
  updatedAt: string;
  /** How an archived or deleted session had ended: completed, failed or stopped. */
  stateBefore: State | null;
  /** Since when nothing but numbers and ids is left of it; it is in no list any more. */
  purgedAt: string | null;
  /** Grows with every change of this object. */
  version: number;
}

/** Some sessions, newest first. */
export interface SessionPage {
  items: Session[];
  nextCursor: string | null;
}

/** What an agent is sent to do. */
export interface StartSession {
  agent: string;
  action: Action;
  /** Its id or slug. */
  project: string;
  /** A path in the project to keep to. */
  scopePath?: string | null;
  /** implement and plan need one. */
  prompt?: string | null;
  model?: string | null;
  /** Where the worktree starts. */
  baseRef?: string | null;
  /** Take the checkout's uncommitted changes along. */
  fromDirty?: boolean;
  title?: string | null;
  policy?: Policy | null;
  /** Report the start as `$/progress` under this token; cancelling it stops the session. */
  workDoneToken?: string | number | null;
}

/** Where a session is in its life. */
export type State = "created" | "running" | "waiting_for_user" | "completed" | "failed" | "stopped" | "archived" | "deleted";

/** How a session's work comes into the checkout. */
export type Strategy = "patch" | "merge" | "squash" | "rebase";

/** A text, or the parameters of `orch/session/start`; or both, where the text has been parsed already. */
export interface SubmitCommand {
  /** What the user said. It is parsed where `agent` and `action` are left out, and always kept. */
  text?: string | null;
  agent?: string | null;
  action?: Action | null;
  /** Its id or slug. With a text that is parsed: meant where that names none. */
  project?: string | null;
  /** A path in the project to keep to. */
  scopePath?: string | null;
  /** implement and plan need one. */
  prompt?: string | null;
  model?: string | null;
  /** Where the worktree starts. */
  baseRef?: string | null;
  /** Take the checkout's uncommitted changes along. */
  fromDirty?: boolean;
  title?: string | null;
  policy?: Policy | null;
  /** Report the start as `$/progress` under this token; cancelling it stops the session. */
  workDoneToken?: string | number | null;
}

/** A command, and the session that it started. */
export interface SubmittedCommand {
  command: Command;
  session: Session;
}

/** Which events to hear; with `after` the past ones first. */
export interface SubscribeEvents {
  /** Only events with a number above this. */
  after?: number | null;
  project?: string | null;
  session?: string | null;
  /** `session.*` takes all that begin so. */
  types?: string[] | null;
}

/** A subscription that began. */
export interface Subscribed {
  subscription: string;
  /** The newest event when the subscription began. */
  lastSeq: number;
}

/** How much of the log. */
export interface TailLog {
  /** Its id, or a unique beginning of it. */
  session: string;
  lines?: number;
}

/** Whom to tell of which collision. */
export interface TellCollision {
  collision: string;
  /** The side that is told what the other one changed. */
  session: string;
}

/** Some entries of a conversation, in order. */
export interface TranscriptPage {
  items: Entry[];
  nextCursor: string | null;
}

/** Which queued text to take back. */
export interface UnqueueFollowUp {
  /** Its id, or a unique beginning of it. */
  session: string;
  followUpId: string;
}

/** A file that no commit holds as it is now. */
export interface UnsavedFile {
  path: string;
  /** modified, untracked or ignored; a path that ends in / is a repository of its own. */
  kind: string;
  bytes: number;
}

/** What to change of a project; what is left out stays. */
export interface UpdateProject {
  /** Its id or slug. */
  project: string;
  name?: string | null;
  defaultBranch?: string | null;
  trusted?: boolean | null;
  policy?: Policy | null;
  /** A shell command to run in new worktrees; trusted projects only. Empty: none. */
  setup?: string | null;
  setupSeconds?: number | null;
  /** Keep so many worktrees ready for new sessions. */
  spares?: number | null;
}

/** What to change of a session; what is left out stays. */
export interface UpdateSession {
  /** Its id, or a unique beginning of it. */
  session: string;
  title?: string | null;
  policy?: Policy | null;
}

/** What a session has used so far, over all of its runs. */
export interface Usage {
  inputTokens: number;
  outputTokens: number;
  /** Null where the agent does not tell. */
  costUsd: number | null;
}

/** A process that works in the worktree. */
export interface WorkingProcess {
  pid: number;
  name: string;
}

/** What lies in a session's worktree. Numbers are of files. */
export interface WorktreeContents {
  path: string;
  present: boolean;
  bytes: number;
  files: number;
  modified: number;
  staged: number;
  untracked: number;
  ignored: number;
  /** Modified files that `git status` does not show (assume-unchanged, skip-worktree). */
  hidden: number;
  /** The twenty largest of those that no commit holds. */
  largest: UnsavedFile[];
  /** Repositories within; their commits are in the worktree alone. */
  nested: string[];
  /** rebase, merge, cherry-pick, revert or bisect, if one is under way. */
  operation: string | null;
}

/** What an event tells, by its type. */
export interface EventData {
  /** A repository became a project. */
  "project.registered": {
    project: Project;
  };
  /** A project's name, branch, trust or policy changed. */
  "project.updated": {
    project: Project;
  };
  /** A project was forgotten; none of its files was touched. */
  "project.removed": {
    project: Project;
  };
  /** A user gave a task. */
  "command.submitted": {
    command: Command;
  };
  /** A text could not be understood as a command. */
  "command.rejected": {
    text: string;
    problems: string[];
  };
  /** A session was recorded; it has no process yet. */
  "session.created": {
    session: Session;
  };
  /** A session went from one state to another, or its reason changed. */
  "session.state_changed": {
    from: State;
    to: State;
    reason: Reason | null;
    session: Session;
  };
  /** Fields of a session changed without a change of state; at most two a second. */
  "session.updated": {
    /** Fields of Session by their wire names, with their new values. */
    changed: Record<string, unknown>;
  };
  /** A session was put away. */
  "session.archived": {
    session: Session;
  };
  /** A session came back from the archive. */
  "session.unarchived": {
    session: Session;
  };
  /** A session went into the trash. */
  "session.deleted": {
    session: Session;
  };
  /** A session came back from the trash. */
  "session.restored": {
    session: Session;
  };
  /** A session's content is gone for good; its numbers and ids stay. */
  "session.purged": {
    session: Session;
  };
  /** A worktree is being made. */
  "worktree.creating": {
    path: string;
    branch: string;
    percent: number | null;
  };
  /** A worktree is ready. */
  "worktree.created": {
    path: string;
    branch: string;
  };
  /** A worktree could not be made. */
  "worktree.failed": {
    path: string;
    branch: string;
    error: string;
  };
  /** A worktree was moved into the trash. */
  "worktree.removed": {
    path: string;
    branch: string;
  };
  /** A worktree came back from the trash. */
  "worktree.restored": {
    path: string;
    branch: string;
  };
  /** What a session changed in its worktree is different now. */
  "worktree.changed": {
    path: string;
    branch: string;
    changes: Changes;
  };
  /** A session's work was committed on its branch, as the user. */
  "worktree.committed": {
    path: string;
    branch: string;
    commit: string;
    files: number;
    /** Of the files; the first 1000 at most. */
    paths: string[];
  };
  /** A session's work came into the project's own checkout. */
  "checkout.applied": {
    /** patch, merge, squash or rebase. */
    strategy: string;
    /** What the checkout's branch is at now; null where nothing was committed. */
    commit: string | null;
    files: number;
    /** Of the files; the first 1000 at most. */
    paths: string[];
    /** The ref that has what was there before. */
    record: string;
  };
  /** An application of a session's work was taken back: the checkout is as it was before. */
  "checkout.undone": {
    files: number;
    /** Of the files; the first 1000 at most. */
    paths: string[];
    /** The ref that had what was there before. */
    record: string;
  };
  /** An agent's process runs. */
  "run.started": {
    pid: number;
  };
  /** A hub that started found an agent's process alive and took it over. */
  "run.adopted": {
    pid: number;
    hubDownSeconds: number;
  };
  /** An agent's process ended. */
  "run.exited": {
    exitCode: number | null;
    signal: number | null;
  };
  /** How an agent's process ended is not known. */
  "run.lost": {
    reason: string;
  };
  /** An agent wrote more than is kept and was stopped. */
  "run.output_limited": {
    bytes: number;
  };
  /** The agent took up a prompt. */
  "turn.started": {
    prompt: string;
  };
  /** The agent's final word on a prompt. */
  "turn.completed": {
    text: string;
    usage: Usage;
  };
  /** A turn ended without the agent's final word, or with an error. */
  "turn.failed": {
    reason: Reason;
    message: string;
  };
  /** The agent says something; the texts of one messageId, in order of seq, are one message. */
  "agent.message": {
    messageId: string;
    text: string;
    final: boolean;
  };
  /** The agent thinks aloud; the texts of one messageId, in order of seq, are one thought. */
  "agent.thought": {
    messageId: string;
    text: string;
    final: boolean;
  };
  /** The agent uses a tool. */
  "agent.tool_started": {
    toolId: string;
    name: string;
    /** read, edit, delete, move, search, execute, think, fetch or other. */
    kind: string;
    title: string;
    paths: string[];
    input: string;
  };
  /** A tool came to its end. */
  "agent.tool_finished": {
    toolId: string;
    ok: boolean;
    output: string;
    truncated: boolean;
  };
  /** The agent's plan as it is now; it replaces the one before. */
  "agent.plan": {
    entries: PlanEntry[];
  };
  /** What the session has used so far. */
  "agent.usage": {
    usage: Usage;
  };
  /** A line of the agent that is no message: its standard error, something unknown, or raw output. */
  "agent.log": {
    /** stderr, unknown, raw, or setup (before the agent starts). */
    stream: string;
    text: string;
  };
  /** The agent asks the user. */
  "input.requested": {
    inputRequest: InputRequest;
  };
  /** A request was answered. */
  "input.answered": {
    inputRequestId: string;
    /** user or policy. */
    by: string;
    optionId: string | null;
  };
  /** A request needs no answer any more. */
  "input.withdrawn": {
    inputRequestId: string;
    reason: string;
  };
  /** A text of the user was taken into the queue. */
  "followup.queued": {
    id: string;
    text: string;
    mode: FollowUpMode;
  };
  /** The agent acknowledged a text of the user. */
  "followup.delivered": {
    id: string;
    text: string;
    mode: FollowUpMode;
  };
  /** The user took a queued text back. */
  "followup.withdrawn": {
    id: string;
    text: string;
    mode: FollowUpMode;
  };
  /** The agent died before it acknowledged a text; the text is back in the queue and is not sent again by itself. */
  "followup.uncertain": {
    id: string;
    text: string;
    mode: FollowUpMode;
  };
  /** A session left a file. */
  "artifact.created": {
    artifact: Artifact;
  };
  /** A file that a session left has new content. */
  "artifact.updated": {
    artifact: Artifact;
  };
  /** Someone looked at what a delete would do. */
  "cleanup.previewed": {
    token: string;
  };
  /** Files changed while a read-only session ran. */
  "project.changed_read_only": {
    paths: string[];
    /** Whether a tool of the session named one of the paths. */
    attributed: boolean;
  };
  /** Two sides would not merge. */
  "collision.detected": {
    collision: Collision;
  };
  /** Two sides would merge again. */
  "collision.cleared": {
    collision: Collision;
  };
  /** A session or the user wants a path for itself. */
  "lease.claimed": {
    lease: Lease;
  };
  /** A session is about to change a path that another one holds; the holder's session is the event's. */
  "lease.contested": {
    lease: Lease;
    /** The session that names the path. */
    by: string;
    path: string;
  };
  /** A lease ended. */
  "lease.released": {
    lease: Lease;
  };
  /** A hub began to serve. */
  "hub.started": {
    version: string;
  };
  /** A hub took over what the one before it left. */
  "hub.recovered": {
    adopted: number;
    lost: number;
    resent: number;
  };
  /** A hub is about to leave; agents run on. */
  "hub.stopping": {
    reason: string;
  };
}

export type EventType = keyof EventData;

/** An event of one type; `data` is empty once its session was purged. */
export interface EventOf<T extends EventType> {
  seq: number;
  id: string;
  type: T;
  at: string;
  projectId: string | null;
  sessionId: string | null;
  runId: string | null;
  turn: number | null;
  data: EventData[T];
}

/** Something that happened, numbered over the whole hub without gaps. */
export type Event = { [T in EventType]: EventOf<T> }[EventType];

/** What each method takes and gives. */
export interface Methods {
  /** Say how the hub is; the health check. */
  "orch/hub/status": { params: object; result: HubStatus };
  /** Ask the hub to leave; agents run on, and the next hub adopts them. */
  "orch/hub/shutdown": { params: object; result: object };
  /** Return the registered projects. */
  "orch/project/list": { params: ListProjects; result: ProjectPage };
  /** Register a git repository; the same path again returns the same project. */
  "orch/project/add": { params: AddProject; result: Project };
  /** Return one project. */
  "orch/project/get": { params: NamedProject; result: Project };
  /** Change a project's name, default branch, trust, policy, or how its worktrees begin. */
  "orch/project/update": { params: UpdateProject; result: Project };
  /** Forget a project that has no sessions left; no file is deleted. */
  "orch/project/remove": { params: NamedProject; result: object };
  /** Return the agents, seen with the caller's PATH: which are installed, what they can, how to get the others. */
  "orch/agent/list": { params: object; result: AgentList };
  /** Say what a text asks for and what of it is not clear; nothing is started. */
  "orch/command/parse": { params: ParseCommand; result: Parsed };
  /** Send an agent to work, by a text or by fields; an unclear text gets its parse in the data of the error. */
  "orch/command/submit": { params: SubmitCommand; result: SubmittedCommand };
  /** Return what was asked for, the newest first. */
  "orch/command/list": { params: ListCommands; result: CommandPage };
  /** Send an agent to work; the reply leaves as soon as the session is recorded. */
  "orch/session/start": { params: StartSession; result: Session };
  /** Return sessions, newest first; archived and deleted ones only where asked for. */
  "orch/session/list": { params: ListSessions; result: SessionPage };
  /** Return one session. */
  "orch/session/get": { params: NamedSession; result: Session };
  /** Change a session's title or policy. */
  "orch/session/update": { params: UpdateSession; result: Session };
  /** Give a session a further text: after the running turn, into it, or by resuming the conversation. */
  "orch/session/followUp": { params: FollowUpSession; result: Session };
  /** Take a queued text back. */
  "orch/session/unqueue": { params: UnqueueFollowUp; result: Session };
  /** Answer an approval or a question; the first answer wins. */
  "orch/session/respond": { params: RespondToInput; result: Session };
  /** End a session's work with its whole process tree; an ended session is left as it is. */
  "orch/session/stop": { params: NamedSession; result: Session };
  /** Go on with an ended session in the agent's own conversation, or anew with the transcript as context. */
  "orch/session/resume": { params: ResumeSession; result: Session };
  /** Return the end of what the agent wrote to its standard error. */
  "orch/session/logTail": { params: TailLog; result: LogTail };
  /** Return how a session's files differ, uncommitted work included. */
  "orch/session/diff": { params: DiffSession; result: Diff };
  /** Return a file as it was where `orch/session/diff` begins to compare. */
  "orch/session/fileBefore": { params: ReadFileBefore; result: FileBefore };
  /** Return a session's conversation: what was said, thought, done and asked. */
  "orch/session/transcript": { params: ReadTranscript; result: TranscriptPage };
  /** Put an ended session away; nothing of it is removed, and an archived one is left as it is. */
  "orch/session/archive": { params: NamedSession; result: Session };
  /** Bring an archived session back to the state it was in. */
  "orch/session/unarchive": { params: NamedSession; result: Session };
  /** Return what a delete would take away, and what of it exists nowhere else. */
  "orch/session/cleanupPreview": { params: NamedSession; result: Preview };
  /** Move a session with its worktree into the trash; a deleted one gets the same reply again. */
  "orch/session/delete": { params: DeleteSession; result: DeletedSession };
  /** Bring a session back from the trash; or a worktree that something removed, from its last snapshot. */
  "orch/session/restore": { params: NamedSession; result: Session };
  /** Commit all that lies in a session's worktree on its branch, as the user. */
  "orch/session/commit": { params: CommitSession; result: Committed };
  /** Bring a session's work into the project's checkout; refused on a conflict or over work that is not committed. */
  "orch/session/apply": { params: ApplySession; result: Applied };
  /** Return the pairs of sides that would not merge, with the lines of each side. */
  "orch/collision/list": { params: ListCollisions; result: CollisionList };
  /** Return in which order to bring ended sessions home, and which pair to settle first. */
  "orch/collision/plan": { params: PlanMerge; result: MergePlan };
  /** Give a session a follow-up that says what the other side changed, with the hunks. */
  "orch/collision/tell": { params: TellCollision; result: Session };
  /** Want paths for oneself: an agent that is about to change one of them has to ask. Refused if another holds one. */
  "orch/lease/claim": { params: ClaimPaths; result: LeaseList };
  /** End a lease. */
  "orch/lease/release": { params: ReleaseLease; result: object };
  /** Return the leases there are. */
  "orch/lease/list": { params: ListLeases; result: LeaseList };
  /** Return the files that sessions left, the newest first. */
  "orch/artifact/list": { params: ListArtifacts; result: ArtifactPage };
  /** Return the content of an artifact. */
  "orch/artifact/read": { params: NamedArtifact; result: ArtifactContent };
  /** Return past events, ascending; a page also ends at 8 MiB. */
  "orch/event/list": { params: ListEvents; result: EventPage };
  /** Begin to send events as notifications; the reply precedes them. */
  "orch/event/subscribe": { params: SubscribeEvents; result: Subscribed };
  /** Stop sending events. */
  "orch/event/unsubscribe": { params: NamedSubscription; result: object };
  /** Find words in the prompts and conversations of every agent. */
  "orch/search": { params: Search; result: SearchPage };
  /** Return what runs, what waits for the user, what failed, and what happened last. */
  "orch/dashboard/get": { params: object; result: Dashboard };
}

export type MethodName = keyof Methods;

/** The methods that change something, and so take a `requestKey`. */
export const CHANGING: ReadonlySet<MethodName> = new Set<MethodName>([
  "orch/hub/shutdown",
  "orch/project/add",
  "orch/project/update",
  "orch/project/remove",
  "orch/command/submit",
  "orch/session/start",
  "orch/session/update",
  "orch/session/followUp",
  "orch/session/unqueue",
  "orch/session/respond",
  "orch/session/stop",
  "orch/session/resume",
  "orch/session/archive",
  "orch/session/unarchive",
  "orch/session/delete",
  "orch/session/restore",
  "orch/session/commit",
  "orch/session/apply",
  "orch/collision/tell",
  "orch/lease/claim",
  "orch/lease/release",
]);

/** What the server says by itself. */
export interface Notifications {
  "orch/event": EventNotification;
  "orch/event/lost": EventLostNotification;
}

/** Whatever can send requests and hear notifications: a language client, or a test's own. */
export interface Connection {
  sendRequest(method: string, params: unknown): Promise<unknown>;
  onNotification(method: string, handler: (params: never) => void): { dispose(): void };
}

/** Send a request; one that changes something gets a key of its own, so that sending it again does nothing twice. */
export async function call<M extends MethodName>(
  connection: Connection,
  method: M,
  ...[params]: object extends Methods[M]["params"] ? [params?: Methods[M]["params"]] : [params: Methods[M]["params"]]
): Promise<Methods[M]["result"]> {
  const sent = CHANGING.has(method) ? { requestKey: crypto.randomUUID(), ...params } : (params ?? {});
  return (await connection.sendRequest(method, sent)) as Methods[M]["result"];
}

/** Hear a notification of the server. */
export function on<N extends keyof Notifications>(
  connection: Connection,
  name: N,
  handler: (params: Notifications[N]) => void,
): { dispose(): void } {
  return connection.onNotification(name, handler);
}
