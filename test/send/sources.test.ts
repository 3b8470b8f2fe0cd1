import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { draw } from "../../cli/terminal/sheet.ts";
import { openBytes } from "../../ingest/read/bytes.ts";
import { CsvSplitter } from "../../ingest/read/csv.ts";
import { LineSplitter, ValueSplitter } from "../../ingest/read/json.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { AT, file, folder, HEAD, ids, read, useFolder } from "./readings.ts";

useFolder();

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

test("SIGTERM ends it while it waits for more of standard input, and half a row is none", {
  timeout: 120_000,
}, async () => {
  const program = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));
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
  const program = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));
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
