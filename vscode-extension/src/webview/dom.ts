/** Making elements without markup: whatever is text stays text. */

const NEAR_END = 40;

type Child = Node | string | false | undefined;
type Properties<K extends keyof HTMLElementTagNameMap> = Partial<Omit<HTMLElementTagNameMap[K], "dataset">> & {
  aria?: Record<string, string>;
  data?: Record<string, string>;
};

/** Return a new element with properties and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Properties<K> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  const { aria = {}, data = {}, ...rest } = properties;
  Object.assign(element, rest);
  for (const [key, value] of Object.entries(aria)) element.setAttribute(key === "role" ? key : `aria-${key}`, value);
  for (const [key, value] of Object.entries(data)) element.dataset[key] = value;
  element.append(...children.filter((child): child is Node | string => child !== undefined && child !== false));
  return element;
}

/** Put new children in the place of all that an element has; it is hidden where there are none. */
export function fill(element: HTMLElement, ...children: Child[]): void {
  const kept = children.filter(
    (child): child is Node | string => child !== undefined && child !== false && child !== "",
  );
  element.replaceChildren(...kept);
  element.hidden = kept.length === 0;
}

/** Change the page; whoever was looking at its end goes on doing so. */
export function stayAtEnd(change: () => void): void {
  const page = document.scrollingElement ?? document.body;
  const wasAtEnd = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_END;
  change();
  if (wasAtEnd) page.scrollTop = page.scrollHeight;
}

interface Editor<Out> {
  postMessage(message: Out): void;
  getState(): unknown;
  setState(state: unknown): void;
}

declare function acquireVsCodeApi<Out>(): Editor<Out>;

/** The editor that shows this page. May be asked for once. */
export function editor<Out>(): Editor<Out> {
  return acquireVsCodeApi<Out>();
}
