import { instant, integer, stream, text } from "tideline";

/** An earthquake of the US Geological Survey: 7 of the 29 fields that `earthquakes.json` of vega-datasets has. */
export const earthquake = stream("earthquake", {
  revision: 1,
  partitions: 4,
  key: "id",
  eventId: "id",
  eventTime: "time",
  dedupWindow: 0,
  fields: {
    id: text({ max: 24 }),
    time: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
    place: text(),
    status: text({ max: 24 }),
    net: text({ max: 8 }),
    sig: integer({ min: 0, max: 10_000 }),
    tsunami: integer({ min: 0, max: 1 }),
  },
});
