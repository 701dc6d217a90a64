/** The page of one session: its conversation, what it asks, and everything that can be done with it. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "../orch";
import type { Event, Session } from "../protocol";
import { verbsOf } from "../verbs";
import type { FromSessionPage, ToSessionPage } from "./messages";
import { pageHtml, pageOptions } from "./page";

const VIEW = "orch.session";
const PAGE = 1_000;
const BEAT = 60;

/** All pages that are open; each session has one at most. */
export class SessionPages implements vscode.WebviewPanelSerializer, vscode.Disposable {
  private readonly pages = new Map<string, SessionPage>();
  private readonly registration: vscode.Disposable;

  constructor(private readonly orch: Orch) {
    this.registration = vscode.window.registerWebviewPanelSerializer(VIEW, this);
  }

  /** The session whose page the user sees. */
  get active(): string | undefined {
    return [...this.pages.values()].find(({ panel }) => panel.active)?.id;
  }

  isLookedAt(id: string): boolean {
    return vscode.window.state.focused && this.pages.get(id)?.panel.active === true;
  }

  open(id: string): void {
    const known = this.pages.get(id);
    if (known) {
      known.panel.reveal();
      return;
    }
    const { extensionUri } = this.orch.context;
    const title = this.orch.session(id)?.title ?? id;
    const panel = vscode.window.createWebviewPanel(VIEW, title, vscode.ViewColumn.Active, {
      ...pageOptions(extensionUri),
      enableFindWidget: true,
    });
    this.take(panel, id);
  }

  /** Bring a page back after the window was reloaded. */
  async deserializeWebviewPanel(panel: vscode.WebviewPanel, state: { session?: string } | undefined): Promise<void> {
    if (state?.session) {
      panel.webview.options = pageOptions(this.orch.context.extensionUri);
      this.take(panel, state.session);
    } else panel.dispose();
    return Promise.resolve();
  }

  dispose(): void {
    this.registration.dispose();
    for (const page of this.pages.values()) page.dispose();
  }

  private take(panel: vscode.WebviewPanel, id: string): void {
    this.pages.get(id)?.panel.dispose();
    this.pages.set(id, new SessionPage(this.orch, panel, id));
    panel.onDidDispose(() => this.pages.delete(id));
  }
}

class SessionPage implements vscode.Disposable {
  /** Events that wait to be posted; undefined while the page has not asked for any, or is being given the past. */
  private live: Event[] | undefined;
  private held: Event[] = [];
  /** Grows each time the page's script begins anew, as it does whenever the page was hidden. */
  private beginning = 0;
  private title = "";
  private readonly disposables: { dispose(): void }[];

  constructor(
    private readonly orch: Orch,
    readonly panel: vscode.WebviewPanel,
    readonly id: string,
  ) {
    const flush = coalesced(BEAT, () => this.flush());
    const show = coalesced(BEAT, () => this.showSession());
    this.disposables = [
      panel.webview.onDidReceiveMessage((message: FromSessionPage) => void orch.attempt(() => this.receive(message))),
      panel.onDidDispose(() => this.dispose()),
      orch.model.onDidChange(({ event }) => {
        if (event && event.sessionId !== id) return;
        show();
        if (!event) return;
        (this.live ?? this.held).push(event);
        flush();
      }),
      orch.client.onDidChangeStatus(({ kind }) => {
        if (kind === "connected" && this.beginning === 0) this.load();
      }),
    ];
    this.load();
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  /** Give the page its script. */
  private load(): void {
    this.panel.webview.html = pageHtml(this.panel.webview, this.orch.context.extensionUri, "session", "orch session");
    this.panel.iconPath = vscode.Uri.joinPath(this.orch.context.extensionUri, "media", "orch.svg");
    this.showSession();
  }

  private async receive(message: FromSessionPage): Promise<void> {
    const session = this.id;
    switch (message.type) {
      case "ready":
        return this.begin();
      case "verb":
        await vscode.commands.executeCommand(`orch.session.${message.verb}`, session);
        return;
      case "followUp":
        await this.tryOrSay(() =>
          this.orch.call("orch/session/followUp", { session, text: message.text, mode: message.mode }),
        );
        return;
      case "respond": {
        const { inputRequestId, optionId, text, answers } = message;
        await this.tryOrSay(() =>
          this.orch.call("orch/session/respond", { session, inputRequestId, optionId, text, answers }),
        );
        return;
      }
      case "unqueue":
        await this.orch.call("orch/session/unqueue", { session, followUpId: message.followUpId });
        return;
      case "artifact": {
        const artifact = this.orch.model.artifacts.get(message.id);
        if (artifact) await vscode.commands.executeCommand("orch.artifact.open", { kind: "artifact", artifact });
        return;
      }
      case "log":
        this.post({ type: "log", ...(await this.orch.call("orch/session/logTail", { session, lines: 200 })) });
    }
  }

  /** Give the page's script the whole past, then what comes in; each event once. */
  private async begin(): Promise<void> {
    const mine = ++this.beginning;
    this.live = undefined;
    this.held = [];
    this.showSession();
    let after = 0;
    for (;;) {
      const { items, lastSeq } = await this.past(after, mine);
      if (mine !== this.beginning) return;
      if (items.length === 0) break;
      this.post({ type: "events", events: items });
      after = lastSeq;
    }
    this.live = this.held.filter(({ seq }) => seq > after);
    this.held = [];
    this.flush();
  }

  /** Read a page of the past; a connection that is lost meanwhile is waited for. */
  private async past(after: number, mine: number): Promise<{ items: Event[]; lastSeq: number }> {
    for (;;) {
      try {
        return await this.orch.call("orch/event/list", { session: this.id, after, limit: PAGE });
      } catch (error) {
        if (this.orch.client.status.kind === "connected") throw error;
        await connected(this.orch);
        if (mine !== this.beginning) return { items: [], lastSeq: after };
      }
    }
  }

  private flush(): void {
    if (!this.live || this.live.length === 0) return;
    const events = this.live;
    this.live = [];
    this.post({ type: "events", events });
  }

  private showSession(): void {
    const session = this.orch.session(this.id);
    if (!session) return;
    this.setTitle(session);
    const artifacts = [...this.orch.model.artifacts.values()].filter(({ sessionId }) => sessionId === this.id);
    artifacts.sort((one, other) => one.name.localeCompare(other.name));
    this.post({ type: "session", session, verbs: verbsOf(session), artifacts });
  }

  private setTitle(session: Session): void {
    const mark = session.state === "waiting_for_user" ? "● " : "";
    const title = mark + session.title;
    if (title === this.title) return;
    this.title = title;
    this.panel.title = title;
  }

  /** Do it; if it is refused, let the page give the user's text back. */
  private async tryOrSay(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.post({ type: "refused" });
      throw error;
    }
  }

  private post(message: ToSessionPage): void {
    void this.panel.webview.postMessage(message);
  }
}

function connected(orch: Orch): Promise<void> {
  return new Promise((resolve) => {
    const listening = orch.client.onDidChangeStatus(({ kind }) => {
      if (kind !== "connected") return;
      listening.dispose();
      resolve();
    });
  });
}
