/** The page of a session, as it runs in the webview. */

import { describe, LOOKS, stateWords } from "../presentation";
import type { Artifact, FollowUpMode, Session } from "../protocol";
import { count } from "../readable";
import type { Verb } from "../verbs";
import type { FromSessionPage, ToSessionPage } from "../views/messages";
import { Conversation } from "./conversation";
import { editor, fill, h, stayAtEnd } from "./dom";
import { requestForm } from "./requests";

/** The verbs that have a button here, in this order. */
const BUTTONS: Partial<Record<Verb, string>> = {
  stop: "Stop",
  resume: "Resume",
  diff: "Changes",
  openInWorkspace: "Open Worktree",
  openInNewWindow: "New Window",
  openTerminal: "Terminal",
  commit: "Commit…",
  apply: "Apply to Checkout…",
  archive: "Archive",
  unarchive: "Unarchive",
  delete: "Delete…",
  restore: "Restore",
  showLog: "Events",
};

interface Kept {
  session?: string;
  draft?: string;
}

const api = editor<FromSessionPage>();
const kept = (api.getState() ?? {}) as Kept;
const conversation = new Conversation();
let session: Session | undefined;
let sending = "";

const title = h("h1", {});
const facts = h("p", { className: "facts", aria: { live: "polite" } });
const notice = h("p", { className: "notice", hidden: true });
const buttons = h("div", { className: "buttons", aria: { role: "toolbar", label: "Actions" } });
const prompt = h("div", { className: "text" });
const requests = h("div", { className: "requests", hidden: true, aria: { live: "assertive" } });
const queue = h("ul", { className: "queue", hidden: true, aria: { label: "Texts that wait to be delivered" } });
const artifacts = h("ul", { className: "artifacts", hidden: true, aria: { label: "Artifacts" } });
const log = h("pre", { className: "text" }, "");
const logBox = h("details", { className: "log-tail" }, h("summary", {}, "The agent's standard error"), log);
const text = h("textarea", {
  rows: 3,
  value: kept.draft ?? "",
  placeholder: "A further text for the agent",
  aria: { label: "Follow-up" },
});
const mode = h("select", { aria: { label: "When it is delivered" } });
const send = h("button", { className: "primary" }, "Send");
const form = h(
  "form",
  { className: "follow-up", aria: { label: "Talk to the agent" } },
  text,
  h("div", { className: "buttons" }, mode, send),
);

mode.append(
  h("option", { value: "queue" }, "When the turn ends"),
  h("option", { value: "steer" }, "Now, into the turn"),
);
document.body.append(
  h("header", {}, title, facts, notice, buttons),
  h("details", { className: "prompt" }, h("summary", {}, "Prompt"), prompt),
  conversation.plan,
  h("main", {}, conversation.element),
  requests,
  h("footer", {}, queue, form, artifacts, logBox),
);

logBox.ontoggle = () => logBox.open && api.postMessage({ type: "log" });
text.oninput = () => keep({ draft: text.value });
text.onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
};
form.onsubmit = (event) => {
  event.preventDefault();
  if (!text.value.trim()) return;
  sending = text.value;
  text.value = "";
  keep({ draft: "" });
  api.postMessage({ type: "followUp", text: sending, mode: mode.value as FollowUpMode });
};

window.addEventListener("message", ({ data }: MessageEvent<ToSessionPage>) => {
  switch (data.type) {
    case "session":
      stayAtEnd(() => show(data.session, data.verbs, data.artifacts));
      break;
    case "events":
      stayAtEnd(() => conversation.apply(data.events));
      break;
    case "log":
      log.textContent = (data.truncated ? "…\n" : "") + (data.lines.join("\n") || "It wrote nothing.");
      break;
    case "refused": // the text is not lost
      if (!text.value) text.value = sending;
      keep({ draft: text.value });
      drawRequests(true);
  }
});
api.postMessage({ type: "ready" });

function show(now: Session, verbs: Verb[], files: Artifact[]): void {
  session = now;
  keep({ session: now.id });
  title.textContent = now.title;
  facts.textContent = [stateWords(now), describe(now), now.projectSlug, now.branch, usage(now)]
    .filter(Boolean)
    .join(" · ");
  facts.dataset.state = now.state;
  document.body.dataset.state = now.state;
  const attention = now.attention.map((flag) => flag.replaceAll("_", " ")).join(", ");
  fill(notice, [now.reason === "turn_ended" ? "" : now.message, attention].filter(Boolean).join(" · "));
  prompt.textContent = now.prompt;
  drawButtons(verbs);
  drawRequests(false);
  fill(queue, ...now.queued.map((item) => queued(item.id, item.text, item.status)));
  fill(
    artifacts,
    ...files.map((file) =>
      h(
        "li",
        {},
        link(file.name, () => api.postMessage({ type: "artifact", id: file.id })),
        ` ${file.kind}`,
      ),
    ),
  );
  form.hidden = !verbs.includes("followUp");
  const isWorking = now.state === "running" || now.state === "waiting_for_user";
  mode.hidden = !isWorking;
  send.textContent = isWorking ? "Send" : "Go on with this";
  text.setAttribute("aria-description", `${LOOKS[now.state].label}. Control and Enter sends.`);
}

/** Draw the buttons anew only where others are wanted: one that has the focus keeps it. */
function drawButtons(verbs: Verb[]): void {
  const wanted = (Object.keys(BUTTONS) as Verb[]).filter((verb) => verbs.includes(verb));
  if (buttons.dataset.verbs === wanted.join()) return;
  buttons.dataset.verbs = wanted.join();
  const made = wanted.map((verb) =>
    h(
      "button",
      { type: "button", data: { verb }, onclick: () => api.postMessage({ type: "verb", verb }) },
      BUTTONS[verb] ?? verb,
    ),
  );
  fill(buttons, ...made);
}

/** The same for what is asked: what a user has begun to fill in stays. */
function drawRequests(again: boolean): void {
  const asked = session?.inputRequests ?? [];
  const names = asked.map(({ id }) => id).join();
  if (!again && requests.dataset.names === names) return;
  requests.dataset.names = names;
  const forms = asked.map((request) => {
    const made = requestForm(request, (reply) => {
      made.inert = true; // the first answer counts
      api.postMessage({ type: "respond", inputRequestId: request.id, ...reply });
    });
    return made;
  });
  fill(requests, ...forms);
}

function queued(id: string, words: string, status: string): HTMLElement {
  const state = status === "uncertain" ? "not acknowledged: " : "waits: ";
  return h(
    "li",
    {},
    `${state}${words} `,
    link("take back", () => api.postMessage({ type: "unqueue", followUpId: id })),
  );
}

function link(words: string, onclick: () => void): HTMLElement {
  return h("button", { type: "button", className: "link", onclick }, words);
}

function usage({ usage: used, turns }: Session): string {
  const tokens = used.inputTokens + used.outputTokens;
  const cost = used.costUsd === null ? "" : `, $${used.costUsd.toFixed(2)}`;
  return count(turns, "turn") + (tokens > 0 ? `, ${used.inputTokens} tokens in, ${used.outputTokens} out${cost}` : "");
}

function keep(change: Kept): void {
  Object.assign(kept, change);
  api.setState(kept);
}
