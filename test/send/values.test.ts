import { expect, test } from "vitest";
import type { InvalidRow } from "../../ingest/send/refusal.ts";
import { sendEvents } from "../../ingest/send/send-events.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import { PLAIN_FORMS, readTime } from "../../ingest/send/value-forms.ts";
import { AT, file, read, readings, useFolder } from "./readings.ts";

useFolder();

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
  if (at === null) expect(refused).toEqual([expect.stringContaining(`at: ${JSON.stringify(time)} is not a time`)]);
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
