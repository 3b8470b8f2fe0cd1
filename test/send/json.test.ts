import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sendEvents } from "../../ingest/send/send-events.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import { AT, file, ids, read, readings, useFolder } from "./readings.ts";

useFolder();

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

test("JSON whose first line is broken is read by lines when the second begins an object, and not when that is its value", async () => {
  const row = (id: string) => `{"id":"${id}","station":"x","at":${AT}}`;
  const broken = await read(await file("first.json", `{"id":"a","station\n${row("b")}\n${row("c")}\n`));
  expect(ids(broken)).toEqual(["b", "c"]);
  expect(broken.refused).toEqual([expect.stringMatching(/^row 1: is not JSON/)]);
  const value = `{"id":"a","station":"x","at":${AT},"other":\n{"b":1},"parts":[\n{"sku":"x","units":1}]}`;
  expect(ids(await read(await file("value.json", `${value}\n${value.replace('"a"', '"b"')}`)))).toEqual(["a", "b"]);
});
