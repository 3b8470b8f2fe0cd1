import { alerts, count, last, sql, table } from "../../../core/definition/builders.ts";

/**
 * Every alert, and whether somebody looks after it: `acknowledged` is 1 then. `cleared` is 1 for one of Tideline's own
 * alerts that is over. They are counted, not the latest event: event times of records and the clocks of people are not
 * compared.
 */
export const alertStates = table("alert-states", {
  stream: alerts,
  key: { alert: sql`subject` },
  where: sql`kind IN ('opened', 'acknowledged', 'cleared')`,
  measures: {
    opened: count({ where: sql`kind = 'opened'`, unit: "events" }),
    acknowledged: count({ where: sql`kind = 'acknowledged'`, unit: "events" }),
    cleared: count({ where: sql`kind = 'cleared'`, unit: "events" }),
    rule: last(sql`rule`),
    severity: last(sql`severity`),
    about: last(sql`key`),
    says: last(sql`says`),
    acknowledged_by: last(sql`author`),
  },
});

/** The last silence of every rule; `silent_until` says whether it is over. */
export const silences = table("silences", {
  stream: alerts,
  key: { silenced: sql`subject` },
  where: sql`kind = 'silenced'`,
});
