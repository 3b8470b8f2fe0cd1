import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import type { Bytes } from "../../ingest/read/bytes.ts";
import { encodingNamed } from "../../ingest/read/encoding.ts";
import { csvSource } from "../../ingest/send/csv-source.ts";
import { FILE_DEFAULTS } from "../../ingest/send/source.ts";
import { AT, file, HEAD, ids, read, readings, useFolder } from "./readings.ts";

useFolder();

/**
 * Delimited texts as people have them: read as they are meant, or refused with row, column, value and what would be
 * right.
 */

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
      expect.stringMatching(/^row 2, line 3: "Total: 1 row" has 1 value.*footer.*--skip-invalid/),
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
      expect.stringMatching(/^row 1, line 2, at: "31.12.2025 8:05" is not a time.*--dates dmy/),
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
    expect(() => encodingNamed("klingon")).toThrow(/not a known encoding/);
  });
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
