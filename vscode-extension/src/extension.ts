/** Puts the extension together, and takes it apart. */

import * as vscode from "vscode";

import { Changes } from "./changes";
import * as collisionCommands from "./commands/collisions";
import * as historyCommands from "./commands/history";
import * as hubCommands from "./commands/hub";
import * as languageCommands from "./commands/language";
import * as leaseCommands from "./commands/leases";
import * as projectCommands from "./commands/projects";
import * as sessionCommands from "./commands/sessions";
import * as startCommands from "./commands/start";
import { Model } from "./model";
import { Notifications } from "./notifications";
import { Orch } from "./orch";
import { Output } from "./output";
import { explain } from "./refused";
import { Client } from "./server/client";
import { locateServer } from "./server/locate";
import { Stream } from "./server/stream";
import { StatusBar } from "./statusBar";
import { ArtifactsView } from "./views/artifacts";
import { DashboardView } from "./views/dashboard";
import { EventsView } from "./views/events";
import { ProjectsView } from "./views/projects";
import { SessionPages } from "./views/sessionPage";
import { SessionsView } from "./views/sessions";
import { Worktrees } from "./worktrees";

/** What tests are given. */
export interface Api {
  model: Model;
  client: Client;
  sessions: SessionsView;
}

let client: Client | undefined;

export function activate(context: vscode.ExtensionContext): Api {
  const log = vscode.window.createOutputChannel("orch", { log: true });
  const model = new Model();
  client = new Client((report) => locateServer(context, report), log);
  const orch = new Orch(context, model, client, log);
  const stream = new Stream(model, (error) => log.error(`The events cannot be followed: ${explain(error)}`));

  const sessions = new SessionsView(orch);
  const events = new EventsView(orch);
  const pages = new SessionPages(orch);
  const output = new Output(orch);
  const changes = new Changes(orch);
  const worktrees = new Worktrees(orch);
  context.subscriptions.push(
    log,
    client.onDidConnect((connection) => stream.connect(connection)),
    client.onDidChangeStatus((status) => {
      void vscode.commands.executeCommand("setContext", "orch.status", status.kind);
      if (status.kind === "failed") void tellFailure(orch, status.message);
    }),
    model.onDidChange(({ moved }) => {
      if (moved) void vscode.commands.executeCommand("setContext", "orch.hasProjects", model.projects.size > 0);
    }),
    vscode.workspace.onDidChangeConfiguration((change) => {
      const isServer = change.affectsConfiguration("orch.serverPath") || change.affectsConfiguration("orch.pythonPath");
      if (isServer) void orch.client.restart();
    }),
    sessions,
    events,
    pages,
    output,
    changes,
    worktrees,
    new ProjectsView(orch),
    new ArtifactsView(orch),
    new DashboardView(orch),
    new StatusBar(orch),
    new Notifications(orch, pages),
    ...startCommands.register(orch),
    ...sessionCommands.register({ orch, pages, output, changes, worktrees }),
    ...projectCommands.register(orch),
    ...collisionCommands.register(orch),
    ...leaseCommands.register(orch),
    ...historyCommands.register(orch),
    ...languageCommands.register(orch, changes),
    ...hubCommands.register(orch, sessions, events),
  );
  void client.restart();
  return { model, client, sessions };
}

export async function deactivate(): Promise<void> {
  await client?.dispose();
}

async function tellFailure(orch: Orch, message: string): Promise<void> {
  const chosen = await vscode.window.showErrorMessage(`orch: ${message}`, "Try Again", "Show Output", "Settings");
  if (chosen === "Try Again") void orch.client.restart();
  if (chosen === "Show Output") orch.log.show();
  if (chosen === "Settings") await vscode.commands.executeCommand("workbench.action.openSettings", "orch.serverPath");
}
