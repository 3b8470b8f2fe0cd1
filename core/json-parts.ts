import { z } from "zod";

/**
 * Parts of the schemas of JSON bodies. A body's schema is next to the code that makes the body. The body's type and its
 * part of the OpenAPI document are derived from the schema. The server does not check answers against it; tests do.
 */

export const count = z.int().min(0);

/** ISO 8601. Years may have more than four digits. */
export const time = z.string().meta({ format: "date-time" });

export const list = <T extends z.ZodType>(item: T) => z.array(item).readonly();

/** As `CutJson`. */
export const cut = z
  .record(z.string(), z.string().regex(/^\d+$/))
  .describe("partition -> next offset, as decimal text");

/** The position of an answer in the log. */
export const LogPosition = z
  .object({ generation: z.string(), version: count, cut, applied: cut })
  .meta({ id: "Position", description: "Where in the log the answer stands" });
export type LogPosition = z.infer<typeof LogPosition>;
