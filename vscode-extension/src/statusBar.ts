/** How many sessions run and wait, at the bottom of the window. */

import * as vscode from "vscode";

import { coalesced, type Orch } from "./orch";

export class StatusBar implements vscode.Disposable {
  private readonly item = vscode.window.createStatusBarItem("orch.status", vscode.StatusBarAlignment.Left, 10);
  private readonly disposables: { dispose(): void }[];

  constructor(private readonly orch: Orch) {
    this.item.name = "orch";
    const redraw = coalesced(100, () => this.draw());
    this.disposables = [this.item, orch.model.onDidChange(redraw), orch.client.onDidChangeStatus(redraw)];
    this.draw();
    this.item.show();
  }

  dispose(): void {
    for (const disposable of this.disposables) disposable.dispose();
  }

  private draw(): void {
    const { status } = this.orch.client;
    this.item.backgroundColor = undefined;
    if (status.kind === "failed") {
      this.say("$(error) orch", status.message, "orch.restartServer");
      this.item.backgroundColor = new vscode.ThemeColor("statusBarItem.errorBackground");
      return;
    }
    if (status.kind !== "connected") {
      const message =
        status.kind === "lost" ? "The hub ended; it is being started again. Agents work on." : status.message;
      this.say("$(sync~spin) orch", message, "orch.showOutput");
      return;
    }
    const running = this.orch.model
      .visibleSessions()
      .filter(({ state }) => state === "running" || state === "created").length;
    const waiting = this.orch.model.waiting().length;
    const words = [...(running > 0 ? [`${running} running`] : []), ...(waiting > 0 ? [`${waiting} waiting`] : [])];
    const text = words.length > 0 ? words.join(" · ") : "orch";
    this.say(`$(${waiting > 0 ? "bell-dot" : "rocket"}) ${text}`, "orch: coding agents at work", "orch.waiting");
    if (waiting > 0) this.item.backgroundColor = new vscode.ThemeColor("statusBarItem.warningBackground");
  }

  private say(text: string, tooltip: string, command: string): void {
    this.item.text = text;
    this.item.tooltip = tooltip;
    this.item.command = command;
    this.item.accessibilityInformation = { label: text.replace(/\$\([^)]*\)/, "").trim() + `, ${tooltip}` };
  }
}
