/** Says when a session begins to wait for the user, or failed; what it asks can be answered there. */

import * as vscode from "vscode";

import { answer } from "./commands/answering";
import type { Orch } from "./orch";
import type { InputRequest, Session } from "./protocol";
import { short } from "./readable";
import { allows } from "./verbs";
import type { SessionPages } from "./views/sessionPage";

const OPEN = "Open";
const ANSWER = "Answer";
const RESUME = "Resume";
/** After a connection was lost much may come at once: what was answered in the meantime is not asked. */
const SETTLE = 300;
const MOST_BUTTONS = 3;

export class Notifications implements vscode.Disposable {
  private readonly told = new Set<string>();
  private readonly listening: { dispose(): void };

  constructor(
    private readonly orch: Orch,
    private readonly pages: SessionPages,
  ) {
    this.listening = orch.model.onDidChange(({ event }) => {
      if (event?.type === "input.requested" && event.sessionId) this.later(event.sessionId, event.data.inputRequest.id);
      if (event?.type === "session.state_changed" && event.data.to === "failed" && event.data.from !== "failed") {
        this.later(event.data.session.id);
      }
    });
  }

  dispose(): void {
    this.listening.dispose();
  }

  private later(sessionId: string, requestId?: string): void {
    setTimeout(() => {
      const session = this.orch.session(sessionId);
      if (!session || this.pages.isLookedAt(sessionId)) return;
      const request = session.inputRequests.find(({ id }) => id === requestId);
      if (request && wanted("waiting")) void this.orch.attempt(() => this.ask(session, request));
      if (requestId === undefined && session.state === "failed" && wanted("failed")) {
        void this.orch.attempt(() => this.tellFailure(session));
      }
    }, SETTLE);
  }

  private async ask(session: Session, request: InputRequest): Promise<void> {
    const key = `${session.id}/${request.id}`;
    if (this.told.has(key)) return;
    this.told.add(key);
    const who = `${session.agent} (${session.projectSlug}): ${short(request.title, 120)}`;
    const isShort = request.kind === "approval" && request.options.length <= MOST_BUTTONS;
    const sorted = [...request.options].sort((one, other) => Number(allows(other.kind)) - Number(allows(one.kind)));
    const buttons = isShort ? sorted.map(({ label }) => label) : [ANSWER];
    const chosen = await vscode.window.showInformationMessage(who, ...buttons, OPEN);
    if (chosen === undefined) return;
    if (chosen === OPEN) this.pages.open(session.id);
    else if (!isShort) await answer(this.orch, this.orch.session(session.id) ?? session);
    else {
      const optionId = request.options.find(({ label }) => label === chosen)?.id;
      await this.orch.call("orch/session/respond", { session: session.id, inputRequestId: request.id, optionId });
    }
  }

  private async tellFailure(session: Session): Promise<void> {
    const why = session.message || session.reason?.replaceAll("_", " ") || "";
    const chosen = await vscode.window.showWarningMessage(`“${session.title}” failed: ${short(why)}`, RESUME, OPEN);
    if (chosen === OPEN) this.pages.open(session.id);
    if (chosen === RESUME) await this.orch.call("orch/session/resume", { session: session.id });
  }
}

function wanted(what: "waiting" | "failed"): boolean {
  const setting = vscode.workspace.getConfiguration("orch").get<string>("notifications");
  return setting === "all" || setting === what;
}
