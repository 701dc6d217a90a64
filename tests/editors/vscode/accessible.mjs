// What keeps someone from using a page by keyboard or by ear; run in the page's own document.

/** Return what is wrong with a page: controls without a name, a focus order against the reading order, and such. */
export function barriers(frame) {
  return frame.evaluate(() => {
    const found = [];
    const isShown = (element) => element.checkVisibility({ visibilityProperty: true });
    const words = (ids) => (ids ?? "").split(/\s+/).map((id) => (id && document.getElementById(id)?.textContent) || "");
    const nameOf = (element) =>
      [
        element.getAttribute("aria-label"),
        ...words(element.getAttribute("aria-labelledby")),
        ...[...(element.labels ?? [])].map((label) => label.textContent),
        element.matches("button, summary, a, h1, h2, h3") ? element.textContent : "",
      ]
        .join(" ")
        .trim();
    const tell = (element, what) => found.push(`${element.outerHTML.slice(0, 120)}: ${what}`);
    const CONTROLS = "button, summary, a[href], input, select, textarea, [role=button], [tabindex]";
    for (const element of [...document.querySelectorAll(CONTROLS)].filter(isShown)) {
      if (!nameOf(element)) tell(element, "has no name");
      if (element.tabIndex > 0) tell(element, "has a place of its own in the focus order");
    }
    for (const element of document.querySelectorAll("section, form, fieldset, [role=log], [role=toolbar]")) {
      const legend = element.querySelector(":scope > legend")?.textContent ?? "";
      if (isShown(element) && !nameOf(element) && !legend) tell(element, "is a region without a name");
    }
    for (const element of [...document.querySelectorAll("h1, h2, h3")].filter(isShown))
      if (!nameOf(element)) tell(element, "is an empty heading");
    const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
    for (const id of new Set(ids)) if (ids.filter((each) => each === id).length > 1) found.push(`#${id} stands twice`);
    if (!document.documentElement.lang) found.push("the language is not said");
    if (!document.title) found.push("the document has no title");
    return found;
  });
}

/** Press Tab from the top of a page until `last` has the focus, and return what had it on the way. */
export async function tabTo(page, frame, last) {
  await frame.evaluate(() => {
    const start = document.body;
    start.tabIndex = -1;
    start.focus();
    start.removeAttribute("tabindex");
  });
  const stops = [];
  while (stops.at(-1) !== last) {
    if (stops.length > 60) throw new Error(`Tab does not lead to ${last}: ${stops.join(", ")}`);
    await page.keyboard.press("Tab");
    stops.push(
      await frame.evaluate(() => {
        const element = document.activeElement;
        return element?.getAttribute("aria-label") || element?.value || element?.textContent || element?.tagName;
      }),
    );
  }
  return stops;
}
