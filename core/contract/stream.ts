import { z } from "zod";
import { givenField } from "./built-field.ts";
import type { Described } from "./described.ts";
import type { Field, FieldSpec } from "./field.ts";
import { bare, isRequired } from "./fields.ts";
import { pathText, type WirePath } from "./record/wire-path.ts";
import { type Sql, sqlProblem } from "./sql.ts";
import { partOf, pathOf, type Wire, wireOf, wireProblem } from "./wire.ts";

export type Fields = Readonly<Record<string, Field>>;

/** An event as a producer writes it. */
export type EventOf<S extends Stream> = z.infer<S["contract"]>;

/**
 * The rule for a new version's Avro schema: it can read events of the version before (backward), it can be read by the
 * version before (forward), or both.
 */
export const COMPATIBILITIES = ["backward", "forward", "full", "none"] as const;
export type Compatibility = (typeof COMPATIBILITIES)[number];

/** An older version of an event, which producers wrote or still write. */
export interface PreviousVersion {
  readonly version: number;
  readonly fields: Fields;
  /**
   * Columns of the newest version, as SQL over this version's. Without it, a field of the same name keeps its value.
   */
  readonly upcast?: Readonly<Record<string, Sql>>;
}

export interface StreamDefinition<F extends Fields> extends Described {
  /** The producers of the events, for people. */
  readonly producers?: readonly string[];
  /** The name of the Kafka topic. Null or absent: the installation's namespace and the stream's name. */
  readonly topic?: string | null;
  /** Raised by hand whenever decoding changes, because code cannot be hashed reliably. Part of every generation. */
  readonly revision: number;
  readonly partitions: number;
  /** The field that Kafka's partitioner hashes. */
  readonly key: keyof F & string;
  /**
   * The field, or the fields together, that identify the event. A second record with the same values, near the first,
   * is a duplicate.
   */
  readonly eventId: (keyof F & string) | readonly (keyof F & string)[];
  /** The field with the event's time, an `instant`. */
  readonly eventTime: keyof F & string;
  /** A record is a duplicate if its event id occurred in the same partition within this many offsets before it. */
  readonly dedupWindow: number;
  /**
   * The meaning of records without a value, Kafka's tombstones. "delete": the record deletes its key. The key's text is
   * that of the field `key`, which is a text, one of several texts or an integer. Null or absent: such records are
   * refused.
   */
  readonly tombstones?: "delete" | null;
  /** Number of the event's newest version, which `fields` describes. 1 when absent. */
  readonly version?: number;
  readonly fields: F;
  /** Older versions that are still read. A record is an event of the newest version whose contract accepts it. */
  readonly previous?: readonly PreviousVersion[];
  /** "backward" when absent. */
  readonly compatibility?: Compatibility;
}

/** One version of a stream's event. */
export interface Version {
  readonly version: number;
  readonly fields: Fields;
  readonly contract: z.ZodType<Readonly<Record<string, unknown>>>;
  readonly upcast: Readonly<Record<string, Sql>>;
  /**
   * The places of fields that only newer versions have. A record that has one of them is not an event of this version,
   * even if its contract accepts the record.
   */
  readonly foreign: readonly WirePath[];
  /** The places of the fields in records. */
  readonly wire: Wire;
}

/** A Kafka topic with its event contract. */
export interface Stream<F extends Fields = Fields>
  extends Required<Omit<StreamDefinition<F>, keyof Described>>,
    Described {
  readonly kind: "stream";
  readonly name: string;
  /** The contract of the newest version. */
  readonly contract: z.ZodType<{ [K in keyof F]: z.infer<F[K]["zod"]> }>;
  /** Every version, the newest first. */
  readonly versions: readonly Version[];
  /**
   * The versions that a record is tried as, in this order. A version is left out if each of its events is also an event
   * of a newer version, because the newer one only adds fields that are optional or have a default.
   */
  readonly tried: readonly Version[];
}

/** Defines a stream. Problems of a definition are found at start-up by `checkStream`, with file and field. */
export function stream<const F extends Fields>(name: string, definition: StreamDefinition<F>): Stream<F> {
  const { version = 1, previous = [], compatibility = "backward", topic = null, producers = [] } = definition;
  const { tombstones = null } = definition;
  const fields = givenFields(definition.fields);
  const older = previous
    .map((one) => ({ ...one, fields: givenFields(one.fields) }))
    .toSorted((a, b) => b.version - a.version);
  const versions = [{ version, fields }, ...older].map((one: PreviousVersion, index, all) => ({
    version: one.version,
    fields: one.fields,
    contract: contractOf(one.fields),
    upcast: one.upcast ?? {},
    foreign: foreignPaths(one, all.slice(0, index)),
    wire: wireOf(Object.entries(one.fields).map(([field, { spec }]) => [field, spec])),
  }));
  const tried = versions.filter((one, index) => !versions.slice(0, index).some((newer) => includes(newer, one)));
  const contract = versions[0]?.contract as unknown as Stream<F>["contract"];
  return {
    ...definition,
    ...{
      kind: "stream",
      name,
      fields,
      contract,
      versions,
      tried,
      version,
      previous: older,
      compatibility,
      topic,
      producers,
      tombstones,
    },
  };
}

/** The fields of a stream's event id, in their order. */
export function idFields({ eventId }: { readonly eventId: string | readonly string[] }): readonly string[] {
  return Array.isArray(eventId) ? (eventId as readonly string[]) : [String(eventId)];
}

/** Returns the places of the fields that these newer versions have, and this one does not. */
function foreignPaths({ fields }: PreviousVersion, newer: readonly PreviousVersion[]): WirePath[] {
  const found = newer.flatMap((one) => Object.entries(one.fields)).filter(([name]) => !Object.hasOwn(fields, name));
  const paths = found.map(([name, { spec }]) => pathOf(name, spec));
  return [...new Map(paths.filter((path) => path !== null).map((path) => [pathText(path), path])).values()];
}

function givenFields<F extends Fields>(fields: F): F {
  return Object.fromEntries(Object.entries(fields ?? {}).map(([name, field]) => [name, givenField(field)])) as F;
}

/** Whether every event of the older version is one of the newer. */
function includes(newer: Pick<Version, "fields">, older: Pick<Version, "fields">): boolean {
  return Object.entries(newer.fields).every(([name, field]) =>
    Object.hasOwn(older.fields, name)
      ? JSON.stringify(older.fields[name]?.spec) === JSON.stringify(field.spec)
      : !isRequired(field),
  );
}

function contractOf(fields: Fields): Version["contract"] {
  return z.object(Object.fromEntries(Object.entries(fields).map(([field, { zod }]) => [field, zod])));
}

/**
 * Returns the problems of a stream's definition: one sentence per problem, naming the field. `checkStreamSql` checks
 * its SQL.
 */
export function checkStream(definition: Stream): string[] {
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9-]{0,99}$/.test(definition.name))
    problems.push(`name "${definition.name}": use lower-case letters, digits and dashes`);
  if (definition.topic !== null && !isTopicName(definition.topic))
    problems.push(
      `topic ${JSON.stringify(definition.topic)}: Kafka's names have letters, ` +
        "digits, points, dashes and underscores, at most 249",
    );
  for (const count of ["revision", "partitions", "version"] as const) {
    if (!Number.isSafeInteger(definition[count]) || definition[count] < 1)
      problems.push(`${count}: a whole number from 1`);
  }
  if (!Number.isSafeInteger(definition.dedupWindow) || definition.dedupWindow < 0)
    problems.push("dedupWindow: a whole number of offsets");
  problems.push(...descriptionProblems(definition));
  for (const { version, fields } of definition.versions) {
    const where = version === definition.version ? "fields" : `version ${version}`;
    problems.push(...fieldProblems(fields, where), ...pathProblems(fields, where));
  }
  problems.push(...roleProblems(definition));
  problems.push(...tombstoneProblems(definition));
  for (const [index, older] of definition.versions.entries()) {
    const newer = definition.versions[index - 1];
    if (newer === undefined) continue;
    if (!Number.isInteger(older.version) || older.version < 1 || older.version >= newer.version)
      problems.push(`previous: version ${older.version} is not a whole number from 1 that is below ${newer.version}`);
    problems.push(...upcastProblems(definition, older).map((problem) => `version ${older.version}: ${problem}`));
  }
  return problems;
}

function roleProblems(definition: Stream): string[] {
  const ids = idFields(definition);
  const roles = [
    ["key", definition.key],
    ...ids.map((name) => ["eventId", name] as const),
    ["eventTime", definition.eventTime],
  ] as const;
  const problems = roles.flatMap(([role, name]) => {
    const field = definition.fields[name];
    if (field === undefined) return [`${role}: there is no field "${name}"`];
    if (!isRequired(field)) return [`${role}: field "${name}" has to be in every event`];
    if (role === "eventTime" && field.column !== "BIGINT") return [`eventTime: field "${name}" is not an instant`];
    return field.column.endsWith("[]") ? [`${role}: field "${name}" is a list`] : [];
  });
  if (Array.isArray(definition.eventId) && (ids.length < 2 || new Set(ids).size < ids.length))
    problems.push("eventId: the name of a field, or a list of different fields, at least two");
  return problems;
}

/** Returns the problems of `tombstones`. A tombstone has its key only as the text of the record's key. */
function tombstoneProblems({ tombstones, fields, key }: Stream): string[] {
  if (tombstones === null) return [];
  if (tombstones !== "delete") return [`tombstones: "delete", or absent`];
  const field = fields[key];
  const type = field === undefined ? null : bare(field.spec).type;
  return type === null || ["text", "oneOf", "integer"].includes(type)
    ? []
    : [`tombstones: the key "${key}" has to be a text, one of several texts or an integer`];
}

function descriptionProblems({ doc, producers }: Stream): string[] {
  const isText = (value: unknown) => typeof value === "string";
  const ofProducers = Array.isArray(producers) && producers.every(isText) ? [] : ["producers: a list of texts"];
  return [...ofProducers, ...(doc === undefined || doc === null || isText(doc) ? [] : ["doc: a text"])];
}

/** Whether Kafka can have a topic of that name. */
function isTopicName(name: unknown): boolean {
  return typeof name === "string" && /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== "." && name !== "..";
}

/** Returns the problems of the places of fields: two fields in one place, or one inside another. */
function pathProblems(fields: Fields, where: string): string[] {
  const specs = Object.entries(fields).map(([name, { spec }]) => [name, spec] as const);
  const inner = specs.flatMap(([name, spec]) => {
    const is = bare(spec);
    if (is.type !== "list" && is.type !== "entries") return [];
    const of = Object.entries(is.of);
    const part = of.find(([, spec]) => partOf(spec) !== null);
    if (part !== undefined) return [`${where}.${name}.${part[0]}: elements are read from the record's value only`];
    return [wireProblem(of, `${where}.${name}.`)];
  });
  return [wireProblem(specs, `${where}.`), ...inner].filter((problem) => problem !== null);
}

function fieldProblems(fields: Fields, where: string): string[] {
  return Object.entries(fields).flatMap(([name, { spec, problem }]) => {
    const is = bare(spec);
    const inner = is.type === "list" || is.type === "entries" ? Object.keys(is.of) : [];
    const names = [name, ...inner.map((one) => `${name}.${one}`)];
    const named = names
      .filter((path) => !/^[a-z][a-z0-9_]{0,62}$/.test(path.slice(path.indexOf(".") + 1)))
      .map((path) => `${where}.${path}: use lower-case letters, digits and underscores`);
    return problem === undefined ? named : [...named, `${where}.${name}: ${problem}`];
  });
}

/** Returns a problem for each column of the newest version that an older version has no value for. */
function upcastProblems({ fields, tried }: Stream, older: Version): string[] {
  const problems = Object.entries(older.upcast).flatMap(([name, expression]) => {
    const unknown = Object.hasOwn(fields, name) ? null : "there is no such field in the newest version";
    const problem = unknown ?? sqlProblem(expression);
    return problem === null ? [] : [`upcast.${name}: ${problem}`];
  });
  if (Object.keys(older.upcast).length > 0 && !tried.includes(older))
    problems.push(
      "upcast: its events are events of a newer version as they are, which only " +
        "adds optional fields and defaults; require one of them",
    );
  for (const [name, field] of Object.entries(fields)) {
    const same = Object.hasOwn(older.fields, name) ? older.fields[name] : undefined;
    if (Object.hasOwn(older.upcast, name)) continue;
    if (same === undefined) {
      if (isRequired(field)) problems.push(`"${name}" is new and neither optional nor has a default: give an upcast`);
    } else if (same.column !== field.column || unitOf(same) !== unitOf(field))
      problems.push(`"${name}" is of another type in the newest version: give an upcast`);
    else if (same.optional && isRequired(field))
      problems.push(`"${name}" may be absent, and the newest version requires it: give an upcast`);
  }
  return problems;
}

/** Returns the unit of a column's integers, including its elements': 1,234 cents are not 1,234 thousandths. */
function unitOf({ spec }: Field): string {
  const scale = (spec: FieldSpec): unknown =>
    spec.type === "decimal"
      ? spec.scale
      : spec.type === "list" || spec.type === "entries"
        ? Object.values(spec.of).map((of) => scale(bare(of)))
        : spec.type === "values" || spec.type === "map"
          ? scale(bare(spec.of))
          : 0;
  return JSON.stringify(scale(bare(spec)));
}
