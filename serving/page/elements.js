/** Builds the documents of the pages. Texts become text nodes, so that nothing from an event is read as HTML. */

export const element = (id) => document.getElementById(id);

/** Returns an element. `className` and `text` are its class and its text; other properties are attributes. */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  const { className, text, ...attributes } = properties;
  if (className !== undefined) made.className = className;
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/** Replaces a node's children by `wanted`, unless they are equal. Focus and scrolling are kept then. */
export function show(node, ...wanted) {
  const fresh = make("div", {}, ...wanted);
  if (node.innerHTML !== fresh.innerHTML) node.replaceChildren(...fresh.childNodes);
}
