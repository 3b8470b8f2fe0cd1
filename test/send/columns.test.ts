import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { AT, file, folder, HEAD, ids, read, useFolder } from "./readings.ts";

useFolder();

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
      message: "--row-id names level, which is not a text field of readings",
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
      "row 1, id: is missing, and the contract requires it. If its rows are the " +
        "list at $['a b'].list, add --rows '$['a b'].list'.",
    ]);
    const wrong = async (content: string, rows: readonly string[]) =>
      (await read(await file("wrong.json", content), { options: { rows } })).refused[0];
    expect(await wrong('{"b":[]}', ["a"])).toMatch(/^row 1: it has no list at \$\.a\. Say with --rows/);
    expect(await wrong('{"a":{"b":{}}}', ["a", "b"])).toMatch(/^row 1: \$\.a\.b is not a list/);
    expect(await wrong('{"a":[]}', ["a", "b"])).toMatch(
      /^row 1: \$\.a is not an object, so it has no list at \$\.a\.b/,
    );
    expect(await wrong('[{"a":[]}]', ["a"])).toMatch(/^row 1: the document is not an object/);
    expect(await wrong('{"x":"\n","a":[', ["a"])).toMatch(
      /^row 1, line 2: the text ends inside its list: it may be cut off/,
    );
    expect(await wrong('{"a":[],', ["a"])).toMatch(/^row 1: the text ends inside its object: it may be cut off/);
    expect(await wrong('{"a" []}', ["a"])).toMatch(/^row 1: a colon should follow the member's name/);
  });

  test("the delimiter that Excel names in a first line of its own is taken, and the line is not a row", async () => {
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
      expect(refused).toEqual([expect.stringMatching(/^row 2, line 4: "b" has 1 value, and there are 5 columns/)]);
      const named = { names: HEAD.split(","), header: false };
      const bare = await file("sep-bare.csv", `${first}\n${row(delimiter)}\n`);
      expect(ids(await read(bare, { options: named, forms: { decimalComma: true } }))).toEqual(["a"]);
    }
  });
});
