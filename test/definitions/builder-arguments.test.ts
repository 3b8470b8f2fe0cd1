import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { instant } from "../../core/contract/fields.ts";
import { fieldFrom } from "../../core/contract/stream-document.ts";
import { measureFrom } from "../../core/measures/kinds/kinds.ts";
import { parseBound, parseTime } from "../../core/time.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";

/** What builders are given wrongly: each is DEFINITION_INVALID, with file and field, and never a stack trace. */

const folder = join(process.cwd(), ".tideline", `arguments-${Date.now()}`);
beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true }));

let files = 0;

/** The problems of a definition file with this text below its imports. */
async function problemsOf(text: string): Promise<string> {
  const directory = join(folder, String(files++));
  await mkdir(directory);
  const names = [
    ...["decimal", "flag", "instant", "integer", "list", "oneOf", "optional", "text", "withDefault"],
    ...["avg", "count", "distinct", "max", "min", "histogram", "first", "last", "quantile", "ratio", "sum", "topK"],
    ...["sql", "stream", "view"],
  ];
  const base =
    'const base = stream("base", { revision: 1, partitions: 1, key: "id", eventId: "id", ' +
    'eventTime: "at", dedupWindow: 1, fields: { id: text(), at: instant({ from: "2020-01-01", ' +
    'to: "2030-01-01" }), size: integer({ min: 0, max: 9 }) } });';
  const file = `import { ${names.join(", ")} } from "../../../core/definition/builders.ts";\n${base}\n${text}`;
  await writeFile(join(directory, "wrong.ts"), file);
  return loadDefinitions({ schemas: [], views: [directory] }).then(
    () => "",
    (error: { code: string; message: string }) => {
      expect(error.code).toBe("DEFINITION_INVALID");
      return error.message;
    },
  );
}

const measure = (text: string) =>
  `export const v = view("v", { stream: base, every: "1 minute", measures: { n: count(), wrong: ${text} } });`;
const roles = 'revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 1';
const field = (text: string) =>
  `export const s = stream("s", { ${roles},
     fields: { id: text(), at: instant({ from: "2020-01-01", to: "2030-01-01" }), wrong: ${text} } });
   export const v = view("v", { stream: s, every: "1 minute", measures: { n: count() } });`;
const inView = (text: string) =>
  `export const v = view("v", { stream: base, every: "1 minute", measures: { n: count() }, ${text} });`;
const inStream = (text: string) =>
  `export const s = stream("s", { ${roles},
     fields: { id: text(), at: instant({ from: "2020-01-01", to: "2030-01-01" }) }, ${text} });
   export const v = view("v", { stream: s, every: "1 minute", measures: { n: count() } });`;

const SIZE = "sql`size`";

describe("a measure's arguments", () => {
  test.each([
    [`quantile(${SIZE}, { at: [0, 0.5] })`, "at is a list of numbers above 0 and up to 1"],
    [`quantile(${SIZE}, { at: [] })`, "at is a list"],
    [`quantile(${SIZE}, { at: 0.5 })`, "at is a list"],
    [`quantile(${SIZE}, { at: ["0.5"] })`, "at is a list"],
    [`quantile(${SIZE}, { at: [NaN] })`, "at is a list"],
    [`quantile(${SIZE}, { at: [1.01] })`, "at is a list"],
    [`quantile(${SIZE}, { error: 0 })`, "error is a number from 0.001 to 0.1"],
    [`quantile(${SIZE}, { error: "0.01" })`, "error is a number"],
    [`quantile(${SIZE}, null)`, "called with wrong arguments"],
    ["quantile()", "called with wrong arguments"],
    ['quantile("size")', "is not SQL"],
    [`histogram(${SIZE}, { edges: [3, 2] })`, "edges are 1 to 200 ascending integers"],
    [`histogram(${SIZE}, { edges: [] })`, "edges are"],
    [`histogram(${SIZE}, { edges: [0.5] })`, "edges are"],
    [`histogram(${SIZE}, { edges: "1,2" })`, "edges are"],
    [`histogram(${SIZE})`, "called with wrong arguments"],
    [`topK(${SIZE}, { show: 0 })`, "show is a whole number from 1 to 1000"],
    [`topK(${SIZE}, { show: "10" })`, "show is a whole number"],
    [`topK(${SIZE}, { weight: "size" })`, "is not SQL"],
    ["ratio(count())", "called with wrong arguments"],
    [`ratio(quantile(${SIZE}), count())`, "two measures of one number each"],
    [`ratio(count(), sum(${SIZE}, { unit: 5 }))`, "a unit is text"],
    [`ratio(count(), quantile(${SIZE}, { at: [2] }))`, "at is a list"],
    ["sum()", "called with wrong arguments"],
    ['sum("size")', "is not SQL"],
    ["sum(sql``)", "is empty SQL"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a definition's text
    ['sum(sql`${"size"} + 1`)', "an interpolated part is not SQL"],
    ["avg({})", "is not SQL"],
    ["count({ where: true })", "is not SQL"],
    ["distinct(null)", "called with wrong arguments"],
    ["first(7)", "is not SQL"],
    [`last(${SIZE}, null)`, "called with wrong arguments"],
    ["min([])", "is not SQL"],
    ["count", "no measure"],
    ["5", "no measure"],
    ["undefined", "no measure"],
  ])("%s", async (text, problem) => {
    const message = await problemsOf(measure(text));
    expect(message).toMatch(/wrong\.ts: view v: measures\.wrong: /);
    expect(message).toContain(problem);
    expect(message).not.toMatch(/\n\s+at /);
  });
});

describe("a field's arguments", () => {
  test.each([
    ["integer({ min: 0 })", "integer bounds must be safe integers in order"],
    ["integer({ min: 5, max: 4 })", "integer bounds"],
    ["integer({ min: 0, max: 2 ** 53 })", "integer bounds"],
    ['integer({ min: "0", max: 5 })', "integer bounds"],
    ["integer()", "called with wrong arguments"],
    ["decimal({ scale: 0, min: 0, max: 1 })", "a decimal's scale is 1 to 6"],
    ["decimal({ scale: 2.5, min: 0, max: 1 })", "a decimal's scale"],
    ['decimal({ scale: 2, min: "0", max: 1 })', "decimal bounds"],
    ["decimal({ scale: 2, min: 0, max: 0.001 })", "decimal bounds"],
    ["decimal({ scale: 2, min: 0, max: NaN })", "decimal bounds"],
    ['instant({ from: "yesterday", to: "2030-01-01" })', '"yesterday" is not a time; write 2020-01-01T00:00:00Z'],
    ['instant({ from: "2020-02-30", to: "2030-01-01" })', '"2020-02-30" is not a time'],
    ['instant({ from: "2030-01-01", to: "2020-01-01" })', "integer bounds"],
    ["instant(null)", "called with wrong arguments"],
    ["text({ max: -1 })", "the length of a text, max, is a whole number"],
    ['text({ max: "9" })', "the length of a text"],
    ["text(null)", "called with wrong arguments"],
    ["oneOf()", "the texts that are allowed, at least one"],
    ["oneOf(1, 2)", "the texts that are allowed"],
    ['oneOf(["a", "b"])', "the texts that are allowed"],
    ["list({ a: text() }, { max: 0.5 })", "the length of a list"],
    ["list({})", "at least one"],
    ["list({ a: list({ b: text() }) })", "scalar fields"],
    ["list({ a: integer({ min: 1, max: 0 }) })", "a: integer bounds"],
    ["list()", "called with wrong arguments"],
    ["optional(optional(text()))", "optional once"],
    ["optional(integer({ min: 1, max: 0 }))", "integer bounds"],
    ["optional()", "called with wrong arguments"],
    ['withDefault(integer({ min: 0, max: 1 }), "x")', "breaks the contract"],
    ["withDefault(text())", "breaks the contract"],
    ["text", "no field"],
    ["undefined", "no field"],
    ['"text"', "no field"],
  ])("%s", async (text, problem) => {
    const message = await problemsOf(field(text));
    expect(message).toMatch(/wrong\.ts: stream s: fields\.wrong: /);
    expect(message).toContain(problem);
    expect(message).not.toMatch(/\n\s+at /);
  });
});

describe("the rest of a definition", () => {
  test.each([
    [inView('every: "1 fortnight"'), "view v: every"],
    [inView("every: 60000"), "view v: every"],
    [inView('window: "5"'), "view v: window"],
    [inView('window: "90 seconds"'), "view v: window"],
    [inView('sessions: { gap: "soon" }'), "view v: sessions.gap"],
    [inView('sessions: { gap: "1 second" }'), "view v: sessions.gap"],
    [inView("sessions: {}"), "view v: sessions.gap"],
    [inView("maxCells: 0"), "view v: maxCells"],
    [inView('maxCells: "many"'), "view v: maxCells"],
    [inView('by: { size: "size" }'), "view v: by.size: is not SQL"],
    [inView('where: "size > 5"'), "view v: where: is not SQL"],
    [inView('each: "size"'), "view v: each"],
    [inView("measures: { n: undefined }"), "view v: measures.n: no measure"],
    [inView("stream: undefined"), "view v: stream: no stream"],
    [inStream("dedupWindow: NaN"), "stream s: dedupWindow"],
    [inStream('dedupWindow: "100"'), "stream s: dedupWindow"],
    [inStream("dedupWindow: -1"), "stream s: dedupWindow"],
    [inStream("partitions: 0.5"), "stream s: partitions"],
    [inStream("revision: Infinity"), "stream s: revision"],
    [inStream('key: "nothing"'), "stream s: key"],
    [inStream("eventTime: undefined"), "stream s: eventTime"],
    [inStream("fields: undefined"), "stream s: key"],
    [
      inStream('version: 2, previous: [{ version: 1, fields: { id: text() }, upcast: { at: "id" } }]'),
      "stream s: version 1: upcast.at: is not SQL",
    ],
    ["view();", "cannot be loaded"],
    ["export const v = nothing();", "cannot be loaded: nothing is not defined"],
    ["export const = ;", "cannot be loaded"],
    ['import { nothing } from "no-such-package"; export const v = nothing;', "cannot be loaded"],
  ])("%s", async (text, problem) => {
    const message = await problemsOf(text);
    expect(message).toContain(`wrong.ts: ${problem}`);
  });

  test("every file's problems are named at once", async () => {
    const message = await problemsOf(
      `${measure("sum()")}\n${field("integer()").replace('"v"', '"w"').replaceAll("const v", "const w")}`,
    );
    expect(message).toContain("view v: measures.wrong");
    expect(message).toContain("stream s: fields.wrong");
  });
});

test("what was stored with arguments that a builder refuses is refused too", () => {
  expect(() => measureFrom({ kind: "quantile", of: "size", unit: "", error: 1, at: [0.5] })).toThrow(
    "error is a number",
  );
  expect(() => fieldFrom({ type: "integer", min: 5, max: 4 })).toThrow(RangeError);
});

describe("a time", () => {
  test("that names no zone is in UTC, also as a bound of a definition, whatever the process's zone is", () => {
    const utc = Date.parse("2020-01-01T00:00:00Z");
    const forms = [
      "2020",
      "2020-01",
      "2020-01-01",
      "2020-01-01T00:00",
      "2020-01-01T00:00:00",
      "2020-01-01 00:00:00.000",
      "Jan 1 2020",
      "+002020-01-01T00:00:00",
    ];
    const before = process.env.TZ;
    try {
      for (const zone of ["UTC", "Asia/Tokyo", "America/New_York"]) {
        process.env.TZ = zone;
        expect(new Date(utc).getHours()).toBe({ UTC: 0, "Asia/Tokyo": 9, "America/New_York": 19 }[zone]);
        expect(forms.map(parseBound)).toEqual(forms.map(() => utc));
        expect(parseBound("2020-01-01T02:00:00+02:00")).toBe(utc);
        expect(parseBound("Wed, 01 Jan 2020 00:00:00 GMT")).toBe(utc);
        const { zod } = instant({ from: "2020-01-01T00:00:00", to: "2020-01-02T00:00:00" });
        expect([utc - 1, utc, utc + 86_400_000, utc + 86_400_001].map((at) => zod.safeParse(at).success)).toEqual([
          false,
          true,
          true,
          false,
        ]);
      }
    } finally {
      process.env.TZ = before;
      if (before === undefined) delete process.env.TZ;
    }
  });

  test.each([
    "2026-02-30",
    "2026-02-29",
    "2026-04-31T00:00:00Z",
    "2026-06-31 10:00",
    "1900-02-29",
    "2026-02-30T23:59:59.999+02:00",
  ])("%s is not a day", (text) => {
    expect(parseTime(text)).toBeNull();
    expect(instant({ from: text, to: "2040-01-01" }).problem).toContain("not a time");
    // Stored definitions may have it: earlier releases took it for the day after the month's last.
    expect(parseBound(text)).toBeLessThan(Date.parse("2027-01-01"));
  });

  test("of a day that there is, in every month", () => {
    for (const year of [1900, 2000, 2023, 2024])
      for (let at = Date.UTC(year, 0, 1); at < Date.UTC(year + 1, 0, 1); at += 86_400_000) {
        const date = new Date(at).toISOString().slice(0, 10);
        expect(parseTime(date)).toBe(at);
        expect(parseTime(`${date}T00:30:00+01:00`)).toBe(at - 1_800_000);
      }
  });
});
