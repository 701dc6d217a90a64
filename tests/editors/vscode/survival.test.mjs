// What a window shows after it was reloaded, after the hub was killed, after it was closed, and beside another window.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before } from "node:test";

import { Machine, ROOT, steps, until } from "./rig.mjs";

const machine = new Machine();
let workspace;
let window;

before(async () => {
  const shop = machine.repository("shop");
  machine.orch("projects", "add", shop);
  workspace = machine.workspace(shop);
  await machine.startCode({
    environment: { PATH: `${path.join(ROOT, ".venv/bin")}:${machine.environment.PATH}` },
  });
  await machine.startBrowser();
  window = await machine.window(workspace);
  await window.showOrch();
});

after(async () => machine.end());

const step = steps(() => window);

function send(title, prompt, ...more) {
  return machine.orch("send", "demo", "implement", "shop", "--prompt", `${title}\n${prompt}`, ...more).split(" ")[0];
}

/** Wait until a page has every line that the agent counted, and each once. */
async function hasAllLines(page, lines) {
  const expected = Array.from({ length: lines }, (_, index) => `line ${index + 1}`);
  const read = async () => (await page.locator(".entry.message .text").allTextContents()).join("\n");
  await until(async () => (await read()).includes(`line ${lines}`), "the last line");
  const found = (await read()).split("\n").filter((line) => line.startsWith("line "));
  assert.deepEqual(found, expected);
}

step("the window is reloaded in mid-run", async () => {
  send("Count through a reload", "[[count 200 50]]");
  await window.session("Count through a reload").click();
  let page = await window.webview("h1");
  await page.getByText(/line 10\b/).waitFor();
  await window.reload();
  page = await window.webview(".entry.message");
  await hasAllLines(page, 200);
  await window.sessionIs("Count through a reload", "completed");
  await window.agrees(machine);
  await window.shot("20-reloaded");
});

step("the hub is killed in mid-run", async () => {
  send("Count through a crash", "[[count 200 50]]");
  await window.session("Count through a crash").click();
  const page = await window.webview('body[data-state="running"] h1');
  await page.getByText(/line 10\b/).waitFor();
  const killed = machine.killHub();
  await hasAllLines(page, 200);
  await window.sessionIs("Count through a crash", "completed");
  await window.agrees(machine);
  assert.notEqual(machine.json("health").pid, killed);
  await window.shot("21-after-the-crash");
});

step("the editor is closed and opened again", async () => {
  send("Count while nobody looks", "[[count 100 30]]");
  await window.session("Count while nobody looks").waitFor();
  await window.page.close();
  machine.orch("wait", machine.sessions()[0].id);
  window = await machine.window(workspace);
  await window.showOrch();
  await window.sessionIs("Count while nobody looks", "completed");
  await window.agrees(machine);
});

step("two windows stay in step", async () => {
  const other = await machine.window(workspace);
  await other.showOrch();
  send("Ask both", "[[approve run the tests]] [[say It is done.]]", "--policy", "ask");
  for (const each of [window, other]) await each.sessionIs("Ask both", "waits for you");
  await other.session("Ask both").hover();
  await other.session("Ask both").getByRole("button", { name: "Approve" }).click();
  for (const each of [window, other]) await each.sessionIs("Ask both", "completed");
  await window.page.bringToFront();
  await window.command("orch: Archive");
  await window.pick("Ask both", "Which session");
  for (const each of [window, other]) {
    await each.session("Ask both").waitFor({ state: "detached" });
    await each.agrees(machine);
  }
  await other.shot("22-the-other-window");
});
