/** Every verb of the command line, every method and every kind of event has its place here, or a reason why not. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import manifest from "../../package.json";
import golden from "../event-lines.json";

/** The tests are bundled into `dist/test/unit`. */
const ROOT = join(__dirname, "../../../..");
const SOURCES = join(ROOT, "vscode-extension/src");

/** Where a verb of the command line is in the palette. The editor itself makes the commands that show a view. */
const VERBS: Record<string, string[] | { why: string }> = {
  send: ["start", "startAgain"],
  do: ["do"],
  followup: ["session.followUp"],
  unqueue: ["session.unqueue"],
  respond: ["session.answer", "session.approve", "session.deny", "waiting"],
  stop: ["session.stop"],
  resume: ["session.resume"],
  "sessions list": ["sessions.focus", "sessions.showArchived", "sessions.hideArchived"],
  "sessions show": ["session.open", "session.copyId"],
  "sessions update": ["session.rename", "session.setPolicy"],
  "sessions followup": ["session.followUp"],
  dashboard: ["dashboard.focus"],
  wait: { why: "it is for scripts; an editor says when a session waits or is done" },
  events: ["events.focus", "events.filter", "events.clearFilter", "showOutput", "session.showLog"],
  logs: ["session.open"],
  transcript: ["session.showTranscript", "session.open"],
  search: ["search"],
  "commands list": ["commands"],
  diff: ["session.diff", "session.diffFile"],
  before: ["session.diffFile"],
  open: ["session.openInWorkspace", "session.openInNewWindow", "session.openTerminal", "session.reveal"],
  "artifacts list": ["artifacts.focus"],
  "artifacts show": ["artifact.open"],
  commit: ["session.commit"],
  apply: ["session.apply", "session.undoApply"],
  collisions: ["collisions"],
  "plan-merge": ["planMerge"],
  tell: ["collision.tell"],
  claim: ["lease.claim"],
  unclaim: ["lease.release"],
  leases: ["leases"],
  archive: ["session.archive"],
  unarchive: ["session.unarchive"],
  preview: ["session.delete"],
  delete: ["session.delete", "session.purge"],
  restore: ["session.restore"],
  "projects add": ["project.add"],
  "projects list": ["projects.focus"],
  "projects show": ["project.openFolder", "project.settings"],
  "projects update": ["project.rename", "project.settings", "project.trust", "project.distrust"],
  "projects remove": ["project.remove"],
  agents: ["agents"],
  health: ["hub.status"],
  "hub status": ["hub.status"],
  "hub start": ["restartServer"],
  "hub stop": { why: "the editor would start the next hub at once" },
  "hub restart": ["hub.restart"],
  doctor: ["hub.doctor"],
  demo: ["demo"],
  replay: { why: "it is for those who write adapters, on files of theirs" },
};

/** Methods that the extension does not call. */
const UNUSED: Record<string, string> = {
  "orch/project/get": "events keep the projects that were listed",
  "orch/session/get": "events keep the sessions that were listed",
  "orch/session/transcript": "the page folds the conversation from events, which are live",
  "orch/collision/list": "the dashboard's reply has them",
  "orch/artifact/read": "the editor opens the file",
};

describe("the palette", () => {
  const commands = new Set(manifest.contributes.commands.map(({ command }) => command));
  for (const { id } of manifest.contributes.views.orch) commands.add(`${id}.focus`);

  it("has every verb of the command line", () => {
    const usage = readFileSync(join(ROOT, "docs/cli-usage.md"), "utf8");
    const headings = [...usage.matchAll(/^## orch (.+)$/gm)].map(([, verb]) => verb ?? "");
    const leaves = headings.filter((verb) => !headings.some((other) => other.startsWith(`${verb} `)));
    assert.deepEqual(Object.keys(VERBS).sort(), leaves.sort());
    for (const [verb, named] of Object.entries(VERBS)) {
      if (Array.isArray(named)) for (const name of named) assert.ok(commands.has(`orch.${name}`), `${verb}: ${name}`);
    }
  });

  it("has nothing that is no verb", () => {
    const named = Object.values(VERBS).flatMap((names) => (Array.isArray(names) ? names : []));
    const others = [...commands].filter((command) => !named.includes(command.slice("orch.".length)));
    assert.deepEqual(others, []);
  });
});

describe("the extension's sources", () => {
  const sources = readdirSync(SOURCES, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && name !== "protocol.ts")
    .map((name) => readFileSync(join(SOURCES, name), "utf8"))
    .join("\n");

  it("call every method of the protocol", () => {
    const reference = readFileSync(join(ROOT, "docs/protocol.md"), "utf8");
    const methods = reference.slice(0, reference.indexOf("## Notifications")).matchAll(/^### `(orch\/[^`]+)`$/gm);
    const unused = [...methods].map(([, method]) => method ?? "").filter((method) => !sources.includes(`"${method}"`));
    assert.deepEqual(unused.sort(), Object.keys(UNUSED).sort());
  });

  it("know every family of events", () => {
    const families = new Set(golden.events.map(({ event }) => event.type.split(".")[0] ?? ""));
    const [, known = ""] = /const FAMILIES[^{]*{([^}]*)}/.exec(sources) ?? [];
    assert.deepEqual(new Set([...known.matchAll(/(\w+):/g)].map(([, name]) => name)), families);
  });

  it("register the commands that the server's lenses and actions name", () => {
    const server = join(ROOT, "server/orch_server/hub/language");
    const named = ["lenses.py", "actions.py", "collisions.py"].flatMap((file) =>
      [...readFileSync(join(server, file), "utf8").matchAll(/"orch\.(\w+)"/g)].map(([, name]) => name),
    );
    const [, known = ""] = /const LANGUAGE_COMMANDS = \[([^\]]*)\]/.exec(sources) ?? [];
    assert.deepEqual(new Set([...known.matchAll(/"(\w+)"/g)].map(([, name]) => name)), new Set(named));
  });
});
