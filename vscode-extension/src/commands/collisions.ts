/** What to do about sessions that would not merge. */

import * as vscode from "vscode";

import type { Orch } from "../orch";
import type { Collision } from "../protocol";
import type { CollisionNode } from "../views/sessions";
import { pick, pickProject, type Given } from "./pick";

export function register(orch: Orch): vscode.Disposable[] {
  return [
    vscode.commands.registerCommand("orch.collisions", () => orch.attempt(() => show(orch))),
    vscode.commands.registerCommand("orch.collision.tell", (node?: CollisionNode) =>
      orch.attempt(() => tell(orch, node)),
    ),
    vscode.commands.registerCommand("orch.planMerge", (given?: Given) => orch.attempt(() => plan(orch, given))),
  ];
}

function titleOf(orch: Orch, id: string): string {
  return orch.session(id)?.title ?? id;
}

/** Go to one of the sessions that collide. */
async function show(orch: Orch): Promise<void> {
  const collision = await pickCollision(orch, [...orch.model.collisions.values()]);
  if (collision) await vscode.commands.executeCommand("orch.session.open", collision.sessions[0]);
}

async function pickCollision(orch: Orch, collisions: Collision[]): Promise<Collision | undefined> {
  if (collisions.length === 0) {
    void vscode.window.showInformationMessage("Nothing collides: everything would merge.");
    return undefined;
  }
  const items = collisions.map((collision) => {
    const [one, other] = collision.sessions;
    return {
      label: `$(warning) ${titleOf(orch, one)}`,
      description: `with ${other === null ? `the ${collision.against}` : titleOf(orch, other)}`,
      detail: collision.files.map(({ path }) => path).join(", "),
      value: collision,
    };
  });
  return pick(items, "Which collision?");
}

/** Tell a session, in a follow-up, what the other one changed. */
async function tell(orch: Orch, node?: CollisionNode): Promise<void> {
  const between = [...orch.model.collisions.values()].filter(({ sessions }) => sessions[1] !== null);
  const collision = node?.collision ?? (await pickCollision(orch, between));
  if (!collision) return;
  const sides = collision.sessions.filter((id) => id !== null);
  const items = sides.map((id) => ({ label: titleOf(orch, id), description: orch.session(id)?.agent, value: id }));
  const session = node?.session ?? (await pick(items, "Which session is to be told what the other changed?"));
  if (session) await orch.call("orch/collision/tell", { collision: collision.id, session });
}

/** Show in which order the sessions of a project come home with the fewest conflicts. */
async function plan(orch: Orch, given: Given): Promise<void> {
  const project = await pickProject(orch, given);
  if (!project) return;
  const { order, settleFirst } = await orch.call("orch/collision/plan", { project: project.id });
  if (order.length === 0 && settleFirst.length === 0) {
    void vscode.window.showInformationMessage(`No ended session of ${project.slug} has work that is not at home yet.`);
    return;
  }
  const items = [
    ...settleFirst.map(([one, other]) => ({
      label: `$(warning) Settle first: ${titleOf(orch, one)}`,
      description: `with ${titleOf(orch, other)}`,
      value: one,
    })),
    ...order.map((id, index) => ({
      label: `${index + 1}. ${titleOf(orch, id)}`,
      description: orch.session(id)?.agent,
      value: id,
    })),
  ];
  const chosen = await pick(items, "Bring them home in this order. Choose one to open it");
  if (chosen) await vscode.commands.executeCommand("orch.session.open", chosen);
}
