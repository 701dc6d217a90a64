// Lines that would not merge, in the real VS Code: the tree, the editor's squiggles, the problems, and their end.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before, test } from "node:test";

import { Machine, until } from "./rig.mjs";

const machine = new Machine();
const FILE = "src/prices.py";
let shop;
let window;
let over = false;

before(async () => {
  shop = machine.repository("shop");
  machine.orch("projects", "add", shop);
  await machine.startCode({ settings: { "files.autoSave": "off" } }); // what the user types is not to reach the disk
  await machine.startBrowser();
  window = await machine.window(machine.workspace(shop));
  await window.showOrch();
});

after(async () => {
  if (!over) await window?.shot("failed-collisions").catch(() => undefined);
  await machine.end();
});

/** Choose what the light bulb offers on the line that collides. */
async function choose(action) {
  await window.page.locator(".monaco-editor .view-line", { hasText: "return price" }).first().click();
  await until(async () => {
    await window.page.keyboard.press("Control+.");
    return window.page
      .locator(".action-widget .monaco-list-row", { hasText: action })
      .first()
      .waitFor({ timeout: 5_000 })
      .then(
        () => true,
        () => false,
      );
  }, `the action ${action}`);
  await window.page.locator(".action-widget .monaco-list-row", { hasText: action }).first().click();
}

function squiggles(kind) {
  return window.page.locator(`.monaco-editor .squiggly-${kind}`);
}

test(
  "lines that collide are marked while agents work, and no longer when it is over",
  { timeout: 400_000 },
  async () => {
    const sessions = ["Round prices up", "Add a tax"].map((title, number) => {
      const work = `[[write ${FILE} def round_up(price):\\n    return price + ${number + 1}]]`;
      return machine.orch("send", "demo", "implement", "shop", "--title", title, "--prompt", work).split(/\s/)[0];
    });
    await until(() => machine.json("collisions").items.length === 1, "the collision of the two sessions");
    await window.command("Go to File...");
    await window.page.locator(".quick-input-widget input.input").fill("prices.py");
    await window.pick("prices.py");
    await squiggles("info").first().waitFor();
    await window.shot("30-changed-elsewhere");
    await window.page.locator(".monaco-list-row", { hasText: "collides" }).first().waitFor();

    // The user writes there, too, and saves nothing.
    await window.page.locator(".monaco-editor .view-line", { hasText: "return price" }).first().click();
    await window.page.keyboard.press("End");
    await window.page.keyboard.type(" * 2");
    await squiggles("warning").first().waitFor();
    assert.equal(fs.readFileSync(path.join(shop, FILE), "utf8"), "def round_up(price):\n    return price\n");
    await window.command("View: Toggle Problems");
    const problem = window.page.locator(".markers-panel .monaco-list-row", { hasText: "Would not merge with demo" });
    await problem.first().waitFor();
    await window.shot("31-would-not-merge");

    await window.command("View: Hide Panel");

    // What lies above the file, and what the light bulb offers on such a line.
    const lens = (words) => window.page.locator(".monaco-editor .codelens-decoration a", { hasText: words }).first();
    await lens("2 sessions here").waitFor();
    await lens(/demo, completed/).waitFor();
    await window.shot("33-code-lenses", "lenses");
    await lens(/demo, completed/).click();
    await window.page.locator(".monaco-diff-editor").first().waitFor();
    await window.page.locator(".tab.active", { hasText: FILE }).waitFor();
    await window.shot("34-from-a-lens");
    await window.command("View: Close Editor");
    await lens("2 sessions here").click();
    await window.rows("Sessions").first().waitFor();
    await choose("Compare with demo");
    await window.page.locator(".monaco-diff-editor").first().waitFor();
    await window.shot("35-both-sides");
    await window.command("View: Close Editor");
    await choose("Tell demo: Round prices up");
    await window.notification("is told what the other side changed").first().waitFor();
    await window.sessionIs("Round prices up", "completed");
    await until(() => machine.sessions().some(({ turns }) => turns === 2), "the turn in which it is told");

    for (const session of sessions) machine.orch("delete", session, "--yes");
    await until(async () => (await squiggles("warning").count()) === 0, "the end of the warnings");
    await until(async () => (await squiggles("info").count()) === 0, "the end of the notes");
    await window.shot("32-over");
    over = true;
  },
);
