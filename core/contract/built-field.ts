import { z } from "zod";
import { type Described, describedBy } from "./described.ts";
import type { Field } from "./field.ts";

/**
 * What a builder was given is checked when a definition's file is loaded, and nobody knows by then what the field is
 * called. So a wrong argument makes a field that carries its problem, and start-up reports it with file and field. An
 * example that the field refuses is such an argument.
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

/** A field that nothing fits, and the reason. */
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

/** What a builder says of its arguments; what JavaScript says of arguments of another kind. */
export function argumentProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return error instanceof RangeError ? message : `called with wrong arguments: ${message}`;
}

/** A field as it was given, or one that says that none was. */
export function givenField(value: unknown): Field {
  const { spec, zod } = (value ?? {}) as Partial<Field>;
  return typeof spec === "object" && zod !== undefined
    ? (value as Field)
    : brokenField("no field: give one such as text() or integer({ min, max })");
}
