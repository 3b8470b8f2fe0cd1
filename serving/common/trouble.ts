import type { z } from "zod";
import { Failure } from "../../core/failures.ts";
import { list, time } from "../../core/json-parts.ts";

/** A failure in the form of answers, without the fields that are only needed to count it. */
export const Trouble = Failure.pick({ kind: true, name: true, message: true })
  .extend({
    code: Failure.shape.code.describe("stable, for programs"),
    hint: Failure.shape.hint.describe("what to do about it"),
    since: time,
  })
  .meta({
    id: "Trouble",
    description: "Something that is stopped, or fails again and again for the same reason",
  });
export type Trouble = z.infer<typeof Trouble>;

export function troubleOf({ kind, name, code, message, hint, sinceMs }: Failure): Trouble {
  return { kind, name, code, message, hint, since: new Date(sinceMs).toISOString() };
}

/** The field `problems` of an answer. */
export const problems = list(Trouble)
  .describe("what keeps the answer from growing; absent when all is well, and with at")
  .exactOptional();

/** The same field for the whole installation. */
export const allProblems = list(Trouble).describe("of the whole installation; absent when all is well").exactOptional();
