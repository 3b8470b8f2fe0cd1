import { expect, test } from "vitest";
import { AT, file, read, useFolder } from "./readings.ts";

useFolder();
const forms = { decimalComma: true };

test("with a decimal comma a point is refused: it separates thousands", async () => {
  const path = await file("comma.csv", `id;station;at;flow\na;x;${AT};1,5\nb;x;${AT};1.234\nc;x;${AT};-2\n`);
  const { events, refused } = await read(path, { forms });
  expect(events.map(({ id, flow }) => [id, flow])).toEqual([
    ["a", 1.5],
    ["c", -2],
  ]);
  expect(refused).toEqual([expect.stringMatching(/^row 2.*flow.*With --decimal-comma a point is not a decimal sign/)]);
});

test("numbers of JSON have a point, and its texts have a comma", async () => {
  const lines = [
    `{"id":"a","station":"x","at":"2026-03-01T08:02:00Z","flow":1.5}`,
    `{"id":"b","station":"x","at":"2026-03-01T08:02:00Z","flow":"2,25"}`,
    `{"id":"c","station":"x","at":${AT},"flow":"1.234"}`,
  ];
  const { events, refused } = await read(await file("comma.ndjson", lines.join("\n")), { forms });
  expect(events.map(({ id, flow }) => [id, flow])).toEqual([
    ["a", 1.5],
    ["b", 2.25],
  ]);
  expect(refused).toEqual([expect.stringMatching(/^row 3.*flow.*With --decimal-comma a point is not a decimal sign/)]);
});
