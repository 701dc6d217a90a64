/** What an agent asks, as forms that answer it. */

import type { InputRequest, Question, QuestionAnswer } from "../protocol";
import { allows } from "../verbs";
import { h } from "./dom";

type Reply = { optionId: string } | { answers: QuestionAnswer[] };

/** Return a form for a request; `respond` is called once, with the answer. */
export function requestForm(request: InputRequest, respond: (reply: Reply) => void): HTMLElement {
  const title = h("h2", { id: `request-${request.id}` }, request.title);
  const body = request.kind === "approval" ? approval(request, respond) : questions(request, respond);
  return h(
    "section",
    { className: "request", aria: { labelledby: title.id } },
    title,
    request.detail !== "" && request.detail !== request.title && h("pre", {}, request.detail),
    body,
  );
}

function approval(request: InputRequest, respond: (reply: Reply) => void): HTMLElement {
  const sorted = [...request.options].sort((one, other) => Number(allows(other.kind)) - Number(allows(one.kind)));
  const buttons = sorted.map((option, index) =>
    h(
      "button",
      {
        type: "button",
        className: index === 0 ? "primary" : "",
        data: { option: option.id, kind: option.kind },
        onclick: () => respond({ optionId: option.id }),
      },
      option.label,
    ),
  );
  return h("div", { className: "buttons" }, ...buttons);
}

function questions(request: InputRequest, respond: (reply: Reply) => void): HTMLElement {
  const fields = request.questions.map((question) => field(request, question));
  const form = h(
    "form",
    { aria: { label: "Your answer" } },
    ...fields.map(({ element }) => element),
    h("button", { className: "primary" }, "Answer"),
  );
  form.onsubmit = (event) => {
    event.preventDefault();
    respond({ answers: fields.map(({ read }) => read()) });
  };
  return form;
}

function field(request: InputRequest, question: Question): { element: HTMLElement; read: () => QuestionAnswer } {
  const name = `${request.id}-${question.id}`;
  const asked = question.header ? `${question.header}: ${question.text}` : question.text;
  const choices = question.options.map((option) => {
    const input = h("input", { type: question.multiSelect ? "checkbox" : "radio", name, value: option.id });
    return {
      input,
      label: h("label", {}, input, ` ${option.label}`, option.description && ` — ${option.description}`),
    };
  });
  const text = h("input", {
    type: question.secret ? "password" : "text",
    autocomplete: "off",
    aria: { label: question.options.length > 0 ? "Something else" : question.text },
    placeholder: question.options.length > 0 ? "Something else" : "",
  });
  const element = h(
    "fieldset",
    {},
    h("legend", { className: asked === request.title ? "hidden-words" : "" }, asked), // not seen twice
    ...choices.map(({ label }) => label),
    (question.allowsText || choices.length === 0) && text,
  );
  const read = () => ({
    questionId: question.id,
    optionIds: choices.filter(({ input }) => input.checked).map(({ input }) => input.value),
    text: text.value || null,
  });
  return { element, read };
}
