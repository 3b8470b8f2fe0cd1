import { expect, test } from "vitest";
import { decodeOne } from "../../core/codec/decode/decode.ts";
import { decimal, instant, text } from "../../core/contract/fields.ts";
import type { Rounding } from "../../core/contract/record/record-value.ts";
import { stream } from "../../core/contract/stream.ts";
import { EventMaker, isRefusal } from "../../ingest/send/event-maker.ts";
import { PLAIN_FORMS } from "../../ingest/send/value-forms.ts";

/** A table's decimal of too many places is what the contract makes of the same number in a JSON record. */

const AT = Date.parse("2026-03-01T08:02:00Z");

const rounding = (round?: Rounding) =>
  stream("sightings", {
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 10 },
    fields: {
      id: text(),
      at: instant(),
      lat: decimal({ scale: 2, min: -90, max: 1_000_000, ...(round === undefined ? {} : { round }) }),
    },
  });

const ofTable = (contract: ReturnType<typeof rounding>, lat: string) =>
  new EventMaker({ stream: contract, forms: PLAIN_FORMS }, ["id", "at", "lat"]).ofCells(["a", String(AT), lat]);

const written = [
  "40.65651334",
  "0.005",
  "0.015",
  "-0.005",
  "-73.9561344937861",
  "12.5",
  "7",
  "1e-7",
  "89.99999999999999",
];

test.each(["half-even", "half-up", "down"] as const)("with %s a table's row is what a JSON record is", (round) => {
  const contract = rounding(round);
  for (const lat of written) {
    const made = ofTable(contract, lat);
    if (isRefusal(made)) throw new Error(`${lat}: ${made.reason}`);
    const [sent, json] = [decodeOne(contract, Buffer.from(String(made.value))), `{"id":"a","at":${AT},"lat":${lat}}`];
    expect(sent).toEqual(decodeOne(contract, Buffer.from(json)));
  }
});

test("digits that a double does not keep are rounded once", () => {
  const made = ofTable(rounding("half-up"), "999.00499999999999999999999");
  expect(isRefusal(made) ? made : JSON.parse(String(made.value))).toMatchObject({ lat: 999 });
});

test("a contract that does not round refuses the row, and says what would be right", () => {
  expect(ofTable(rounding(), "40.65651334")).toMatchObject({
    column: "lat",
    value: "40.65651334",
    reason: "has more than 2 decimal places",
    advice: expect.stringContaining(`round: "half-even"`),
  });
});
