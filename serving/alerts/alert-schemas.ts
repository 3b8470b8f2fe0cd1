import { z } from "zod";
import { ShownAlert } from "../../core/definition/shown-alert.ts";
import { list } from "../../core/json-parts.ts";

/** How many alerts an answer has. */
export const ALERT_LIMIT = { most: 10_000, byDefault: 100 } as const;

/** The answer of GET /alerts. */
export const AlertsBody = z.object({ alerts: list(ShownAlert), found: z.int() });
export type AlertsBody = z.infer<typeof AlertsBody>;

/** Tideline's own alerts whose problem lasts, beside `problems`. */
export const ownAlerts = list(ShownAlert)
  .describe("Tideline's own alerts that are not over, beside what `problems` names; absent when there are none")
  .exactOptional();
