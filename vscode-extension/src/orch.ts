/** What every part of the extension is given: the model, the hub, and where to say something. */

import * as vscode from "vscode";

import type { Model } from "./model";
import { call, type MethodName, type Methods, type Session } from "./protocol";
import { explain, kindOf } from "./refused";
import type { Client } from "./server/client";

export class Orch {
  constructor(
    readonly context: vscode.ExtensionContext,
    readonly model: Model,
    readonly client: Client,
    readonly log: vscode.LogOutputChannel,
  ) {}

  /** Send a request to the hub that is connected. */
  async call<M extends MethodName>(
    method: M,
    ...params: object extends Methods[M]["params"] ? [params?: Methods[M]["params"]] : [params: Methods[M]["params"]]
  ): Promise<Methods[M]["result"]> {
    return call(this.client.connection, method, ...params);
  }

  /** Do what the user asked for; what is refused is told to them and not thrown. */
  async attempt<T>(work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      this.log.warn(explain(error));
      if (kindOf(error) === "alreadyAnswered") void vscode.window.showInformationMessage(explain(error));
      else void vscode.window.showErrorMessage(explain(error));
      return undefined;
    }
  }

  session(id: string): Session | undefined {
    return this.model.sessions.get(id);
  }
}

/** Return a function that calls `work` once, shortly after the first of many calls. */
export function coalesced(milliseconds: number, work: () => void): () => void {
  let waiting: NodeJS.Timeout | undefined;
  return () => {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      work();
    }, milliseconds);
  };
}
