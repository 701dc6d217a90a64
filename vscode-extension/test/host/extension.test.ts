/** The extension as the editor runs it: its commands, their menus, and a workspace that means harm. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import * as vscode from "vscode";

import { LANGUAGE_COMMANDS } from "../../src/commands/language";
import type { Api } from "../../src/extension";
import type { Session, State } from "../../src/protocol";
import { VERBS, verbsOf, type Verb } from "../../src/verbs";

interface Manifest {
  contributes: {
    commands: { command: string; title: string; enablement?: string }[];
    menus: Record<string, { command: string; when?: string }[]>;
    keybindings: { command: string }[];
    configuration: { properties: Record<string, { scope: string }> };
    views: { orch: { id: string }[] };
  };
}

/** What works without a hub, since it is what one needs then. */
const ALWAYS = ["orch.hub.doctor", "orch.demo", "orch.restartServer", "orch.showOutput"];

describe("the extension", () => {
  let extension: vscode.Extension<Api>;
  let manifest: Manifest;
  let api: Api;

  before(async () => {
    const found = vscode.extensions.getExtension<Api>("orch.orch");
    assert.ok(found);
    extension = found;
    manifest = extension.packageJSON as Manifest;
    api = await extension.activate();
    while (api.client.status.kind !== "connected" || !api.model.loaded) {
      assert.notEqual(api.client.status.kind, "failed", JSON.stringify(api.client.status));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  it("registers every command that it contributes, and contributes all that lenses and actions do not name", async () => {
    const contributed = manifest.contributes.commands.map(({ command }) => command);
    const known = await vscode.commands.getCommands(true);
    for (const command of contributed) assert.ok(known.includes(command), command);
    // The editor makes commands of its own for each view and container, such as `orch.sessions.focus`.
    const ofEditor = /^orch\.(\w+)\.(focus|open|resetViewLocation|removeView|toggleVisibility)$/;
    const hidden = known.filter(
      (name) => name.startsWith("orch.") && !contributed.includes(name) && !ofEditor.test(name),
    );
    assert.deepEqual(hidden.sort(), LANGUAGE_COMMANDS.map((name) => `orch.${name}`).sort());
  });

  it("enables a command only while the hub can do it", () => {
    for (const { command, enablement } of manifest.contributes.commands) {
      assert.equal(enablement, ALWAYS.includes(command) ? undefined : "orch.status == connected", command);
    }
  });

  it("has every verb in the palette and in the menu of a session", () => {
    const commands = manifest.contributes.commands.map(({ command }) => command);
    const menu = manifest.contributes.menus["view/item/context"]?.map(({ command }) => command) ?? [];
    for (const verb of Object.keys(VERBS)) {
      assert.ok(commands.includes(`orch.session.${verb}`), verb);
      assert.ok(menu.includes(`orch.session.${verb}`), verb);
    }
    for (const { command } of manifest.contributes.keybindings) assert.ok(commands.includes(command));
  });

  for (const state of ["created", "running", "waiting_for_user", "completed", "archived", "deleted"] as State[]) {
    it(`shows the verbs of a session that is ${state}, and no others`, () => {
      const session = { ...SESSION, state } as unknown as Session;
      api.model.sessions.set(session.id, session);
      const item = api.sessions.getTreeItem({ kind: "session", id: session.id });
      api.model.sessions.delete(session.id);
      const shown = (manifest.contributes.menus["view/item/context"] ?? [])
        .filter(
          ({ command, when }) => command.startsWith("orch.session.") && matches(when ?? "", item.contextValue ?? ""),
        )
        .map(({ command }) => command.slice("orch.session.".length) as Verb);
      assert.deepEqual(new Set(shown), new Set(verbsOf(session)));
    });
  }

  it("lets no workspace name a program", () => {
    const { properties } = manifest.contributes.configuration;
    for (const name of ["orch.serverPath", "orch.pythonPath"]) {
      assert.equal(properties[name]?.scope, "machine");
      assert.equal(
        vscode.workspace.getConfiguration().get(name),
        "",
        `${name} of the workspace's settings.json counts`,
      );
    }
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath ?? "";
    assert.ok(existsSync(`${folder}/.vscode/settings.json`), "the workspace is the hostile one");
    assert.ok(api.client.program && !api.client.program.command.startsWith(folder));
    assert.ok(!existsSync(`${folder}/ran`), "something of the workspace was run");
  });

  it("hides worktrees from search and watchers", () => {
    const files = vscode.workspace.getConfiguration("files").get<Record<string, boolean>>("watcherExclude");
    const search = vscode.workspace.getConfiguration("search").get<Record<string, boolean>>("exclude");
    assert.equal(files?.["**/.orchestrator/**"], true);
    assert.equal(search?.["**/.orchestrator"], true);
  });
});

/** Whether a `when` of the form `view == … && viewItem =~ /…/` lets a tree item through. */
function matches(when: string, contextValue: string): boolean {
  const patterns = [...when.matchAll(/viewItem =~ \/([^/]*)\//g)].map(([, pattern]) => new RegExp(pattern ?? ""));
  assert.ok(patterns.length > 0, when);
  return patterns.every((pattern) => pattern.test(contextValue));
}

const SESSION = {
  id: "aaaaaaaaaaaa",
  projectId: "p",
  projectSlug: "p",
  agent: "demo",
  action: "implement",
  title: "A session",
  message: "",
  reason: null,
  attention: [],
  branch: "b",
  worktreePath: "/w",
  queued: [],
  inputRequests: [],
  changes: null,
  createdAt: "2026-01-02T03:04:05.678Z",
};
