import { type Command, InvalidArgumentError, Option } from "commander";

/** Flags that are parameters of the request, by their names. */
const PARAMETERS = {
  from: ["<time>", "event time from which on: 2026-01-31T12:00:00Z, or epoch milliseconds"],
  to: ["<time>", "event time up to which, exclusive: a date is its first moment, so that day is not in the answer"],
  every: ["<duration>", "width of the buckets: 5m, 1h, 1d, 1w, 1mo, 1q, 1y; all: one row for the whole range"],
  zone: ["<name>", "time zone of days, weeks and months, such as Europe/Berlin"],
  window: ["<duration>", "how much time a row covers, sliding by --every"],
  by: ["<dimensions>", 'dimensions to group by, separated by commas; "" for totals'],
  measures: ["<names>", "measures to show, separated by commas"],
  order: ["<columns>", "columns to sort by, - before a name for descending"],
  limit: ["<n>", "the most rows to show"],
} as const satisfies Record<string, readonly [value: string, description: string]>;

/** The flags that `addQueryFlags` adds. */
export type QueryFlags = { readonly [name in keyof typeof PARAMETERS]?: string } & {
  readonly where: readonly (readonly [dimension: string, value: string])[];
};

/** Adds the flags of a query, except those in `without`. */
export function addQueryFlags(command: Command, without: readonly (keyof typeof PARAMETERS)[] = []): Command {
  for (const [name, [value, description]] of Object.entries(PARAMETERS))
    if (!without.some((one) => one === name)) command.option(`--${name} ${value}`, description);
  return command.addOption(
    new Option(
      "--where <dimension=value>",
      "only this value of a dimension, null for none ('\"null\"' for the text null); repeat it for several",
    )
      .argParser(condition)
      .default([], "all"),
  );
}

function condition(text: string, held: readonly (readonly [string, string])[]): (readonly [string, string])[] {
  const equals = text.indexOf("=");
  if (equals < 1) throw new InvalidArgumentError("It must be dimension=value.");
  return [...held, [text.slice(0, equals), text.slice(equals + 1)]];
}

/** Returns `GET /views/<view><path>` with these flags as parameters. */
export function queryUrl(api: string, view: string, flags: QueryFlags, path = ""): URL {
  return withQuery(new URL(`${api.replace(/\/$/, "")}/views/${encodeURIComponent(view)}${path}`), flags);
}

/** Returns the URL with these flags as parameters. */
export function withQuery(url: URL, flags: QueryFlags): URL {
  for (const name of Object.keys(PARAMETERS) as (keyof typeof PARAMETERS)[]) {
    const value = flags[name];
    if (value !== undefined) url.searchParams.append(name, value);
  }
  for (const [dimension, value] of flags.where) url.searchParams.append(`where[${dimension}]`, value);
  return url;
}
