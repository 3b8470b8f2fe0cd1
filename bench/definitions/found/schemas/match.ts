import { instant, integer, stream, text } from "tideline";

/** A football match of `football.json` of vega-datasets, with an id, and its day as an instant. */
export const match = stream("match", {
  revision: 1,
  partitions: 4,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  fields: {
    id: text({ max: 24 }),
    at: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
    division: text(),
    home_team: text(),
    away_team: text(),
    home_score: integer({ min: 0, max: 100 }),
    away_score: integer({ min: 0, max: 100 }),
  },
});
