/**
 * What the hub told, folded into one picture that every view is drawn from. Knows nothing of the editor.
 *
 * An event is taken once: `seq` is the only order, and one that is not above the last is left out, so a stream that is
 * resumed with some overlap doubles nothing. A session's `version` decides between a list and an event.
 */

import type { Artifact, Collision, Event, Project, Session } from "./protocol";

/** What is fetched when a connection begins; the events above `seq` are folded over it. */
export interface Snapshot {
  seq: number;
  sessions: Session[];
  projects: Project[];
  artifacts: Artifact[];
  collisions: Collision[];
  recent: Event[];
}

/** What an event, or a new snapshot, changed. */
export interface Change {
  /** The event, or undefined where everything was read anew. */
  event?: Event;
  /** A session that is new, gone, or in another state: its place in the lists may be another one. */
  moved: boolean;
}

type Listener = (change: Change) => void;

export class Model {
  static readonly MOST_RECENT = 1_000;

  readonly sessions = new Map<string, Session>();
  readonly projects = new Map<string, Project>();
  readonly artifacts = new Map<string, Artifact>();
  readonly collisions = new Map<string, Collision>();
  /** The latest events, ascending. */
  recent: Event[] = [];
  /** The last event that was folded in. */
  seq = 0;
  /** Whether a snapshot was ever taken in: before, nothing is known, which is not the same as that there is nothing. */
  loaded = false;

  private readonly listeners = new Set<Listener>();

  onDidChange(listener: Listener): { dispose(): void } {
    this.listeners.add(listener);
    return { dispose: () => this.listeners.delete(listener) };
  }

  /** Begin anew from what was fetched. */
  reset(snapshot: Snapshot): void {
    fill(this.sessions, snapshot.sessions);
    fill(this.projects, snapshot.projects);
    fill(this.artifacts, snapshot.artifacts);
    fill(this.collisions, snapshot.collisions);
    this.recent = snapshot.recent.slice(-Model.MOST_RECENT);
    this.seq = snapshot.seq;
    this.loaded = true;
    this.tell({ moved: true });
  }

  /** Fold an event in; one that was folded already changes nothing. */
  apply(event: Event): void {
    if (event.seq <= this.seq) return;
    this.seq = event.seq;
    this.recent.push(event);
    if (this.recent.length > Model.MOST_RECENT * 1.5) this.recent = this.recent.slice(-Model.MOST_RECENT);
    this.tell({ event, moved: this.fold(event) });
  }

  /** The sessions that a user has not put away. */
  visibleSessions(): Session[] {
    return [...this.sessions.values()].filter((session) => session.state !== "deleted" && session.state !== "archived");
  }

  waiting(): Session[] {
    return this.visibleSessions().filter((session) => session.state === "waiting_for_user");
  }

  collisionsOf(session: string): Collision[] {
    return [...this.collisions.values()].filter((collision) => collision.sessions.includes(session));
  }

  private fold(event: Event): boolean {
    if (Object.keys(event.data).length === 0) return false; // its session was purged
    switch (event.type) {
      case "session.created":
      case "session.state_changed":
      case "session.archived":
      case "session.unarchived":
      case "session.deleted":
      case "session.restored":
        return this.keep(event.data.session);
      case "session.purged":
        return this.sessions.delete(event.data.session.id);
      case "session.updated":
        return this.update(event.sessionId, event.data.changed);
      case "project.registered":
      case "project.updated":
        this.projects.set(event.data.project.id, event.data.project);
        return true;
      case "project.removed":
        return this.projects.delete(event.data.project.id);
      case "artifact.created":
      case "artifact.updated":
        this.artifacts.set(event.data.artifact.id, event.data.artifact);
        return false;
      case "collision.detected":
        this.collisions.set(event.data.collision.id, event.data.collision);
        return true;
      case "collision.cleared":
        return this.collisions.delete(event.data.collision.id);
      default:
        return false;
    }
  }

  private keep(session: Session): boolean {
    const known = this.sessions.get(session.id);
    if (known && known.version > session.version) return false;
    this.sessions.set(session.id, session);
    return known?.state !== session.state || known.projectId !== session.projectId;
  }

  private update(id: string | null, changed: Partial<Session>): boolean {
    const known = id === null ? undefined : this.sessions.get(id);
    if (!known || (changed.version ?? Infinity) < known.version) return false;
    this.sessions.set(known.id, { ...known, ...changed });
    return changed.state !== undefined && changed.state !== known.state;
  }

  private tell(change: Change): void {
    for (const listener of this.listeners) listener(change);
  }
}

function fill<T extends { id: string }>(map: Map<string, T>, items: T[]): void {
  map.clear();
  for (const item of items) map.set(item.id, item);
}
