import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { draw } from "../cli/terminal/sheet.ts";
import { decimal, instant, integer, list, oneOf, optional, text } from "../core/contract/fields.ts";
import { stream } from "../core/contract/stream.ts";
import { type Bytes, openBytes } from "../ingest/read/bytes.ts";
import { CsvSplitter } from "../ingest/read/csv.ts";
import { encodingNamed } from "../ingest/read/encoding.ts";
import { LineSplitter, ValueSplitter } from "../ingest/read/json.ts";
import { csvSource } from "../ingest/send/csv-source.ts";
import { EventMaker, isRefusal } from "../ingest/send/event-maker.ts";
import { type InvalidRow, refusalText } from "../ingest/send/refusal.ts";
import { sendEvents } from "../ingest/send/send-events.ts";
import { openSource } from "../ingest/send/send-rows.ts";
import { FILE_DEFAULTS, type FileOptions } from "../ingest/send/source.ts";
import { PLAIN_FORMS, readTime, type ValueForms } from "../ingest/send/value-forms.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { ordersOf } from "../systems/shop/orders/orders.ts";

/** Files as people have them: read as they are meant, or refused with row, column, value and what would be right. */

const readings = stream("readings", {
  ...{ revision: 1, partitions: 1, key: "station", eventId: "id", eventTime: "at", dedupWindow: 10 },
  fields: {
    id: text({ max: 40 }),
    station: text(),
    at: instant({ from: "1970-01-01", to: "2040-01-01" }),
    level: optional(integer({ min: -100, max: 9_000_000_000_000_000 })),
    flow: optional(decimal({ scale: 3, min: -1_000, max: 1_000_000 })),
    state: optional(oneOf("open", "closed")),
    parts: optional(list({ sku: text(), units: integer({ min: 0, max: 9 }) })),
  },
});
const AT = Date.parse("2026-03-01T08:02:00Z");
const HEAD = "id,station,at,level,flow";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-files-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, content: string | Buffer): Promise<string> {
  const path = join(folder, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, content);
  return path;
}

interface How {
  readonly options?: Partial<FileOptions>;
  readonly forms?: Partial<ValueForms>;
}

/** The events that would be sent of a file, and a sentence for each row that would not. */
async function read(path: string, { options = {}, forms = {} }: How = {}) {
  const source = await openSource(path, readings, { ...FILE_DEFAULTS, ...options });
  const maker = new EventMaker({ stream: readings, forms: { ...PLAIN_FORMS, ...forms } }, source.columns);
  const events: Record<string, unknown>[] = [];
  const refused: string[] = [];
  for await (const { rows } of source.pieces)
    for (const row of rows) {
      const made = "cells" in row ? maker.ofCells(row.cells) : "json" in row ? maker.ofJson(row.json) : row.refused;
      if (isRefusal(made)) refused.push(refusalText({ ...row, ...made }));
      else events.push(JSON.parse(String(made.value)) as Record<string, unknown>);
    }
  source.close();
  return { events, refused };
}

const ids = ({ events }: { events: Record<string, unknown>[] }) => events.map(({ id }) => id);

describe("a delimited text", () => {
  test("has no quotes but the double one, no comments, and no columns from the names of folders", async () => {
    const path = await file("station=harbour/a.csv", `${HEAD}\n'a',x,${AT},1,1\n#1002,'y',${AT},1,1\n`);
    const { events, refused } = await read(path);
    expect(refused).toEqual([]);
    expect(events).toMatchObject([
      { id: "'a'", station: "x" },
      { id: "#1002", station: "'y'" },
    ]);
  });

  test("has its first quoted value wherever it likes", async () => {
    const rows = Array.from({ length: 30_000 }, (_, index) => `${index},x,${AT},1,1`);
    rows[25_000] = `25000,"x, ""y""\nz",${AT},1,1`;
    const { events, refused } = await read(await file("late.csv", `${HEAD}\n${rows.join("\n")}\n`));
    expect(refused).toEqual([]);
    expect(events).toHaveLength(30_000);
    expect(events[25_000]).toMatchObject({ id: "25000", station: 'x, "y"\nz' });
    expect(events[29_999]).toMatchObject({ id: "29999" });
  });

  test("that is two files one behind the other is refused where the second begins", async () => {
    const same = await read(await file("same.csv", `${HEAD}\na,x,${AT},1,1\n${HEAD}\nb,x,${AT},1,1\n`));
    expect(ids(same)).toEqual(["a", "b"]);
    expect(same.refused).toEqual([expect.stringMatching(/^row 2, line 3: repeats the header/)]);
    const wider = await read(await file("wider.csv", `${HEAD}\na,x,${AT},1,1\n${HEAD},note\nb,x,${AT},1,1,n\n`));
    expect(ids(wider)).toEqual(["a"]);
    expect(wider.refused).toEqual([
      expect.stringMatching(/^row 2, line 3: "id,station,at,level,flow,note" has 6 values, and there are 5 columns/),
      expect.stringMatching(/^row 3, line 4: "b,x,\d+,1,1,n" has 6 values/),
    ]);
  });

  test("may have mixed line ends, a footer, quotes that are never closed: only those rows are refused", async () => {
    const mixed = await read(await file("mixed.csv", `${HEAD}\r\na,x,${AT},1,1\rb,x,${AT},1,1\n\r\nc,x,${AT},1,1`));
    expect([ids(mixed), mixed.refused]).toEqual([["a", "b", "c"], []]);
    const footer = await read(await file("footer.csv", `${HEAD}\na,x,${AT},1,1\nTotal: 1 row\n`));
    expect(footer.refused).toEqual([
      expect.stringMatching(/^row 2, line 3: "Total: 1 row" has 1 values.*footer.*--skip-invalid/),
    ]);
    const open = await read(await file("open.csv", `${HEAD}\na,"x,${AT},1,1\nb,y,${AT},1,1\n`));
    expect(ids(open)).toEqual(["b"]);
    expect(open.refused).toEqual([
      expect.stringMatching(/^row 1, line 2, station: .* the quote that opens it is never closed/),
    ]);
    const inside = await read(await file("inside.csv", `${HEAD}\na,5" pipe,${AT},1,1\n`));
    expect(inside.events).toMatchObject([{ station: '5" pipe' }]);
    const behind = await read(await file("behind.csv", `${HEAD}\na,"x"y,${AT},1,1\nb,x,${AT},1,1\n`));
    expect([ids(behind), behind.refused]).toEqual([["b"], [expect.stringMatching(/followed by "y"/)]]);
  });

  test.each([
    [",", "a.csv"],
    [";", "a.csv"],
    ["\t", "a.csv"],
    ["|", "a.txt"],
    ["\t", "a.tsv"],
  ])("separated by %j in %s is recognised", async (delimiter, name) => {
    const content = [HEAD, `a,x,${AT},12.0,.097`, `b,"x,y;z",${AT},+5,1e2`].join("\n");
    const rows = content.replaceAll(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/g, delimiter);
    const { events, refused } = await read(await file(name, rows));
    expect(refused).toEqual([]);
    expect(events).toEqual([
      { id: "a", station: "x", at: AT, level: 12, flow: 0.097 },
      { id: "b", station: "x,y;z", at: AT, level: 5, flow: 100 },
    ]);
  });

  test("without a header, or with other names, is read with --columns; runs of blanks may separate", async () => {
    const cdnow = "  00004  1 19970101  2   29.33\r\n  00021  1 19970112  2   63.34\r\n";
    const names = ["id", "station", "at", "level", "flow"];
    const options = { delimiter: "whitespace", header: false, names };
    const { events } = await read(await file("cdnow.txt", cdnow), { options, forms: { timeNumbers: "yyyymmdd" } });
    expect(events).toEqual([
      { id: "00004", station: "1", at: Date.parse("1997-01-01"), level: 2, flow: 29.33 },
      { id: "00021", station: "1", at: Date.parse("1997-01-12"), level: 2, flow: 63.34 },
    ]);
    const renamed = await file("renamed.csv", `Id No;Wo;Notiz;Zeit\na;x;n;${AT}\n`);
    const { events: named } = await read(renamed, { options: { names: ["id", "station", "", "at"], delimiter: ";" } });
    expect(named).toEqual([{ id: "a", station: "x", at: AT }]);
    await expect(read(renamed)).rejects.toMatchObject({
      code: "INPUT_MISSING",
      message: expect.stringContaining("has no column id, station, at") as string,
    });
    await expect(read(renamed, { options: { names: ["id"], delimiter: ";" } })).rejects.toMatchObject({
      code: "BAD_REQUEST",
    });
  });

  test("with decimal commas, days before months and words for what is missing is read when that is said, and refused with that advice", async () => {
    const path = await file("european.csv", "id;station;at;level;flow\na;x;31.12.2025 8:05;NA;1,5\n");
    expect((await read(path)).refused).toEqual([
      expect.stringMatching(/^row 1, line 2, at: "31.12.2025 8:05" is no time.*--dates dmy/),
    ]);
    const dated = await read(path, { forms: { dateOrder: "dmy" } });
    expect(dated.refused).toEqual([expect.stringMatching(/level: "NA" is not a whole number.*--missing NA/)]);
    const named = await read(path, { forms: { dateOrder: "dmy", missing: new Set(["NA"]) } });
    expect(named.refused).toEqual([
      expect.stringMatching(/flow: "1,5" is not a number. Write 1.5, or add --decimal-comma/),
    ]);
    const all = await read(path, { forms: { dateOrder: "dmy", missing: new Set(["NA"]), decimalComma: true } });
    expect(all.events).toEqual([{ id: "a", station: "x", at: Date.parse("2025-12-31T08:05:00Z"), flow: 1.5 }]);
  });
});

describe("an encoding", () => {
  const content = `${HEAD}\nä€,Zürich,${AT},1,1\n`;

  test.each([
    ["UTF-8 with a byte order mark", Buffer.from(`\ufeff${content}`)],
    ["UTF-16, little endian", Buffer.from(`\ufeff${content}`, "utf16le")],
    ["UTF-16, big endian", Buffer.from(`\ufeff${content}`, "utf16le").swap16()],
    ["UTF-16 without a mark", Buffer.from(content, "utf16le")],
    ["UTF-8, packed", gzipSync(content)],
  ])("%s is recognised", async (name, bytes) => {
    const { events, refused } = await read(await file(`${name}.csv`, bytes));
    expect([events, refused]).toEqual([[{ id: "ä€", station: "Zürich", at: AT, level: 1, flow: 1 }], []]);
  });

  test("that is Windows-1252 is named with the value as it would be, and read when that is said", async () => {
    const bytes = Buffer.concat([
      Buffer.from(`${HEAD}\n`),
      Buffer.from([0x80]),
      Buffer.from(",Z\xfcrich,1,1,1\n", "latin1"),
    ]);
    const path = await file("cp1252.csv", bytes);
    expect((await read(path)).refused).toEqual([
      expect.stringMatching(
        /^row 1, line 2, id: the byte 0x80 is not UTF-8. In Windows-1252 the value is "€".*--encoding windows-1252/,
      ),
    ]);
    for (const name of ["windows-1252", "cp1252", "latin1"]) {
      const { events } = await read(path, { options: { encoding: encodingNamed(name) } });
      expect(events).toMatchObject([{ id: "€", station: "Zürich" }]);
    }
    expect(() => encodingNamed("klingon")).toThrow(/no encoding that is known/);
  });
});

describe("JSON", () => {
  const row = (id: string, more = "") => `{"id":"${id}","station":"x","at":${AT}${more}}`;

  test.each([
    ["lines", "a.ndjson", `${row("a")}\n\n${row("b")}\n`],
    ["lines with a byte order mark", "a.jsonl", `\ufeff${row("a")}\r\n${row("b")}`],
    ["a list", "a.json", `[${row("a")},\n ${row("b")}]\n`],
    ["a list on several lines", "a.json", JSON.stringify([JSON.parse(row("a")), JSON.parse(row("b"))], null, 2)],
    [
      "values on several lines",
      "a.json",
      [row("a"), row("b")].map((one) => JSON.stringify(JSON.parse(one), null, 2)).join("\n"),
    ],
    ["lines in a file of any name", "a.log", `${row("a")}\n${row("b")}`],
  ])("as %s is read", async (_, name, content) => {
    for (const bytes of [Buffer.from(content), gzipSync(content)]) {
      const read_ = await read(await file(name, bytes));
      expect([ids(read_), read_.refused]).toEqual([["a", "b"], []]);
    }
  });

  test("keeps every digit: numbers where a text is wanted are the text, long ones in a number field are refused", async () => {
    const values = ["9007199254740993", "123456789012345678901234567890", "12.50", "1e3"];
    for (const value of values) {
      const { events } = await read(
        await file("n.json", `[{"id":${value},"station":"x","at":${AT},"other":${value}}]`),
      );
      expect(events.map(({ id }) => id)).toEqual([value]);
    }
    const { refused } = await read(await file("l.ndjson", row("a", ',"level":9007199254740993')));
    expect(refused).toEqual([expect.stringMatching(/^row 1, level: "9007199254740993" has more digits/)]);
  });

  test("may have numbers and times as texts, as databases write them", async () => {
    const { events, refused } = await read(
      await file(
        "t.ndjson",
        `{"id":"a","station":"x","at":"2026-03-01T08:02:00Z","level":"12","flow":"1.500","extra":9007199254740993}`,
      ),
    );
    expect([events, refused]).toEqual([[expect.objectContaining({ id: "a", at: AT, level: 12, flow: 1.5 })], []]);
  });

  test("that is broken is refused by row, in words", async () => {
    const lines = await read(
      await file("b.ndjson", `${row("a")}\n{"id":1\n${row("b", ',"state":"Open"')}\n[1]\n${row("c")}\n`),
    );
    expect(ids(lines)).toEqual(["a", "c"]);
    expect(lines.refused).toEqual([
      expect.stringMatching(/^row 2: is not JSON/),
      expect.stringMatching(/^row 3, state: "Open" is none of "open", "closed". Write "open"/),
      expect.stringMatching(/^row 4: is a list, not an object/),
    ]);
    const cut = await read(await file("c.json", `[${row("a")},\n${row("b")}`));
    expect([ids(cut), cut.refused]).toEqual([["a", "b"], [expect.stringMatching(/the text ends inside its list/)]]);
    const missing = await read(await file("m.ndjson", `{"id":"a","at":${AT}}`));
    expect(missing.refused).toEqual([
      expect.stringMatching(/^row 1, station: is missing, and the contract requires it/),
    ]);
    const parts = await read(await file("p.ndjson", row("a", ',"parts":[{"sku":"x","units":10}]')));
    expect(parts.refused).toEqual([expect.stringMatching(/^row 1, parts\[0\].units: "10" is above 9/)]);
  });
});

test.each([
  ["2026-03-01 08:02:00 UTC", AT],
  ["2026-03-01t08:02:00z", AT],
  ["2026-03-01T09:02:00+01:00", AT],
  ["2026-03-01 09:02:00 +0100", AT],
  ["Sun, 01 Mar 2026 08:02:00 +0000", AT],
  ["01 Mar 2026 03:02:00 EST", AT],
  ["2026/03/01 8:02", AT],
  ["2026.3.1 08:02:00.000", AT],
  ["2026/03/01T09:02:00+01:00", AT],
  ["2026/03/01", Date.parse("2026-03-01")],
  ["2026/13/01", null],
  ["2026/02/30", null],
  ["2026/03-01", null],
  ["2026-02-30", null],
  ["Mon, 01 Mar 2026 08:02:00 GMT", null],
  ["2026-03-01T08:61:00Z", null],
  ["03/01/2026", null],
])("the time %s", async (time, at) => {
  const { events, refused } = await read(await file("t.csv", `id;station;at\na;x;"${time}"\n`));
  if (at === null) expect(refused).toEqual([expect.stringContaining(`at: ${JSON.stringify(time)} is no time`)]);
  else expect(events).toMatchObject([{ at }]);
});

test.each([
  ["s", "1772352120", AT],
  ["s", "1772352120.123456", AT + 123],
  ["us", "1772352120000001", AT],
  ["ns", "1772352120000000001", AT],
  ["yyyymmdd", "20260301", Date.parse("2026-03-01")],
  ["yyyymmdd", "20260230", null],
] as const)("with --times %s the number %s is a time", async (timeNumbers, written, at) => {
  for (const [name, content] of [
    ["n.csv", `id,station,at\na,x,${written}`],
    ["n.ndjson", `{"id":"a","station":"x","at":${written}}`],
  ] as const) {
    const { events, refused } = await read(await file(name, content), { forms: { timeNumbers } });
    expect([events.map((event) => event.at), refused.length]).toEqual(at === null ? [[], 1] : [[at], 0]);
  }
});

test("times that all lie in January 1970 are warned of, and others are not", async () => {
  const warnings = async (time: string) => {
    const source = await openSource(await file("w.csv", `id,station,at\na,x,${time}\nb,x,${time}\n`), readings);
    const found: string[] = [];
    const refused: InvalidRow[] = [];
    await sendEvents(source, {
      ...{ brokers: "", stream: readings, topic: "", file: "w.csv", dryRun: true, skipInvalid: false },
      stop: new AbortController().signal,
      onInvalid: (row) => refused.push(row),
      onProgress: () => {},
      onWarning: (warning) => found.push(warning),
    });
    expect(refused).toEqual([]);
    return found;
  };
  for (const time of ["1772352120", "20260301"])
    expect(await warnings(time)).toEqual([expect.stringMatching(/2 events all lie in January 1970.*--times/)]);
  for (const time of ["1772352120000", "2026-03-01"]) expect(await warnings(time)).toEqual([]);
});

test("JSON with bytes that are not UTF-8 is refused, and not sent with other letters", async () => {
  const latin = Buffer.from('{"id":"caf\xe9","station":"x","at":1772352120000}\n', "latin1");
  for (const name of ["latin.ndjson", "latin.json"]) {
    const { events, refused } = await read(await file(name, latin));
    expect([events, refused]).toEqual([[], [expect.stringMatching(/not UTF-8.*--encoding/)]]);
  }
});

test("a list that is broken in the middle is an error, also when invalid rows are skipped", async () => {
  const row = (id: string) => JSON.stringify({ id, station: "x", at: 1_772_352_120_000 });
  for (const content of [`[${row("a")}${row("b")},${row("c")}]`, `[${row("a")},${row("b")}`]) {
    const source = await openSource(await file("broken.json", content), readings);
    const sending = sendEvents(source, {
      ...{ brokers: "", stream: readings, topic: "", file: "broken.json", dryRun: true, skipInvalid: true },
      ...{ stop: new AbortController().signal, onInvalid: () => {}, onProgress: () => {} },
    });
    await expect(sending).rejects.toThrow(/broken.json, row \d.*the rest was not read/);
  }
});

test("a header that comes in pieces is read whole: a break that is cut in two, and one in quotes", async () => {
  for (const parts of [
    ["id,station,at\r", "\na,x,1772352120000\r\n"],
    ['id,station,at,"of\nthe', ' day"\na,x,1772352120000,1\n'],
    ['id;station;at;"of\nthe', ' day"\na;x;1772352120000;1\n'],
    ["id,station,", "at\ra,x,1772352120000\r"],
    ['id,station,at,5" pipe,"of\nthe', ' day"\na,x,1772352120000,1,\n'],
  ]) {
    const chunks = async function* () {
      for (const part of parts) yield Buffer.from(part);
    };
    const bytes = { total: null, done: 0, chunks } as unknown as Bytes;
    const source = await csvSource("parts.csv", bytes, { ...FILE_DEFAULTS, encoding: "utf-8" }, readings);
    const rows: unknown[] = [];
    for await (const piece of source.pieces) rows.push(...piece.rows);
    expect(rows).toMatchObject([{ row: 1 }]);
  }
});

test("as many blank lines as there are may stand between values that are separated by blanks", async () => {
  const content = `id station at\n${" \n".repeat(30_000)}a x 1772352120000\n`;
  const { events, refused } = await read(await file("blank.csv", content), { options: { delimiter: "whitespace" } });
  expect([events.map(({ id }) => id), refused]).toEqual([["a"], []]);
});

describe("a text without line breaks is refused early, and named", () => {
  const MB = 1024 * 1024;
  const row = (id: string, more = "") => `{"id":"${id}","station":"x","at":${AT}${more}}`;

  test("in a table: its header, and a row, behind which the next line is read", async () => {
    const long = `${"a".repeat(100_000)},`.repeat(100);
    for (const content of [long, `"${long}`]) {
      const reading = read(await file("long.csv", content));
      await expect(reading).rejects.toMatchObject({
        code: "INPUT_MISSING",
        message: expect.stringMatching(
          /the header of .*long.csv, line 1.*(no end within 8 million|never closed)/,
        ) as string,
      });
    }
    const { events, refused } = await read(
      await file("long.csv", `${HEAD}\na,x,${AT},1,1\nb,${long}\nc,x,${AT},1,1\nd,"${long}\ne,x,${AT},1,1\n`),
    );
    expect(events.map(({ id }) => id)).toEqual(["a", "c", "e"]);
    expect(refused).toEqual([
      expect.stringMatching(
        /^row 2, line 3: "b,a.*it has no end within 8 million characters. Rows end with line breaks/,
      ),
      expect.stringMatching(/^row 4, line 5, station: "d,.*the quote that opens it is never closed/),
    ]);
  });

  test("in JSON: a line, behind which the next one is read, and a value in a list, behind which nothing is", async () => {
    const long = row("b", `,"note":"${"x".repeat(17 * MB)}"`);
    const lines = await read(await file("long.ndjson", `${row("a")}\n${long}\n${row("c")}\n`));
    expect(ids(lines)).toEqual(["a", "c"]);
    expect(lines.refused).toEqual([
      expect.stringMatching(/^row 2: the line has no end within 16 MB. Write one object a line/),
    ]);
    const list = await read(await file("long.json", `[${row("a")},\n${long},${row("c")}]`));
    expect(ids(list)).toEqual(["a"]);
    expect(list.refused).toEqual([expect.stringMatching(/^row 2: the value that begins here has no end within 16 MB/)]);
  });

  test("and the rows are the same wherever the pieces of the text end", () => {
    const text = fc.array(
      fc.constantFrom(...'ab,;"\n\r {}[]:', '""', "\r\n", '{"a":1}\n', '{"b":[],"a":[1,{}]}', "aaaaaaaa"),
      {
        maxLength: 40,
      },
    );
    const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 });
    const kinds = {
      csv: () => new CsvSplitter(",", 12),
      blanks: () => new CsvSplitter("whitespace", 12),
      lines: () => new LineSplitter(12),
      values: () => new ValueSplitter(12),
      rows: () => new ValueSplitter(40, ["a"]),
    };
    const split = (kind: keyof typeof kinds, content: string, sizes: readonly number[]) => {
      const splitter = kinds[kind]();
      const found: unknown[] = [];
      const push = (piece: string, isLast: boolean) => {
        if (splitter instanceof CsvSplitter) splitter.push(piece, isLast);
        else splitter.push(Buffer.from(piece), isLast);
        for (let one = splitter.next(); one !== null; one = splitter.next())
          found.push("json" in one ? { ...one, json: one.json.toString() } : "problem" in one ? one.line : one);
      };
      for (let at = 0, index = 0; at < content.length; index++) {
        const size = sizes[index % sizes.length] as number;
        push(content.slice(at, at + size), false);
        at += size;
      }
      push("", true);
      return found;
    };
    fc.assert(
      fc.property(
        fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
        text,
        cuts,
        (kind, parts, sizes) => {
          const content = parts.join("");
          expect(split(kind, content, sizes)).toEqual(split(kind, content, [content.length + 1]));
        },
      ),
      { numRuns: 3_000 },
    );
  });
});

describe("names and places that a file has otherwise", () => {
  const renamed = (entries: Record<string, string>) => ({ renamed: new Map(Object.entries(entries)) });
  const expected = [
    { id: "a", station: "x", at: AT, level: 7 },
    { id: "b", station: "y", at: AT, level: 9_007_199 },
  ];

  test("are said field by field, for CSV, JSON and Parquet alike; other columns keep their names", async () => {
    const names = renamed({ id: "Ride No", at: "Start, UTC" });
    const csv = await file("named.csv", `station,"Start, UTC",Ride No,level,id\nx,${AT},a,7,1\ny,${AT},b,9007199,2\n`);
    expect(await read(csv, { options: names })).toEqual({ events: expected, refused: [] });
    const rows = [
      `{"Ride No":"a","Start, UTC":${AT},"station":"x","level":7,"id":1}`,
      `{"station":"y","Ride No":"b","Start, UTC":"${AT}","level":"9007199"}`,
    ];
    const json = await read(await file("named.ndjson", rows.join("\n")), { options: names });
    expect(json.events.map(({ id, station, at, level }) => ({ id, station, at, level }))).toEqual(expected);
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 128, directories: [folder] });
    const duck = await pool.connect();
    const parquet = join(folder, "named.parquet");
    await duck.run(`COPY (SELECT * FROM read_csv('${csv}', all_varchar = true)) TO '${parquet}' (FORMAT parquet)`);
    duck.closeSync();
    pool.close();
    expect(await read(parquet, { options: names })).toEqual({ events: expected, refused: [] });
    const twice = await file("twice.csv", `Start,level\n${AT},7\n`);
    const both = await read(twice, { options: renamed({ id: "Start", at: "Start", station: "level" }) });
    expect(both).toEqual({ events: [{ id: `${AT}`, station: "7", at: AT, level: 7 }], refused: [] });
    const inOrder = { names: ["station", "at", "id", "level", ""] };
    expect(await read(parquet, { options: inOrder })).toEqual({ events: expected, refused: [] });
    await expect(read(parquet, { options: { names: ["id"] } })).rejects.toMatchObject({
      message: expect.stringMatching(/^--columns has 1 names, and .*named.parquet has 5 columns: station, Start, UTC/),
    });
  });

  test("that are not there are refused with those that are, and so is what JSON has no place for", async () => {
    const csv = await file("missing.csv", `station,Time\nx,${AT}\n`);
    await expect(read(csv, { options: renamed({ at: "time" }) })).rejects.toMatchObject({
      message: expect.stringMatching(/missing.csv has no column "time", which --columns gives to at$/),
      hint: expect.stringMatching(/^It has: station, Time\./),
    });
    await expect(read(csv, { options: renamed({ when: "Time" }) })).rejects.toMatchObject({
      message: "--columns names a field when, which readings does not have",
    });
    await expect(read(csv, { options: renamed({ at: "Time" }) })).rejects.toMatchObject({
      message: expect.stringMatching(/missing.csv has no column id, which the contract of readings requires$/),
      hint: expect.stringMatching(/--columns id=NAME.*--row-id id=NAME/),
    });
    const blanks = await file("blanks.txt", ` id  station at\n a  x ${AT}\n`);
    await expect(read(blanks)).rejects.toMatchObject({ hint: expect.stringMatching(/add --delimiter whitespace\.$/) });
    const remarks = await file("remarks.csv", `# made by hand\n${HEAD}\n`);
    await expect(read(remarks)).rejects.toMatchObject({
      message: expect.stringMatching(/remarks.csv begins with "# made by hand", and a table begins with its header$/),
    });
    const json = await file("order.json", `{"id":"a"}`);
    await expect(read(json, { options: { names: ["id"] } })).rejects.toMatchObject({
      message: "--columns names columns by their order, and JSON has names",
    });
    await expect(read(csv, { options: { rows: ["data"] } })).rejects.toMatchObject({
      message: "--rows says where a JSON document has its rows, and this is a table",
    });
  });

  test("an id may be made of a name and the row's number, in every format, also where rows before are refused", async () => {
    const options = { rowId: { field: "id", name: "march" } };
    const csv = await file("numbered.csv", `station,at,level,id\nx,${AT},1,own\ny,never,1,own\nz,${AT},1,own\n`);
    const table = await read(csv, { options });
    expect([ids(table), table.refused.length]).toEqual([["march:1", "march:3"], 1]);
    const rows = ["x", "y"].map((station) => JSON.stringify({ station, at: AT, id: "own" }));
    expect(ids(await read(await file("numbered.json", `[${rows.join(",")}]`), { options }))).toEqual([
      "march:1",
      "march:2",
    ]);
    await expect(read(csv, { options: { rowId: { field: "level", name: "x" } } })).rejects.toMatchObject({
      message: "--row-id names level, which is no text field of readings",
    });
  });

  test("a list inside of a document is read with --rows, of any number of documents, and is named where it is not", async () => {
    const feature = (id: string, level: number) => ({ id, properties: { at: AT, station: "x" }, level });
    const page = (features: readonly unknown[]) => ({
      type: "Features",
      "a b": { list: [{ no: 1 }] },
      features,
      bbox: [1, "]"],
    });
    const names = renamed({ at: "$.properties.at", station: "$.properties['station']" });
    for (const indent of [0, 2]) {
      const text = [page([feature("a", 1), feature("b", 2)]), page([]), page([feature("c", 3)])].map((one) =>
        JSON.stringify(one, null, indent),
      );
      const path = await file(`features${indent}.json`, text.join("\n"));
      const { events, refused } = await read(path, { options: { ...names, rows: ["features"] } });
      expect([events.map(({ id, at, station, level }) => [id, at, station, level]), refused]).toEqual([
        [
          ["a", AT, "x", 1],
          ["b", AT, "x", 2],
          ["c", AT, "x", 3],
        ],
        [],
      ]);
      const inner = await read(path, { options: { rows: ["a b", "list"] } });
      expect([inner.events, inner.refused.length]).toEqual([[], 3]);
    }
    const one = await file("one.json", JSON.stringify({ "a b": { list: [{ no: 1 }] } }));
    expect((await read(one)).refused).toEqual([
      "row 1, id: is missing, and the contract requires it. If its rows are the list at $['a b'].list, add --rows '$['a b'].list'.",
    ]);
    const wrong = async (content: string, rows: readonly string[]) =>
      (await read(await file("wrong.json", content), { options: { rows } })).refused[0];
    expect(await wrong('{"b":[]}', ["a"])).toMatch(/^row 1: it has no list at \$\.a\. Say with --rows/);
    expect(await wrong('{"a":{"b":{}}}', ["a", "b"])).toMatch(/^row 1: \$\.a\.b is no list/);
    expect(await wrong('{"a":[]}', ["a", "b"])).toMatch(/^row 1: \$\.a is no object, so it has no list at \$\.a\.b/);
    expect(await wrong('[{"a":[]}]', ["a"])).toMatch(/^row 1: the document is no object/);
    expect(await wrong('{"x":"\n","a":[', ["a"])).toMatch(
      /^row 1, line 2: the text ends inside its list: it may be cut off/,
    );
    expect(await wrong('{"a":[],', ["a"])).toMatch(/^row 1: the text ends inside its object: it may be cut off/);
    expect(await wrong('{"a" []}', ["a"])).toMatch(/^row 1: a colon should follow the member's name/);
  });

  test("the delimiter that Excel names in a first line of its own is taken, and the line is no row", async () => {
    const row = (delimiter: string) => ["a", "x", "2026-03-01", "7", "1,5"].join(delimiter);
    for (const [delimiter, first] of [
      [";", "sep=;"],
      ["|", "SEP=|"],
      ["\t", '"sep=\t"'],
    ] as const) {
      const path = await file(
        "sep.csv",
        `${first}\r\n${HEAD.replaceAll(",", delimiter)}\r\n${row(delimiter)}\r\nb\r\n`,
      );
      const { events, refused } = await read(path, { forms: { decimalComma: true } });
      expect(events).toEqual([{ id: "a", station: "x", at: Date.parse("2026-03-01"), level: 7, flow: 1.5 }]);
      expect(refused).toEqual([expect.stringMatching(/^row 2, line 4: "b" has 1 values, and there are 5 columns/)]);
      const named = { names: HEAD.split(","), header: false };
      const bare = await file("sep-bare.csv", `${first}\n${row(delimiter)}\n`);
      expect(ids(await read(bare, { options: named, forms: { decimalComma: true } }))).toEqual(["a"]);
    }
  });
});

test("JSON whose first line is broken is read by lines when the second begins an object, and not when that is its value", async () => {
  const row = (id: string) => `{"id":"${id}","station":"x","at":${AT}}`;
  const broken = await read(await file("first.json", `{"id":"a","station\n${row("b")}\n${row("c")}\n`));
  expect(ids(broken)).toEqual(["b", "c"]);
  expect(broken.refused).toEqual([expect.stringMatching(/^row 1: is not JSON/)]);
  const value = `{"id":"a","station":"x","at":${AT},"other":\n{"b":1},"parts":[\n{"sku":"x","units":1}]}`;
  expect(ids(await read(await file("value.json", `${value}\n${value.replace('"a"', '"b"')}`)))).toEqual(["a", "b"]);
});

test("of several delimiters that fit the named columns the one is taken for which values fit their fields, and none is guessed", async () => {
  const path = await file("tie.csv", `a,1;x, y;${AT};1,5\nb,2;x, z;${AT};2,5\n`);
  const options = { header: false, names: ["id", "station", "at", "flow"] };
  const { events, refused } = await read(path, { options, forms: { decimalComma: true } });
  expect([events, refused]).toEqual([
    [
      { id: "a,1", station: "x, y", at: AT, flow: 1.5 },
      { id: "b,2", station: "x, z", at: AT, flow: 2.5 },
    ],
    [],
  ]);
  const open = read(await file("open-tie.csv", "a;b;c,d,e\n"), {
    options: { header: false, names: ["id", "station", "at"] },
  });
  await expect(open).rejects.toMatchObject({
    code: "BAD_REQUEST",
    message: "the rows have 3 values whether they are separated by comma or by semicolon",
  });
});

test("SIGTERM ends it while it waits for more of standard input, and half a row is none", {
  timeout: 120_000,
}, async () => {
  const program = fileURLToPath(new URL("../cli/tideline.js", import.meta.url));
  const env = { ...process.env, TIDELINE_HOME: folder };
  const child = spawn(process.execPath, [program, "send", "order-completed", "--dry-run", "--json"], { env });
  let [out, err] = ["", ""];
  child.stdout.on("data", (text) => (out += text));
  const refused = new Promise<void>((resolve) =>
    child.stderr.on("data", (text) => {
      err += text;
      if (err.includes("row 1501")) resolve();
    }),
  );
  const ended = once(child, "close");
  const order = ordersOf(3);
  const rows = Array.from({ length: 1_500 }, (_, index) => JSON.stringify(order(index, AT)));
  child.stdin.write(`${rows.join("\n")}\n{"event_id":"no order"}\n${rows[0]?.slice(0, 60)}`);
  await Promise.race([refused, ended]);
  child.kill("SIGTERM");
  expect(await ended).toEqual([130, null]);
  expect(JSON.parse(out)).toMatchObject({ rows: 1_501, valid: 1_500, invalid: 1 });
});

test("no control character of a file reaches the terminal: an error and a table write them as JSON does", async () => {
  const hostile = "\u001b[2J\u009b31m\u202eevil\u0007\r";
  const path = await file("hostile.csv", `event_id,"a${hostile}b"\n`);
  const program = fileURLToPath(new URL("../cli/tideline.js", import.meta.url));
  const child = spawn(process.execPath, [program, "send", "order-completed", path, "--dry-run"]);
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  expect(await once(child, "close")).toEqual([1, null]);
  expect(said).toContain("It has: event_id, a\\u001b[2J\\u009b31m\\u202eevil\\u0007\\rb.");
  const drawn = await draw({ head: [`h${hostile}`], right: [], rows: [[`c${hostile}\nd`]] });
  for (const text of [said, drawn]) expect(text).not.toMatch(/[^\P{Cc}\n]|\u202e/u);
  expect(drawn).toContain("c\\u001b[2J");
});

test("a Zstandard file is unpacked frame by frame, and one that is damaged anywhere is refused", async () => {
  // Written by zstd 1.5, which adds a checksum.
  const packed = Buffer.from("KLUv/QRYXQEANAJpZCxzdGF0aW9uLGF0CmEseCwxNzcyMzUyMTIwMDAwCmIseQEAq24+AYnMkG8=", "base64");
  const plain = "id,station,at\na,x,1772352120000\nb,y,1772352120000\n";
  const unpacked = async (bytes: Buffer) => {
    const parts: Buffer[] = [];
    for await (const part of (await openBytes(await file("z.zst", bytes))).chunks()) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  const skippable = Buffer.from("5e2a4d1803000000616263", "hex");
  expect(await unpacked(Buffer.concat([packed, skippable, packed]))).toBe(plain + plain);
  const outcomes = new Set<string>();
  // The first four bytes say that it is packed.
  for (let at = 4; at < packed.length; at++) {
    await expect(unpacked(packed.subarray(0, at))).rejects.toThrow(/ends inside a frame/);
    const damaged = Buffer.from(packed);
    damaged[at] = (packed[at] as number) ^ 0x08;
    // The size of a window may change and no byte of the text.
    outcomes.add(await unpacked(damaged).catch((error: Error) => error.message.replace(/^.*unpacked: /, "")));
  }
  expect([...outcomes].filter((one) => one.includes("\n"))).toEqual([plain]);
  expect([...outcomes]).toContain("its checksum does not fit what it unpacks to");
});

test("a file of another kind is named", async () => {
  for (const [bytes, what] of [
    ["PK\x03\x04rest", /Excel workbook/],
    ["%PDF-1.7", /PDF/],
    ["SQLite format 3\x00", /SQLite/],
  ] as const)
    await expect(read(await file("other.csv", Buffer.from(bytes, "latin1")))).rejects.toThrow(what);
  await expect(read(await file("empty.csv", ""))).rejects.toThrow(/is empty/);
  await expect(read(join(folder, "nowhere.csv"))).rejects.toThrow(/there is no file/);
  await expect(read(await file("cut.csv", gzipSync("a".repeat(9_999)).subarray(0, 30)))).rejects.toThrow(
    /cannot be unpacked/,
  );
});

test("Parquet is read whatever its folder and its name have in them", async () => {
  const path = await file("station=harbour/p[1]*.parquet", "");
  await rm(path);
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  const duck = await pool.connect();
  await duck.run(`COPY (SELECT 'a' AS id, 'x' AS station, ${AT} AS at) TO '${path}' (FORMAT parquet)`);
  duck.closeSync();
  pool.close();
  expect((await read(path)).events).toEqual([{ id: "a", station: "x", at: AT }]);
});

test("half days, months and weeks of ISO 8601 are times, and those that there are not are none", () => {
  const forms = { ...PLAIN_FORMS, dateOrder: "mdy" as const };
  const read = (text: string) => {
    const time = readTime(text, forms);
    return time === null ? null : new Date(time).toISOString();
  };
  expect(read("05/03/2016 11:40:00 PM")).toBe("2016-05-03T23:40:00.000Z");
  expect(read("5/3/2016 12:05 am")).toBe("2016-05-03T00:05:00.000Z");
  expect(read("2026-3-1 12:00 p.m.")).toBe("2026-03-01T12:00:00.000Z");
  expect(read("2011-W22")).toBe("2011-05-30T00:00:00.000Z");
  expect(read("2020W53-7")).toBe("2021-01-03T00:00:00.000Z");
  expect(read("2026-03")).toBe("2026-03-01T00:00:00.000Z");
  for (const none of ["5/3/2016 13:05 PM", "5/3/2016 0:05 am", "2021-W53", "2026-W00", "2026-13", "2026-2-30"])
    expect(read(none)).toBeNull();
});
