import { z } from "zod";
import type { Field } from "./fields.ts";

type Fields = Readonly<Record<string, Field>>;

/** An event as a producer writes it. */
export type EventOf<S extends Stream> = z.infer<S["contract"]>;

export interface StreamDefinition<F extends Fields> {
  /** Raised by hand whenever decoding changes: code cannot be hashed honestly. Part of every generation. */
  readonly revision: number;
  readonly partitions: number;
  /** The field that Kafka's partitioner hashes. */
  readonly key: keyof F & string;
  /** The field that says which event this is: a second record with it, near the first, is a duplicate. */
  readonly eventId: keyof F & string;
  /** The field that places the event in time, an `instant`. */
  readonly eventTime: keyof F & string;
  /** A record is a duplicate if its event id occurred in the same partition within this many offsets before it. */
  readonly dedupWindow: number;
  readonly fields: F;
}

/** A Kafka topic with its event contract. */
export interface Stream<F extends Fields = Fields> extends StreamDefinition<F> {
  readonly kind: "stream";
  readonly name: string;
  readonly contract: z.ZodType<{ [K in keyof F]: z.infer<F[K]["zod"]> }>;
}

/** Defines a stream. What is wrong with a definition is found at start-up by `checkStream`, with file and field. */
export function stream<const F extends Fields>(name: string, definition: StreamDefinition<F>): Stream<F> {
  const shape = Object.fromEntries(Object.entries(definition.fields).map(([field, { zod }]) => [field, zod]));
  return { kind: "stream", name, contract: z.object(shape) as unknown as Stream<F>["contract"], ...definition };
}

/** What is wrong with a stream's definition: one sentence per problem, naming the field. */
export function checkStream(definition: Stream): string[] {
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9-]{0,99}$/.test(definition.name))
    problems.push(`name "${definition.name}": use lower-case letters, digits and dashes`);
  if (!Number.isInteger(definition.revision) || definition.revision < 1)
    problems.push("revision: a whole number from 1");
  if (!Number.isInteger(definition.partitions) || definition.partitions < 1)
    problems.push("partitions: a whole number from 1");
  if (!Number.isInteger(definition.dedupWindow) || definition.dedupWindow < 0)
    problems.push("dedupWindow: a whole number of offsets");
  for (const field of Object.keys(definition.fields)) {
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(field))
      problems.push(`fields.${field}: use lower-case letters, digits and underscores`);
  }
  for (const role of ["key", "eventId", "eventTime"] as const) {
    const field = definition.fields[definition[role]];
    if (field === undefined) problems.push(`${role}: there is no field "${definition[role]}"`);
    else if (field.optional) problems.push(`${role}: field "${definition[role]}" may not be optional`);
    else if (role === "eventTime" && field.column !== "BIGINT")
      problems.push(`eventTime: field "${definition[role]}" is no instant`);
  }
  return problems;
}
