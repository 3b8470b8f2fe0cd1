/** The formats of an answer, and their media types. `spreadsheet` is CSV without text that would run as a formula. */
export const FORMATS = { json: "application/json", csv: "text/csv", spreadsheet: "text/csv" } as const;
export type Format = keyof typeof FORMATS;

/**
 * Returns the format that a request's Accept header prefers (RFC 9110, 12.5.1). The more specific range decides a
 * type's quality, and JSON wins a tie. A header that accepts neither gets JSON.
 */
export function preferredFormat(accept: string | undefined): Format {
  if (accept === undefined || accept === "*/*") return "json";
  const ranges = accept.split(",").map(parseRange);
  const quality = (type: string) => {
    const fitting = ["*/*", `${type.split("/")[0]}/*`, type].map((name) => ranges.find((range) => range.name === name));
    return fitting.findLast((range) => range !== undefined)?.quality ?? 0;
  };
  return quality(FORMATS.csv) > quality(FORMATS.json) ? "csv" : "json";
}

function parseRange(text: string): { name: string; quality: number } {
  const [name = "", ...parameters] = text.split(";").map((part) => part.trim().toLowerCase());
  const weight = parameters.find((parameter) => parameter.startsWith("q="));
  const quality = weight === undefined ? 1 : Number(weight.slice(2));
  return { name, quality: quality >= 0 && quality <= 1 ? quality : 0 };
}
