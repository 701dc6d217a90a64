// The verbs that the journey does not come by, in a window that shows a single folder.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { after, before } from "node:test";

import { barriers, tabTo } from "./accessible.mjs";
import { Machine, ROOT, steps, until } from "./rig.mjs";

const machine = new Machine();
const TASK = "Round prices up";
let shop;
let window;

function git(...words) {
  return execFileSync("git", words, { cwd: shop, env: machine.environment, encoding: "utf8" }).trim();
}

before(async () => {
  shop = machine.repository("shop");
  git("branch", "last-year");
  fs.appendFileSync(path.join(shop, "README.md"), "This year's words.\n");
  git("commit", "--quiet", "--all", "--message", "This year");
  fs.writeFileSync(path.join(shop, "notes.txt"), "Not committed.\n");
  machine.orch("projects", "add", shop);
  await machine.startCode({ environment: { PATH: `${path.join(ROOT, ".venv/bin")}:${machine.environment.PATH}` } });
  await machine.startBrowser();
  window = await machine.window(shop);
  await window.showOrch();
  await window.page.getByRole("button", { name: "Start a Session" }).first().waitFor(); // it is connected
});

after(async () => machine.end());

const step = steps(() => window);

function session(title) {
  return machine.sessions().find((found) => found.title === title);
}

step("a start with options", async () => {
  await window.command("orch: Start a Session");
  await window.pick("demo", "Which agent");
  await window.pick("implement", "What is demo");
  await window.pick("shop", "In which project");
  await window.type("[[write src/prices.py def round_up(price):\\n    return -(-price // 1)]]", "The task");
  await window.pick("Title", "Start, or change an option");
  await window.type(TASK, "A short name");
  await window.pick("Begin at", "Start, or change an option");
  await window.pick("Another branch", "Where does the worktree begin");
  await window.type("last-year", "A branch, tag or commit");
  await window.pick("Approval policy", "Start, or change an option");
  await window.pick("auto_all", "How are requests");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "last-year" }).waitFor();
  await window.shot("40-start-options");
  await window.pick("Start now", "Start, or change an option");
  await window.sessionIs(TASK, "completed");
  const { policy, worktreePath } = session(TASK);
  assert.equal(policy, "auto_all");
  assert.equal(fs.readFileSync(path.join(worktreePath, "README.md"), "utf8"), "# shop\n");
});

step("what was asked for before is started again, from the uncommitted state of the checkout", async () => {
  await window.command("orch: Start Again");
  await window.pick("write src/prices.py", "What is to be done again");
  await window.pick("Title", "Start, or change an option");
  await window.type("Once more", "A short name");
  await window.pick("Uncommitted changes", "Start, or change an option");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "come along" }).waitFor();
  await window.pick("Start now", "Start, or change an option");
  await window.sessionIs("Once more", "completed");
  assert.equal(fs.readFileSync(path.join(session("Once more").worktreePath, "notes.txt"), "utf8"), "Not committed.\n");
});

step("a terminal opens in the worktree", async () => {
  await window.command("orch: Open Terminal in Worktree");
  await window.pick(TASK, "Which session");
  await window.page.locator(".terminal-wrapper.active .xterm-screen").first().click();
  const said = path.join(machine.home, "where");
  await window.page.keyboard.type(`pwd > ${said}`);
  await window.page.keyboard.press("Enter");
  await until(() => fs.existsSync(said) && fs.readFileSync(said, "utf8"), "the terminal's answer");
  assert.equal(fs.readFileSync(said, "utf8").trim(), session(TASK).worktreePath);
  await window.shot("41-terminal");
  await window.command("View: Hide Panel");
});

step("a worktree opens in a window of its own", async () => {
  const opened = machine.browser.waitForEvent("page");
  await window.command("orch: Open Worktree in New Window");
  await window.pick(TASK, "Which session");
  const page = await opened;
  await page.locator(".explorer-folders-view .monaco-list-row", { hasText: "README.md" }).waitFor();
  assert.equal(new URL(page.url()).searchParams.get("folder"), session(TASK).worktreePath);
  await page.close();
  await window.page.bringToFront(); // one that lies behind is drawn rarely
});

step("words are found in every conversation", async () => {
  await window.command("View: Close All Editors");
  await window.command("orch: Search All Conversations");
  await window.page.locator(".quick-input-widget input.input").fill("round_up");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: TASK }).first().waitFor();
  await window.shot("42-search");
  await window.accept(TASK);
  const page = await window.webview("h1");
  assert.equal(await page.locator("h1").textContent(), TASK);
});

step("the events are filtered", async () => {
  await window.openView("Events");
  await window.rows("Events").filter({ hasText: "session." }).first().waitFor();
  await window.command("orch: Filter Events");
  await window.pick("Type", "Which events");
  await window.pick("turn.*", "Events of which type");
  await until(async () => {
    const types = await window.rows("Events").allTextContents();
    return types.length > 0 && types.every((text) => text.startsWith("turn."));
  }, "nothing but turns");
  await window.shot("43-events-filtered");
  await window.command("orch: Clear the Filter of Events");
  await window.rows("Events").filter({ hasText: "session." }).first().waitFor();
});

step("the walkthrough leads to its first steps", async () => {
  await window.command("Welcome: Open Walkthrough");
  await window.pick("Coding agents, side by side");
  const steps = window.page.locator(".gettingStartedContainer .getting-started-step");
  await steps.filter({ hasText: "Add a repository" }).waitFor();
  await window.shot("44-walkthrough");
  await steps.filter({ hasText: "See which agents you have" }).click();
  await window.page.getByRole("button", { name: "Show Agents" }).click();
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "demo" }).first().waitFor();
  await window.shot("45-agents");
  await window.page.keyboard.press("Escape");
  await window.command("View: Close All Editors");
});

step("work is committed on its branch, and comes home as one commit after a preview", async () => {
  await window.command("orch: Commit");
  await window.pick(TASK, "Which session");
  await window.type("Round up", "What the commit says");
  await window.notification("Committed 1 file").waitFor();
  assert.equal(git("log", "-1", "--format=%s", session(TASK).branch), "Round up");
  await window.command("orch: Apply to My Checkout");
  await window.pick(TASK, "Which session");
  await window.pick("As one commit", "How is the work");
  await window.page.locator(".monaco-dialog-box", { hasText: /As one commit.*src\/prices\.py/s }).waitFor();
  const before = git("rev-parse", "HEAD");
  await window.shot("46-apply-preview");
  await window.dialog("Apply");
  await until(() => git("rev-parse", "HEAD") !== before, "the commit in the checkout");
  assert.match(fs.readFileSync(path.join(shop, "src/prices.py"), "utf8"), /-\(-price/);
  await window.command("orch: Take Back the Last Apply");
  await window.pick(TASK, "Which session");
  await until(() => git("rev-parse", "HEAD") === before, "the checkout as it was");
});

step("paths are claimed, and claims end", async () => {
  await window.command("orch: Claim Paths");
  await window.pick("shop", "In which project");
  await window.type("src", "From the top of shop");
  await window.pick("Myself", "For whom");
  await until(() => machine.json("leases").items.some(({ path: claimed }) => claimed === "src"), "the claim");
  await window.command("orch: Show Who Has Claimed");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "shop · you" }).waitFor();
  await window.shot("47-claims");
  await window.page.keyboard.press("Escape");
  await window.command("orch: End Claims on Paths");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "shop · you" }).waitFor();
  await window.page.keyboard.press("ArrowDown");
  await window.page.keyboard.press("Space");
  await window.page.keyboard.press("Enter");
  await until(() => machine.json("leases").items.length === 0, "the end of the claim");
});

step("a project's settings are changed, and the hub is restarted", async () => {
  await window.command("orch: Change a Project's Settings");
  await window.pick("shop", "In which project");
  await window.pick("Approval policy", "Which setting");
  await window.shot("48-policy");
  await window.pick("deny", "How are requests");
  await window.page.locator(".quick-input-list .monaco-list-row", { hasText: "deny" }).waitFor();
  await window.shot("49-project-settings");
  await window.page.keyboard.press("Escape");
  assert.equal(machine.json("projects", "list").items[0].policy, "deny");
  const { pid } = machine.json("health");
  await window.command("orch: Restart the Hub");
  await window.dialog("Restart");
  await until(() => machine.json("health").pid !== pid, "another hub");
  await until(async () => /^\S*\s*orch$/.test(await window.status()), "the connection to it");
  await window.agrees(machine);
});

step("a session is deleted for good", async () => {
  await window.command("orch: Delete…");
  await window.pick("Once more", "Which session");
  await window.dialog("Move to Trash");
  await window.session("Once more").waitFor({ state: "detached" });
  await window.command("orch: Delete for Good");
  await window.pick("Once more", "Which session");
  await window.page.locator(".monaco-dialog-box", { hasText: "This cannot be taken back." }).waitFor();
  await window.shot("50-purge");
  await window.dialog("Delete for Good");
  await until(() => session("Once more") === undefined, "nothing of it");
});

step("a session's page and the dashboard are used by keyboard and by ear", async () => {
  const asks = "Ask me\n[[plan Read; Write]] [[think Which one?]] [[ask Which colour? | Red | Blue]]";
  machine.orch("send", "demo", "implement", "shop", "--policy", "ask", "--prompt", asks);
  await window.sessionIs("Ask me", "waits for you");
  await window.session("Ask me").click();
  const page = await window.webview(".request");
  assert.deepEqual(await barriers(page), []);
  assert.deepEqual(await barriers(await window.webview("form.composer")), []);
  assert.equal(await page.getByRole("log", { name: "Conversation" }).getAttribute("aria-live"), "polite");
  assert.equal(await page.locator(".requests").getAttribute("aria-live"), "assertive");
  const stops = await tabTo(window.page, page, "Send");
  const places = ["Stop", "Prompt", "Red", "Answer", "Follow-up", "When it is delivered", "Send"].map((name) =>
    stops.findIndex((stop) => stop.toLowerCase() === name.toLowerCase()),
  );
  assert.deepEqual(
    places,
    places.toSorted((one, other) => one - other),
    stops.join(", "),
  );
  assert.ok(places[0] >= 0, stops.join(", "));
  await window.shot("51-by-keyboard");
  // The answer is given without the mouse.
  await page.getByRole("radio", { name: "Red" }).focus();
  await window.page.keyboard.press("ArrowDown");
  await window.page.keyboard.press("Enter");
  await window.sessionIs("Ask me", "completed");
  assert.match(machine.orch("transcript", session("Ask me").id), /Blue/);
});

step("a single-folder window opens a worktree beside its folder", async () => {
  await window.command("orch: Open Worktree as Workspace Folder");
  await window.pick(TASK, "Which session");
  await window.page.locator(".monaco-dialog-box", { hasText: "This window shows a single folder" }).waitFor();
  await window.shot("52-single-folder");
  const loaded = window.page.waitForEvent("domcontentloaded");
  await window.dialog("Open Here as a Workspace");
  await loaded;
  await window.command("View: Show Explorer");
  const rows = window.page.locator(".explorer-folders-view .monaco-list-row");
  const root = rows.filter({ hasText: "(demo)" });
  await root.waitFor();
  // Where VS Code had missed the folders of the workspace, it loads the window once more when it has found them.
  await window.page.waitForEvent("domcontentloaded", { timeout: 3_000 }).catch(() => undefined);
  await root.waitFor();
  await rows.filter({ hasText: "shop" }).first().waitFor();
  await window.command("orch: Show Changes");
  await window.pick(TASK, "Which session");
  await window.page.locator(".view-line", { hasText: "//" }).first().waitFor();
  await window.shot("53-as-workspace");
  const opened = new URL(window.page.url()).searchParams.get("workspace");
  assert.equal(path.basename(opened), "shop with Round prices up.code-workspace");
});
