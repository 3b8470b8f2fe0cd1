import { isIdentifier } from "../fields/fields.ts";
import type { FoundField } from "../fields/layout.ts";
import { freeName } from "../fields/names.ts";
import type { ReadRecord } from "../sample/sample.ts";
import { idText, valueAt } from "../sample/values.ts";
import { type Choice, inNearlyAll } from "./choice.ts";
import { keyField, rawKey } from "./key.ts";

/** How a field's values repeat in the sample. */
export interface Repeats {
  readonly different: number;
  /** Records that say the same, byte for byte, as one before with the same value. */
  readonly same: number;
  /** Records that say something else than the first one with the same value. */
  readonly other: number;
  /** Values that occur in more than one partition. */
  readonly elsewhere: number;
}

/**
 * Measures how often an id repeats, and whether the records that share it are the same event. Records for which `idOf`
 * returns null are left out.
 */
export function repeatsOf(all: readonly ReadRecord[], idOf: (record: ReadRecord) => string | null): Repeats {
  const first = new Map<string, ReadRecord["record"]>();
  const elsewhere = new Set<string>();
  let [same, other] = [0, 0];
  for (const one of all) {
    const id = idOf(one);
    if (id === null) continue;
    const before = first.get(id);
    if (before === undefined) {
      first.set(id, one.record);
      continue;
    }
    if (before.partition !== one.record.partition) elsewhere.add(id);
    if (isSame(before.value, one.record.value)) same += 1;
    else other += 1;
  }
  return { different: first.size, same, other, elsewhere: elsewhere.size };
}

function isSame(one: Uint8Array | null, other: Uint8Array | null): boolean {
  return one !== null && other !== null && Buffer.compare(one, other) === 0;
}

const ID_NAMES: readonly (readonly [pattern: RegExp, points: number])[] = [
  [/^(event|message|msg|record)_?(id|uuid|key)$/, 5],
  [/^(id|uuid|guid)$/, 4],
  [/(^|_)(event|message)_?(id|uuid)$/, 3],
];
/** So many records may share an id with another one: in a sample of some thousand, a few. */
const FEW = 0.002;

function idPoints({ name, path, spec }: FoundField): number {
  const named = ID_NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? (isIdentifier(name) ? 2 : 0);
  const isUuid = spec.type === "text" && spec.as === "uuid";
  return named + (isUuid ? 1 : 0) - path.length * 0.1;
}

/** The record's offset: each record is an event. */
export function offsetId(taken: Set<string>, because: string): Choice {
  const name = freeName("record_offset", taken);
  const added = [name, { type: "integer", min: 0, max: Number.MAX_SAFE_INTEGER, path: "offset" }] as const;
  return { name, added, because: `event id: the record's offset, ${because}` };
}

/**
 * The field that says which event a record is: one that is named like an id, and of which no two different records
 * have the same. Without one the record's key,
 * where that tells events apart; else the offset.
 */
export function chooseId(fields: readonly FoundField[], all: readonly ReadRecord[], taken: Set<string>): Choice {
  const few = all.length * FEW;
  const scalars = fields.filter(({ spec }) => spec.type === "text" || spec.type === "integer");
  const [best] = inNearlyAll(scalars, all.length)
    .filter((field) => idPoints(field) > 1)
    .map((field) => ({ field, repeats: repeatsOf(all, ({ object }) => idText(valueAt(object, field.path))) }))
    .filter(({ repeats }) => repeats.other <= few)
    .sort((a, b) => idPoints(b.field) - idPoints(a.field) || a.repeats.other - b.repeats.other);
  if (best !== undefined) return chosenId(best.field.name, best.repeats);
  const key = keyField(all, taken);
  const repeats = key === null ? null : repeatsOf(all, ({ record }) => rawKey(record.key));
  if (key !== null && repeats !== null && repeats.other <= few) return { ...chosenId(key[0], repeats), added: key };
  const advice = "If a field does, name it in eventId and set dedupWindow to 10_000";
  return offsetId(taken, `because no field tells events apart. A record that is sent twice counts twice. ${advice}`);
}

function chosenId(name: string, repeats: Repeats): Choice {
  const { elsewhere } = repeats;
  const values = `${elsewhere.toLocaleString("en")} values of ${name}`;
  const split = `${values} occur in two partitions: duplicates are found within one, so these are counted twice`;
  return { name, because: `event id: ${name}, ${repeatsText(repeats)}`, warnings: elsewhere > 0 ? [split] : [] };
}

function repeatsText({ different, same, other }: Repeats): string {
  const counted = (count: number) => `${count.toLocaleString("en")} record${count === 1 ? "" : "s"}`;
  if (same + other === 0) return `${different.toLocaleString("en")} different in the sample, none repeated`;
  const repeated = [
    ...(same > 0 ? [`${counted(same)} repeated as they were`] : []),
    ...(other > 0 ? [`${counted(other)} with the id of a different record, which count as its duplicates`] : []),
  ];
  return `${different.toLocaleString("en")} different in the sample, ${repeated.join(", ")}`;
}
