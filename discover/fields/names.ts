import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";

/** Names of objects that only wrap an event: they say nothing about a field. */
const WRAPPERS: ReadonlySet<string> = new Set(
  "after attributes body content data detail details event fields message object payload properties record value".split(
    " ",
  ),
);
const MOST_LETTERS = 60;

/**
 * Returns a name in lower case with underscores: `orderId` -> `order_id`. Returns "field" for a name without an ASCII
 * letter or digit.
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

/** Returns a name that is not in `taken`, with a number at its end if needed. Adds it to `taken`. */
export function freeName(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let number = 2; taken.has(name); number++) name = `${wanted.slice(0, MOST_LETTERS - 4)}_${number}`;
  taken.add(name);
  return name;
}

/**
 * Returns a name for the field at each path, by the path's text. The names of wrapping objects are left out, unless two
 * fields would have the same name. Fields of outer objects get their names first, and among these the ones whose names
 * stay as they are.
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

/** Returns a stream's name for a topic: `prod.Orders_v1` -> `prod-orders-v1`. */
export function streamName(topic: string): string {
  const words = snakeCase(topic).replaceAll("_", "-");
  return /^\d/.test(topic) ? words.replace("field", "topic") : words;
}

/** Returns a pattern for names that end in one of these words. Blanks or line breaks separate the words. */
export function endingIn(words: string): RegExp {
  return new RegExp(`(^|_)(${words.trim().split(/\s+/).join("|")})$`);
}

/** Returns a pattern for names that contain one of these words. */
export function having(words: string): RegExp {
  return new RegExp(`(^|_)(${words.trim().split(/\s+/).join("|")})(_|$)`);
}
