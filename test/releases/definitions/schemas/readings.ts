import { decimal, flag, instant, integer, list, optional, stream, text, withDefault } from "tideline";

/** What a user of Tideline might send: measurements of weather stations. */
export const readings = stream("readings", {
  revision: 1,
  partitions: 2,
  key: "station",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 500,
  fields: {
    id: text({ max: 20 }),
    station: text({ max: 20 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    celsius: decimal({ scale: 1, min: -90, max: 60 }),
    wind: optional(integer({ min: 0, max: 120 })),
    manual: withDefault(flag(), false),
    gusts: list({ speed: integer({ min: 0, max: 120 }) }, { max: 5 }),
  },
});
