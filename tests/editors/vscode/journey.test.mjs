// What a user does with a session from its beginning to its end, in the real VS Code, with the .vsix on a fresh profile.
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { Machine, read, steps, until } from "./rig.mjs";

const machine = new Machine();
const TASK = "Round prices up";
const OTHER = "Keep busy";
let shop;
let window;

before(async () => {
  shop = machine.repository("shop");
  // Nothing that could bring the server but the .vsix: no orch of the checkout, no Python extension.
  await machine.startCode();
  await machine.startBrowser();
  window = await machine.window(machine.workspace(shop));
});

after(async () => machine.end());

const step = steps(() => window, { inOrder: true });

function session(title) {
  return machine.sessions().find((found) => found.title.startsWith(title));
}

step("a fresh profile unpacks the server and welcomes", async () => {
  await window.showOrch();
  await window.page.getByRole("button", { name: "Add a Repository" }).first().waitFor();
  await window.shot("01-welcome");
  const unpacked = fs.readdirSync(path.join(machine.code.data, "User/globalStorage/orch.orch"));
  assert.ok(
    unpacked.some((name) => /^server-.*-cp3\d+$/.test(name)),
    `${unpacked}`,
  );
});

step("a repository becomes a project", async () => {
  await window.page.getByRole("button", { name: "Add a Repository" }).first().click();
  await window.pick("shop", "Which repository");
  await window.page.getByRole("button", { name: "Start a Session" }).first().waitFor();
  assert.equal(machine.json("projects", "list").items[0].path, shop);
});

step("a session is started from the palette and shows in the tree and on its page", async () => {
  await window.command("orch: Start a Session");
  await window.pick("demo", "Which agent");
  await window.pick("implement", "What is demo");
  await window.shot("02-which-project");
  await window.pick("shop", "In which project");
  const work =
    "[[think The sum is right, the cents are not.]] [[plan Read prices.py; Round up; Test]] [[read src/prices.py]]";
  const write =
    "[[write src/prices.py import math\\n\\n\\ndef round_up(price):\\n    return math.ceil(price * 100) / 100]]";
  await window.type(
    `${TASK} ${work} ${write} [[wait 8]] [[say Prices are rounded up to whole cents.]]`,
    "Round prices",
  );
  await window.pick("Title", "Start, or change an option");
  await window.type(TASK, "A short name");
  await window.pick("Start now", "Start, or change an option");
  await window.sessionIs(TASK, "running");
  await until(async () => (await window.status()).includes("1 running"), "the status bar to count");
  const page = await window.webview("h1");
  await page.getByText("Test (pending)").waitFor();
  await window.shot("03-running", "running");
  await window.sessionIs(TASK, "completed");
  await page.getByText("Prices are rounded up to whole cents.", { exact: true }).waitFor();
  await window.shot("04-completed");
});

step("it gets a name of its own", async () => {
  await window.command("orch: Rename…");
  await window.pick(TASK, "Which session");
  await window.type(`${TASK} to whole cents`, "Rename the session");
  await window.sessionIs(`${TASK} to whole cents`, "completed");
});

step("its events are in the output channel", async () => {
  await window.command("orch: Show Output");
  const lines = window.page.locator(".output-view .view-line, .part.panel .view-line");
  await lines
    .filter({ hasText: /session\.state_changed/ })
    .first()
    .waitFor();
  await window.shot("05-output");
  await window.command("View: Hide Panel");
});

step("an approval is answered from the notification", async () => {
  await window.page.locator(".tabs-container").waitFor();
  await window.command("View: Close All Editors");
  await window.command("orch: Follow Up");
  await window.pick(TASK, "Which session");
  await window.type("[[approve run the tests]] [[say The tests pass.]]", "A further text");
  await window.sessionIs(TASK, "waits for you");
  const toast = window.notification("run the tests");
  await toast.waitFor();
  await until(async () => (await window.status()).includes("1 waiting"), "the status bar to say that it waits");
  await window.shot("06-notification", "notification");
  await toast.getByRole("button", { name: /allow/i }).first().click();
  await window.sessionIs(TASK, "completed");
});

step("an approval and a question are answered on the page, and a follow-up is delivered", async () => {
  await window.session(TASK).click();
  const page = await window.webview("textarea[aria-label='Follow-up']");
  await page
    .getByLabel("Follow-up")
    .fill("[[approve run the linter]] [[ask Which colour? | Red | Blue]] [[wait 8]] [[say It is linted.]]");
  await page.getByLabel("Follow-up").press("Control+Enter");
  await page.locator(".request").getByText("run the linter").first().waitFor();
  await window.shot("07-approval-on-page");
  await page.locator('.request button[data-kind="allow_once"]').click();
  await page.getByLabel("Blue").check();
  await window.shot("08-question-on-page", "question");
  await page.getByRole("button", { name: "Answer" }).click();
  await window.sessionIs(TASK, "running");
  await page.getByLabel("Follow-up").fill("[[say And delivered.]]");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator(".queue").getByText("And delivered").waitFor();
  await window.shot("09-queued");
  await page.getByText("And delivered.", { exact: true }).waitFor();
  await page.getByText("It is linted.", { exact: true }).waitFor();
  await window.sessionIs(TASK, "completed");
  assert.equal(session(TASK).turns, 4);
});

step("what it wrote is text, whatever it is", async () => {
  const page = await window.webview("textarea[aria-label='Follow-up']");
  await page.getByLabel("Follow-up").fill("[[say <img src=x onerror=alert(1)><b>bold</b>]]");
  await page.getByLabel("Follow-up").press("Control+Enter");
  await page.locator(".entry.message", { hasText: "<img src=x onerror=alert(1)><b>bold</b>" }).waitFor();
  assert.equal(await page.locator(".conversation img, .conversation b").count(), 0);
  await window.sessionIs(TASK, "completed");
});

step("the changes open in the diff editor", async () => {
  const page = await window.webview("button[data-verb='diff']");
  await page.locator("button[data-verb='diff']").click();
  await window.page.locator(".multiDiffEditor, .monaco-component.multiDiffEditor").first().waitFor();
  await window.page
    .locator(".view-line", { hasText: /import\smath/ })
    .first()
    .waitFor();
  await window.page
    .locator(".view-line", { hasText: /return\sprice/ })
    .first()
    .waitFor();
  await window.shot("10-changes", "changes");
});

step("the worktree opens as a folder of the workspace and its file is edited", async () => {
  await window.menu(window.session(TASK), "Open Worktree as Workspace Folder");
  await window.command("View: Show Explorer");
  const folder = window.page.locator(".explorer-folders-view .monaco-list-row", { hasText: "(demo)" });
  await folder.click();
  await until(async () => {
    await window.page.keyboard.press("ArrowRight");
    return (await window.page.locator(".explorer-folders-view .monaco-list-row", { hasText: "README.md" }).count()) > 1;
  }, "the worktree's files");
  await window.page.locator(".explorer-folders-view .monaco-list-row", { hasText: "README.md" }).last().dblclick();
  await window.page.locator(".monaco-editor .view-line", { hasText: "shop" }).first().click();
  await window.page.keyboard.press("Control+End");
  await window.page.keyboard.type("Edited by hand.");
  await window.page.keyboard.press("Control+s");
  const readme = path.join(session(TASK).worktreePath, "README.md");
  await until(() => fs.readFileSync(readme, "utf8").includes("Edited by hand."), "the edit on the disk");
  await window.shot("11-worktree");
  assert.ok(!fs.readFileSync(path.join(shop, "README.md"), "utf8").includes("Edited"));
});

step("a session of the dashboard is stopped and resumed", async () => {
  await window.showOrch();
  const dashboard = await window.webview("form.composer");
  await dashboard.getByLabel("Task").fill(`${OTHER}\n[[hang]]`);
  await dashboard.getByLabel("Action").selectOption("implement");
  await window.shot("12-composer");
  await dashboard.getByRole("button", { name: "Start" }).click();
  await window.sessionIs(OTHER, "running");
  await window.session(OTHER).hover();
  await window.session(OTHER).getByRole("button", { name: "Stop" }).click();
  await window.sessionIs(OTHER, "stopped");
  await window.session(OTHER).hover();
  await window.session(OTHER).getByRole("button", { name: "Resume" }).click();
  await window.sessionIs(OTHER, "completed"); // in a new process, in the same conversation
  await window.shot("13-resumed");
  assert.equal(session(OTHER).turns, 2);
});

step("a session is started in plain words, once what was understood is confirmed", async () => {
  await window.command("orch: Start in Your Own Words");
  await window.type("ask demo to review shop", "in your own words");
  await window.page.locator(".monaco-dialog-box", { hasText: "demo review shop" }).waitFor();
  await window.shot("13-own-words");
  await window.dialog("Start");
  const isDone = ({ action, state }) => action === "review" && state === "completed";
  await until(() => machine.sessions().some(isDone), "the review");
});

step("its work is brought into the checkout after a preview, and taken back", async () => {
  const prices = () => read(path.join(shop, "src/prices.py")); // git takes a file away before it writes it anew
  const original = prices();
  await window.command("orch: Apply to My Checkout");
  await window.pick(TASK, "Which session");
  await window.pick("As a patch", "How is the work");
  await window.page.locator(".monaco-dialog-box", { hasText: "src/prices.py" }).waitFor();
  await window.shot("14-apply-preview");
  await window.dialog("Apply");
  await until(() => prices().includes("math.ceil"), "the patch in the checkout");
  await window.notification("checkout").getByRole("button", { name: "Undo" }).click();
  await until(() => prices() === original, "the checkout as it was");
});

step("a session is archived, brought back, deleted with a preview, and restored", async () => {
  await window.command("orch: Archive");
  await window.pick(TASK, "Which session");
  await window.session(TASK).waitFor({ state: "detached" });
  await window.command("orch: Unarchive");
  await window.pick(TASK, "Which session");
  await window.sessionIs(TASK, "completed");
  await window.command("orch: Delete…");
  await window.pick(TASK, "Which session");
  await window.page.locator(".monaco-dialog-box", { hasText: "Worktree:" }).waitFor();
  await window.shot("15-delete-preview", "delete");
  const worktree = session(TASK).worktreePath;
  await window.dialog("Move to Trash");
  await window.session(TASK).waitFor({ state: "detached" });
  assert.ok(!fs.existsSync(worktree));
  await window.command("View: Show Explorer");
  await window.page
    .locator(".explorer-folders-view .monaco-list-row", { hasText: "(demo)" })
    .waitFor({ state: "detached" });
  await window.showOrch();
  await window.command("orch: Restore");
  await window.pick(TASK, "Which session");
  await window.sessionIs(TASK, "completed");
  assert.match(fs.readFileSync(path.join(worktree, "README.md"), "utf8"), /Edited by hand\./);
});

step("the views say what the command line says", async () => {
  await window.agrees(machine);
  for (const view of ["Projects", "Artifacts", "Events"]) await window.openView(view);
  await window.rows("Events").first().waitFor();
  await window.rows("Artifacts").first().waitFor();
  await window.shot("16-all-views");
});
