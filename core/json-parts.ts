import { z } from "zod";

/**
 * What the schemas of JSON bodies are made of. A body's schema stands beside what makes the body. Its type follows from
 * it, and so does its part of the OpenAPI document. Nothing is checked while an answer is made: tests do that.
 */

export const count = z.int().min(0);

/** ISO 8601. Years may have more than four digits. */
export const time = z.string().meta({ format: "date-time" });

export const list = <T extends z.ZodType>(item: T) => z.array(item).readonly();

/** As `CutJson`. */
export const cut = z
  .record(z.string(), z.string().regex(/^\d+$/))
  .describe("partition -> next offset, as decimal text");

/** Where in the log an answer stands. */
export const LogPosition = z
  .object({ generation: z.string(), version: count, cut, applied: cut })
  .meta({ id: "Position", description: "Where in the log the answer stands" });
export type LogPosition = z.infer<typeof LogPosition>;
