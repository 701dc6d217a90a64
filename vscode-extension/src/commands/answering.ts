/** Answering what agents ask: approvals and questions. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { InputRequest, Question, QuestionAnswer, Session } from "../protocol";
import { allows, optionFor } from "../verbs";
import { pick } from "./pick";

/** Answer a session's first approval with one of its options. */
export async function decide(orch: Orch, session: Session, verb: "approve" | "deny"): Promise<void> {
  const request = session.inputRequests.find(({ kind }) => kind === "approval");
  if (!request) throw new Error("The session asks for no approval now.");
  const optionId = optionFor(request, verb);
  if (optionId === undefined)
    throw new Error(`The agent offers no way to ${verb} this; choose "Answer" to see what it offers.`);
  await orch.call("orch/session/respond", { session: session.id, inputRequestId: request.id, optionId });
}

/** Show everything that a session asks for, and answer it. */
export async function answer(orch: Orch, session: Session): Promise<void> {
  const request = session.inputRequests[0];
  if (!request) throw new Error("The session asks for nothing now.");
  const reply = request.kind === "approval" ? await chooseOption(request) : await answerQuestions(request);
  if (reply) await orch.call("orch/session/respond", { session: session.id, inputRequestId: request.id, ...reply });
}

async function chooseOption(request: InputRequest): Promise<{ optionId: string } | undefined> {
  const items = request.options.map((option) => ({
    label: `$(${allows(option.kind) ? "check" : "close"}) ${option.label}`,
    description: option.kind.replaceAll("_", " "),
    value: option.id,
  }));
  const optionId = await pick(items, [request.title, request.detail].filter(Boolean).join(": "));
  return optionId === undefined ? undefined : { optionId };
}

async function answerQuestions(request: InputRequest): Promise<{ answers: QuestionAnswer[] } | undefined> {
  const answers: QuestionAnswer[] = [];
  for (const question of request.questions) {
    const given = await answerQuestion(question);
    if (!given) return undefined;
    answers.push(given);
  }
  return { answers };
}

async function answerQuestion(question: Question): Promise<QuestionAnswer | undefined> {
  const title = question.header || undefined;
  if (question.options.length > 0) {
    const items = question.options.map((option) => ({
      label: option.label,
      detail: option.description,
      value: option.id,
    }));
    const own = { label: "$(edit) Something else…", detail: "", value: "", alwaysShow: true };
    const shown = question.allowsText ? [...items, own] : items;
    if (question.multiSelect) {
      const chosen = await vscode.window.showQuickPick(items, { canPickMany: true, placeHolder: question.text, title });
      return chosen && { questionId: question.id, optionIds: chosen.map(({ value }) => value), text: null };
    }
    const chosen = await pick(shown, question.text, title);
    if (chosen === undefined) return undefined;
    if (chosen !== "") return { questionId: question.id, optionIds: [chosen], text: null };
  }
  const text = await vscode.window.showInputBox({
    title: title ?? "The agent asks",
    prompt: question.text,
    password: question.secret,
    ignoreFocusOut: true,
  });
  return text === undefined ? undefined : { questionId: question.id, optionIds: [], text };
}
