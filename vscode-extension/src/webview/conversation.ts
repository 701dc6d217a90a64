/** The conversation on the page: drawn once, then only where it changes, with what an agent wrote as plain text. */

import type { Event } from "../protocol";
import { harmless } from "../readable";
import { Transcript, type Entry } from "../transcript";
import { fill, h } from "./dom";

const FOLDED: ReadonlySet<Entry["kind"]> = new Set(["thought", "tool", "log"]);
const MOST_SHOWN = 500;

export class Conversation {
  readonly element = h("div", {
    className: "conversation",
    aria: { role: "log", live: "polite", label: "Conversation" },
  });
  readonly plan = h("section", { className: "plan", hidden: true, aria: { label: "Plan" } });
  private readonly earlier = h(
    "button",
    { type: "button", hidden: true, onclick: () => this.showEarlier() },
    "Show earlier",
  );
  private readonly transcript = new Transcript();
  private readonly drawn = new Map<number, { element: HTMLElement; body: HTMLElement; title: HTMLElement }>();
  /** The first entry that is shown. */
  private first = 0;

  constructor() {
    this.element.append(this.earlier);
  }

  apply(events: Event[]): void {
    const touched = new Set<Entry>();
    for (const event of events) {
      const entry = this.transcript.apply(event);
      if (entry) touched.add(entry);
    }
    const { entries, plan } = this.transcript;
    const first = Math.max(this.first, entries.length - MOST_SHOWN);
    if (events.length >= MOST_SHOWN || first > this.first + MOST_SHOWN) this.forget(first);
    const least = entries[this.first]?.seq ?? 0;
    for (const entry of touched) if (entry.seq >= least) this.draw(entry);
    fill(this.plan, plan.length > 0 && h("h2", {}, "Plan"), plan.length > 0 && planList(plan));
  }

  /** Leave out what came before an entry. */
  private forget(first: number): void {
    for (const entry of this.transcript.entries.slice(this.first, first)) {
      this.drawn.get(entry.seq)?.element.remove();
      this.drawn.delete(entry.seq);
    }
    this.first = first;
    this.earlier.hidden = first === 0;
  }

  private showEarlier(): void {
    const before = this.first;
    this.first = Math.max(0, before - MOST_SHOWN);
    const after = this.earlier.nextSibling;
    for (const entry of this.transcript.entries.slice(this.first, before)) this.draw(entry, after);
    this.earlier.hidden = this.first === 0;
  }

  private draw(entry: Entry, before: ChildNode | null = null): void {
    const known = this.drawn.get(entry.seq) ?? this.make(entry, before);
    const text = harmless(entry.text, "\n\t");
    if (known.body.textContent !== text) known.body.textContent = text;
    known.title.textContent = entry.failed ? `${entry.title} — failed` : entry.title;
    known.element.dataset.open = String(entry.open);
  }

  private make(
    entry: Entry,
    before: ChildNode | null,
  ): { element: HTMLElement; body: HTMLElement; title: HTMLElement } {
    const isFolded = FOLDED.has(entry.kind);
    const title = h(isFolded ? "summary" : "h3", {});
    const body = h(isFolded ? "pre" : "div", { className: "text" });
    const element = h(isFolded ? "details" : "article", {
      className: `entry ${entry.kind}`,
      data: { seq: String(entry.seq) },
    });
    element.append(title, body);
    this.element.insertBefore(element, before);
    const made = { element, body, title };
    this.drawn.set(entry.seq, made);
    return made;
  }
}

function planList(plan: { text: string; status: string }[]): HTMLElement {
  const marks: Record<string, string> = { completed: "✓", in_progress: "▸" };
  const items = plan.map(({ text, status }) =>
    h(
      "li",
      { data: { status } },
      `${marks[status] ?? "○"} ${harmless(text)}`,
      h("span", { className: "hidden-words" }, ` (${status.replaceAll("_", " ")})`),
    ),
  );
  return h("ul", {}, ...items);
}
