import { z } from "zod";
import { list } from "../../core/json-parts.ts";
import { ownAlerts } from "../alerts/alert-schemas.ts";
import { ViewSummary } from "../answer/answer-schemas.ts";
import { allProblems, problems } from "../common/trouble.ts";

/** The answer of GET /views. */
export const ViewsBody = z.object({ views: list(ViewSummary), problems: allProblems, alerts: ownAlerts });
export type ViewsBody = z.infer<typeof ViewsBody>;

/** The answer of GET /health. */
export const Health = z.object({ alive: z.literal(true), problems: allProblems, alerts: ownAlerts });
export type Health = z.infer<typeof Health>;

/** The answer of GET /ready. */
export const Readiness = z
  .object({
    ready: z.boolean(),
    redis: z.enum(["answers", "silent"]),
    views: list(z.object({ view: z.string(), ready: z.boolean(), version: z.int().nullable(), complete: z.boolean() })),
    problems,
  })
  .meta({ id: "Readiness" });
export type Readiness = z.infer<typeof Readiness>;
