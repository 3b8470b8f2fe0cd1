import type { FoundField } from "./fields/layout.ts";
import { isNamedLikeTime } from "./fields/times.ts";
import { shown } from "./text/literals.ts";

const MONTH = /\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\b/i;
const DATE = /\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b|\b\d{4}[./]\d{1,2}[./]\d{1,2}\b/;

/**
 * Returns a sentence for each thing that the contract assumes and the sample does not show, and for times that it does
 * not read.
 */
export function assumptions(fields: readonly FoundField[]): string[] {
  const named = (is: (field: FoundField) => boolean, text: (field: FoundField) => string = ({ name }) => name) =>
    fields.filter(is).map(text).join(", ");
  const zoned = named(({ spec }) => spec.type === "instant" && spec.zone !== undefined);
  const closed = named(({ spec }) => spec.type === "oneOf");
  const unread = named(isUnreadTime, ({ name, seen }) => `${name} ("${shown(seen.texts[0] ?? "", 40)}")`);
  return [
    ...(zoned === "" ? [] : [`Times without an offset are read as UTC (zone: "Z"): ${zoned}`]),
    ...(unread === "" ? [] : [`Kept as texts, because such times are not ISO 8601: ${unread}`]),
    ...(closed === ""
      ? []
      : [`A record with another value than these lists have is refused: ${closed}. Use text() if more may come`]),
  ];
}

function isUnreadTime({ name, spec, seen }: FoundField): boolean {
  return (
    spec.type === "text" && isNamedLikeTime(name) && seen.texts.every((text) => DATE.test(text) || MONTH.test(text))
  );
}
