/** The dashboard, as it runs in the webview. */

import type { Action } from "../protocol";
import { harmless } from "../readable";
import type { FromDashboard, Line, ToDashboard } from "../views/messages";
import { editor, fill, h } from "./dom";

const VERB_WORDS: Partial<Record<NonNullable<Line["verb"]>, string>> = {
  answer: "Answer",
  stop: "Stop",
  resume: "Resume",
};

const api = editor<FromDashboard>();
const kept = (api.getState() ?? {}) as { prompt?: string; agent?: string; action?: string };

const notice = h("p", { className: "notice", hidden: true, aria: { role: "status" } });
const counts = h("div", { className: "counts", aria: { live: "polite" } });
const sections = {
  waiting: "Waiting for you",
  active: "At work",
  collisions: "Collisions",
  failures: "Failed",
} as const;
const lists = Object.fromEntries(
  Object.entries(sections).map(([name, words]) => [name, h("section", { hidden: true, aria: { label: words } })]),
) as Record<keyof typeof sections, HTMLElement>;
const recent = h("section", { hidden: true, className: "recent", aria: { label: "Latest events" } });
const agent = h("select", { aria: { label: "Agent" } });
const action = h("select", { aria: { label: "Action" } });
const project = h("select", { aria: { label: "Project" } });
const prompt = h("textarea", { rows: 3, value: kept.prompt ?? "", placeholder: "The task", aria: { label: "Task" } });
const form = h(
  "form",
  { className: "composer", aria: { label: "Send an agent to work" } },
  h("div", { className: "row" }, agent, action, project),
  prompt,
  h(
    "div",
    { className: "buttons" },
    h("button", { className: "primary" }, "Start"),
    command("In words…", "orch.do"),
    command("Search…", "orch.search"),
  ),
);

action.append(...["implement", "plan", "review", "analyze"].map((name) => h("option", { value: name }, name)));
if (kept.action) action.value = kept.action;
document.body.classList.add("dashboard");
document.body.append(notice, counts, form, ...Object.values(lists), recent);

prompt.oninput = keep;
for (const select of [agent, action]) select.onchange = keep;
prompt.onkeydown = (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
};
form.onsubmit = (event) => {
  event.preventDefault();
  if (!project.value) {
    api.postMessage({ type: "command", command: "orch.project.add" });
    return;
  }
  const needsPrompt = action.value === "implement" || action.value === "plan";
  if (needsPrompt && !prompt.value.trim()) {
    prompt.focus();
    return;
  }
  api.postMessage({
    type: "start",
    agent: agent.value,
    action: action.value as Action,
    project: project.value,
    prompt: prompt.value,
  });
  prompt.value = "";
  keep();
};

window.addEventListener("message", ({ data }: MessageEvent<ToDashboard>) => {
  fill(notice, data.notice);
  fill(
    counts,
    ...data.counts.map(({ label, number }) =>
      h("span", { data: { count: label } }, h("b", {}, String(number)), ` ${label}`),
    ),
  );
  for (const name of Object.keys(sections) as (keyof typeof sections)[]) draw(lists[name], sections[name], data[name]);
  const events = data.recent.map((line) => h("li", {}, harmless(line)));
  fill(recent, events.length > 0 && h("h2", {}, "Latest"), events.length > 0 && h("ul", {}, ...events));
  choices(
    agent,
    data.agents.map((name) => ({ id: name, slug: name })),
    kept.agent,
  );
  choices(project, data.projects, data.project);
});
api.postMessage({ type: "ready" });

function draw(section: HTMLElement, words: string, lines: Line[]): void {
  const items = lines.map(({ id, title, detail, verb }) =>
    h(
      "li",
      {},
      h("button", { type: "button", className: "link", onclick: () => api.postMessage({ type: "open", id }) }, title),
      verb &&
        h(
          "button",
          { type: "button", data: { verb }, onclick: () => api.postMessage({ type: "verb", verb, id }) },
          VERB_WORDS[verb] ?? verb,
        ),
      h("div", { className: "detail" }, harmless(detail)),
    ),
  );
  fill(section, items.length > 0 && h("h2", {}, words), items.length > 0 && h("ul", {}, ...items));
}

/** Keep what the user has chosen, as long as it is there. */
function choices(
  select: HTMLSelectElement,
  items: { id: string; slug: string }[],
  preferred: string | undefined,
): void {
  const names = items.map(({ id }) => id).join();
  if (select.dataset.names === names) return;
  const chosen = select.value || preferred;
  select.dataset.names = names;
  select.replaceChildren(...items.map(({ id, slug }) => h("option", { value: id }, slug)));
  if (items.some(({ id }) => id === chosen)) select.value = chosen ?? "";
  select.hidden = items.length === 0;
}

function command(words: string, name: Extract<FromDashboard, { type: "command" }>["command"]): HTMLElement {
  return h("button", { type: "button", onclick: () => api.postMessage({ type: "command", command: name }) }, words);
}

function keep(): void {
  Object.assign(kept, { prompt: prompt.value, agent: agent.value, action: action.value });
  api.setState(kept);
}
