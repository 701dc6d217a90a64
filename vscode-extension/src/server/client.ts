/** The connection to the hub: started, lost, started again; one attempt at a time. */

import { spawn, type ChildProcess } from "node:child_process";
import { homedir } from "node:os";
import * as vscode from "vscode";
import { CloseAction, ErrorAction, LanguageClient } from "vscode-languageclient/node";

import { PROTOCOL_VERSION, type Connection } from "../protocol";
import { explain, kindOf } from "../refused";
import type { Program } from "./find";

export type Status =
  | { kind: "starting"; message: string }
  | { kind: "connected" }
  | { kind: "lost" }
  | { kind: "failed"; message: string };

const DELAYS = [0, 250, 1_000, 2_000, 4_000];
const STABLE = 30_000;

type Found = (report: (message: string) => void) => Promise<Program>;

export class Client implements vscode.Disposable {
  status: Status = { kind: "starting", message: "Starting…" };
  program: Program | undefined;

  private language: LanguageClient | undefined;
  private readonly statusChanged = new vscode.EventEmitter<Status>();
  private readonly connectedEmitter = new vscode.EventEmitter<Connection>();
  readonly onDidChangeStatus = this.statusChanged.event;
  /** Told once for each connection, before anything is sent on it. */
  readonly onDidConnect = this.connectedEmitter.event;

  private work: Promise<void> = Promise.resolve();
  private queued = false;
  private failures = 0;
  private disposed = false;
  private waiting: NodeJS.Timeout | undefined;

  constructor(
    private readonly find: Found,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** The connection that is up. Raises an error that says what is the matter where there is none. */
  get connection(): Connection {
    if (this.status.kind === "connected" && this.language) return this.language as unknown as Connection;
    const why = this.status.kind === "failed" ? this.status.message : "It is being started; try again in a moment.";
    throw new Error(`orch is not connected. ${why}`);
  }

  /** Start, or end the connection and start anew. Of many calls at once, one runs and one more follows. */
  restart(): Promise<void> {
    clearTimeout(this.waiting);
    if (!this.queued) {
      this.queued = true;
      this.work = this.work.then(async () => {
        this.queued = false;
        await this.stop();
        if (!this.disposed) await this.start();
      });
    }
    return this.work;
  }

  async dispose(): Promise<void> {
    this.disposed = true;
    clearTimeout(this.waiting);
    await this.work;
    await this.stop();
    this.statusChanged.dispose();
    this.connectedEmitter.dispose();
  }

  private async start(): Promise<void> {
    this.setStatus({ kind: "starting", message: "Starting…" });
    let child: ChildProcess | undefined;
    let said = "";
    try {
      this.program = await this.find((message) => this.setStatus({ kind: "starting", message }));
    } catch (error) {
      this.setStatus({ kind: "failed", message: explain(error) }); // trying again finds no more
      return;
    }
    const { command, args, from } = this.program;
    this.log.info(`Starting ${[command, ...args].join(" ")} (${from})`);
    const language = new LanguageClient(
      "orch",
      "orch",
      async () => {
        child = spawn(command, args, { cwd: homedir(), stdio: "pipe" });
        child.stderr?.on("data", (data: Buffer) => (said = (said + data.toString()).slice(-4_000)));
        child.on("error", (error) => (said += error.message));
        return Promise.resolve(child);
      },
      {
        documentSelector: [{ scheme: "file" }],
        outputChannel: this.log,
        // Who has views of its own is offered no lenses and actions unless it asks for them.
        initializationOptions: { protocolVersion: PROTOCOL_VERSION, lenses: true, actions: true },
        errorHandler: {
          error: () => ({ action: ErrorAction.Continue, handled: true }),
          closed: () => {
            if (this.language === language) this.lost(said);
            return { action: CloseAction.DoNotRestart, handled: true };
          },
        },
        initializationFailedHandler: () => false,
      },
    );
    try {
      await language.start();
    } catch (error) {
      await language.dispose().catch(() => undefined);
      child?.kill();
      const message = said.trim().split("\n").at(-1) || explain(error);
      if (kindOf(error) === "protocolMismatch") this.setStatus({ kind: "failed", message });
      else this.retry(message);
      return;
    }
    this.language = language;
    const began = Date.now();
    this.connectedEmitter.fire(language as unknown as Connection);
    this.setStatus({ kind: "connected" });
    setTimeout(() => {
      if (this.language === language && Date.now() - began >= STABLE) this.failures = 0;
    }, STABLE + 100);
  }

  /** The hub died or left: it is reached, or started, again. */
  private lost(said: string): void {
    this.language = undefined;
    if (this.disposed) return;
    this.log.warn(`The connection to the hub ended. ${said.trim()}`);
    this.setStatus({ kind: "lost" });
    this.retry(said.trim().split("\n").at(-1) || "The hub ended.");
  }

  private retry(message: string): void {
    const delay = DELAYS[this.failures++];
    if (delay === undefined) {
      this.failures = 0;
      this.setStatus({ kind: "failed", message });
      return;
    }
    this.log.warn(`${message} Trying again in ${delay} ms.`);
    this.waiting = setTimeout(() => void this.restart(), delay);
  }

  private async stop(): Promise<void> {
    const language = this.language;
    this.language = undefined;
    await language?.dispose().catch(() => undefined);
  }

  private setStatus(status: Status): void {
    this.status = status;
    if (!this.disposed) this.statusChanged.fire(status);
  }
}
