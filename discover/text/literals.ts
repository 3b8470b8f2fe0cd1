/**
 * Control characters, characters that change the direction of writing, line breaks and lone surrogates: an editor does
 * not show them as they are.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\u2028\u2029]/gu;

/** Returns a text as a literal of TypeScript and JSON, in one line that an editor shows as it is. */
export function literal(text: string): string {
  return JSON.stringify(text).replaceAll(UNPRINTABLE, (one) =>
    [...Array(one.length).keys()].map((at) => `\\u${one.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** Returns a number as people write it in TypeScript: `10_000`. */
export function number(value: number): string {
  const [whole = "", ...fraction] = String(value).split(".");
  const grouped = whole.includes("e") ? whole : whole.replaceAll(/\B(?=(\d{3})+$)/g, "_");
  return [grouped, ...fraction].join(".");
}

/** Returns a text of a record for a comment: one line, and not too long. */
export function shown(text: string, most = 80): string {
  const points = [...text];
  const cut = points.length > most ? `${points.slice(0, most).join("")}…` : text;
  return literal(cut).slice(1, -1).replaceAll('\\"', '"');
}

function wordsOf(words: string): ReadonlySet<string> {
  return new Set(words.trim().split(/\s+/));
}

/** Names that a module with a definition already uses, or that the language does not allow. */
const TAKEN = wordsOf(`
  arguments await break case catch class const continue debugger default delete do else enum eval export extends
  false finally for function if implements import in instanceof interface let new null package private protected
  public return static super switch this throw true try typeof undefined var void while with yield avg count
  decimal distinct first flag histogram instant integer last list map max min oneOf optional quantile ratio sql
  stream sum text topK view withDefault
`);

/**
 * Returns the name of a constant for a stream or view: `order-completed` -> `orderCompleted`. If that name is taken,
 * `ending` is added.
 */
export function identifier(name: string, ending: string): string {
  const found = name.replaceAll(/-+([a-z0-9]?)/g, (_, letter: string) => letter.toUpperCase());
  return TAKEN.has(found) ? `${found}${ending}` : found;
}

/** Words of DuckDB's SQL that must be quoted as names of columns. */
const WORDS = wordsOf(`
  all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by case cast check
  collate collation column concurrently constraint create cross current_date current_time current_timestamp
  default deferrable desc describe distinct do else end except false fetch for foreign freeze from full glob
  group having ilike in initially inner intersect into is isnull join lambda lateral leading left like limit
  natural not notnull null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing
  positional primary qualify references returning right select semi show similar some summarize symmetric table
  tablesample then to trailing true try union unique unpack unpivot using variadic verbose when where window
  with
`);

/** Returns a field's name in SQL, in quotes if it is a word of the language. */
export function column(name: string): string {
  return WORDS.has(name) ? `"${name}"` : name;
}
