import { z } from "zod";
import { type Described, describedBy } from "./described.ts";
import type { Field } from "./field.ts";

/**
 * Returns the field that `build` makes. If an argument is wrong, returns a field that carries the problem: the name of
 * the field is not known yet, so start-up reports it with file and field. An example that the field refuses is such an
 * argument, too.
 */
export function builtField<T>(build: () => Field<T>, described: Described = {}): Field<T> {
  try {
    const field = { ...build(), ...describedBy(described) };
    const { example, problem } = field;
    if (problem === undefined && example !== undefined && !field.zod.safeParse(example).success)
      throw new RangeError(`the example ${JSON.stringify(example)} breaks the contract`);
    return field;
  } catch (error) {
    return brokenField(argumentProblem(error));
  }
}

/** Returns a field that accepts no value, with the reason. */
export function brokenField<T>(problem: string): Field<T> {
  const nothing = () => "NULL";
  return {
    spec: { type: "flag" },
    column: "BOOLEAN",
    optional: false,
    hasDefault: false,
    zod: z.never(),
    read: "BOOLEAN",
    value: nothing,
    fits: nothing,
    literal: nothing,
    problem,
  };
}

/** Returns the message of a builder's error, or of JavaScript's error about arguments of another kind. */
export function argumentProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof RangeError ? message : `called with wrong arguments: ${message}`;
}

/** Returns the given field, or one whose problem is that no field was given. */
export function givenField(value: unknown): Field {
  const { spec, zod } = (value ?? {}) as Partial<Field>;
  return typeof spec === "object" && zod !== undefined
    ? (value as Field)
    : brokenField("no field: give one such as text() or integer({ min, max })");
}
