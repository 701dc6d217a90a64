/** Keeps the model what the hub says: read once, then followed by number, over every loss of the connection. */

import type { Model, Snapshot } from "../model";
import { call, on, type Connection, type Event, type MethodName, type Methods } from "../protocol";

const PAGE = 1_000;
const FAR_BEHIND = 20_000;

export class Stream {
  private connection: Connection | undefined;
  /** Events that came while the lists were being read; undefined once they are. */
  private held: Event[] | undefined;

  constructor(
    private readonly model: Model,
    private readonly failed: (error: unknown) => void,
  ) {}

  /** Take a connection up: all that happened since the last one is taken in, nothing twice. */
  connect(connection: Connection): void {
    this.connection = connection;
    this.held = undefined;
    on(connection, "orch/event", ({ event }) => {
      if (this.connection !== connection) return;
      if (this.held) this.held.push(event);
      else this.model.apply(event);
    });
    const begin = () =>
      void this.begin(connection).catch((error: unknown) => {
        if (this.connection === connection) this.failed(error);
      });
    on(connection, "orch/event/lost", begin); // this editor did not read fast enough
    begin();
  }

  private async begin(connection: Connection): Promise<void> {
    if (this.model.loaded && (await this.resume(connection))) return;
    this.held = [];
    const { lastSeq } = await call(connection, "orch/event/subscribe", {});
    const snapshot = await read(connection, lastSeq);
    if (this.connection !== connection) return;
    this.model.reset(snapshot);
    for (const event of this.held) this.model.apply(event);
    this.held = undefined;
  }

  /** Go on behind the last event; false where reading everything anew is better, or is the only way. */
  private async resume(connection: Connection): Promise<boolean> {
    const { lastSeq, subscription } = await call(connection, "orch/event/subscribe", { after: this.model.seq });
    if (lastSeq >= this.model.seq && lastSeq - this.model.seq <= FAR_BEHIND) return true;
    await call(connection, "orch/event/unsubscribe", { subscription });
    return false;
  }
}

async function read(connection: Connection, seq: number): Promise<Snapshot> {
  const [sessions, projects, artifacts, dashboard, recent] = await Promise.all([
    all(connection, "orch/session/list", { includeArchived: true, includeDeleted: true }),
    all(connection, "orch/project/list", {}),
    all(connection, "orch/artifact/list", {}),
    call(connection, "orch/dashboard/get", {}),
    call(connection, "orch/event/list", { after: Math.max(0, seq - PAGE), limit: PAGE }),
  ]);
  return {
    seq,
    sessions,
    projects,
    artifacts,
    collisions: dashboard.collisions,
    recent: recent.items.filter((event) => event.seq <= seq),
  };
}

type Listing = {
  [M in MethodName]: Methods[M]["result"] extends { nextCursor: string | null } ? M : never;
}[MethodName];
type Item<M extends Listing> = Methods[M]["result"] extends { items: (infer T)[] } ? T : never;

/** Read a list to its end. */
export async function all<M extends Listing>(
  connection: Connection,
  method: M,
  params: Methods[M]["params"],
): Promise<Item<M>[]> {
  const found: Item<M>[] = [];
  let cursor: string | null = null;
  do {
    const page = (await connection.sendRequest(method, { ...params, limit: PAGE, cursor })) as {
      items: Item<M>[];
      nextCursor: string | null;
    };
    found.push(...page.items);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return found;
}
