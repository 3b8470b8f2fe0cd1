import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";

/** Objects that only wrap what an event says: their names tell nothing about a field. */
const WRAPPERS: ReadonlySet<string> = new Set(
  "after attributes body content data detail details event fields message object payload properties record value".split(
    " ",
  ),
);
const MOST_LETTERS = 60;

/**
 * A name in lower case with underscores: `orderId` -> `order_id`. "field" for one without a letter or digit that ASCII
 * has.
 */
export function snakeCase(name: string): string {
  const words = name
    .replaceAll("ß", "ss")
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "_")
    .replaceAll(/^_+|_+$/g, "")
    .slice(0, MOST_LETTERS);
  if (words === "") return "field";
  return /^\d/.test(words) ? `field_${words}`.slice(0, MOST_LETTERS) : words;
}

/** A name of which `taken` has none: with a number behind it where it has. Adds it to `taken`. */
export function freeName(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted.slice(0, MOST_LETTERS - 4)}_${number}`;
  taken.add(name);
  return name;
}

/**
 * A name for the field at each path, by the path's text. Objects that only wrap others are left out of names, unless
 * two fields would then be called alike.
 * Fields of outer objects choose first, and of these the ones whose names stay as they are.
 */
export function fieldNames(paths: readonly WirePath[], taken: Set<string> = new Set()): Map<string, string> {
  const names = new Map<string, string>();
  const isOwn = (path: WirePath) => path.length === 1 && snakeCase(path[0] ?? "") === path[0];
  for (const path of paths.toSorted((a, b) => a.length - b.length || Number(isOwn(b)) - Number(isOwn(a)))) {
    const whole = snakeCase(path.join("_"));
    const first = path.findIndex((step, index) => index === path.length - 1 || !WRAPPERS.has(step.toLowerCase()));
    const short = snakeCase(path.slice(first).join("_"));
    names.set(pathText(path), freeName(taken.has(short) ? whole : short, taken));
  }
  return names;
}

/** A topic's name as that of a stream: `prod.Orders_v1` -> `prod-orders-v1`. */
export function streamName(topic: string): string {
  const words = snakeCase(topic).replaceAll("_", "-");
  return /^\d/.test(topic) ? words.replace("field", "topic") : words;
}

/** A pattern for names that end in one of these words, which blanks or line breaks separate. */
export function endingIn(words: string): RegExp {
  return new RegExp(`(^|_)(${words.trim().split(/\s+/).join("|")})$`);
}

/** A pattern for names that have one of these words. */
export function having(words: string): RegExp {
  return new RegExp(`(^|_)(${words.trim().split(/\s+/).join("|")})(_|$)`);
}
