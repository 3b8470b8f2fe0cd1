import { isIdentifier } from "../fields/fields.ts";
import type { FoundField } from "../fields/layout.ts";
import { endingIn, freeName } from "../fields/names.ts";
import type { ReadRecord } from "../sample/sample.ts";
import { idText, valueAt } from "../sample/values.ts";
import { type Choice, inNearlyAll } from "./choice.ts";
import { keyField, rawKey } from "./key.ts";

/** How often a field's values repeat in the sample. */
export interface Repeats {
  readonly different: number;
  /** Records that equal an earlier one with the same value, byte for byte. */
  readonly same: number;
  /** Records that differ from the first one with the same value. */
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
/** The greatest share of records that may share an id with a different record: a few in a sample of some thousand. */
const FEW = 0.002;

/**
 * Whether values identify events: at most `few` records share a value with a different record. If identical records are
 * more frequent than different values, they are not repetitions but different events with equal contents.
 */
function isId({ different, same, other }: Repeats, few: number): boolean {
  return other <= few && same <= different;
}

function idPoints({ name, path, spec }: FoundField): number {
  const named = ID_NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? (isIdentifier(name) ? 2 : 0);
  const isUuid = spec.type === "text" && spec.as === "uuid";
  return named + (isUuid ? 1 : 0) - path.length * 0.1;
}

/** Returns the record's offset as event id, so that each record is an event. */
export function offsetId(taken: Set<string>, because: string): Choice {
  const name = freeName("record_offset", taken);
  const added = [name, { type: "integer", min: 0, max: Number.MAX_SAFE_INTEGER, path: "offset" }] as const;
  return { name, added, because: `event id: the record's offset, ${because}` };
}

/** Names of fields that number the parts of something: the lines of an order, the stops of a trip. */
const COUNTS = endingIn(`
  line line_no line_nr line_number line_id line_item seq seq_no sequence sequence_no sequence_number index idx
  position pos item_no item_number item_index row_no row_number version revision attempt part step leg offset
`);
/**
 * An id must repeat in at least this many records before a second field is added to it. With fewer, two fields might
 * identify records by chance.
 */
const LEAST_AGAIN = 20;

/**
 * Returns two fields that together identify the event of a record: one that is named like an id and repeats, and one
 * that numbers parts. Returns null if there are none.
 */
function chooseTogether(scalars: readonly FoundField[], all: readonly ReadRecord[]): Choice | null {
  const required = scalars.filter(({ isRequired }) => isRequired);
  const measured = (...fields: readonly FoundField[]) => repeatsOf(all, (record) => idTextOf(record, fields));
  const counting = required.filter(({ name }) => COUNTS.test(name));
  const named = required.filter((field) => idPoints(field) > 1 && !counting.includes(field));
  const pairs = named
    .filter((field) => measured(field).other >= LEAST_AGAIN)
    .flatMap((field) => counting.map((count) => ({ field, count, repeats: measured(field, count) })))
    .filter(({ repeats }) => isId(repeats, all.length * FEW))
    .sort((a, b) => idPoints(b.field) - idPoints(a.field) || a.repeats.other - b.repeats.other);
  const [best] = pairs;
  return best === undefined ? null : chosenId([best.field.name, best.count.name], best.repeats);
}

/** Returns the values of some fields as one text; null if one of them is not a scalar. */
function idTextOf({ object }: ReadRecord, fields: readonly FoundField[]): string | null {
  const texts = fields.map(({ path }) => idText(valueAt(object, path)));
  return texts.includes(null) ? null : JSON.stringify(texts);
}

/**
 * Returns the event id: a field that is named like an id, and has a different value in different records. If there is
 * none, returns two fields that identify events together, or the record's key if it identifies events; else the offset.
 */
export function chooseId(fields: readonly FoundField[], all: readonly ReadRecord[], taken: Set<string>): Choice {
  const few = all.length * FEW;
  const scalars = fields.filter(
    ({ path, spec }) => path.length > 0 && (spec.type === "text" || spec.type === "integer"),
  );
  const [best] = inNearlyAll(scalars, all.length)
    .filter((field) => idPoints(field) > 1)
    .map((field) => ({ field, repeats: repeatsOf(all, ({ object }) => idText(valueAt(object, field.path))) }))
    .filter(({ repeats }) => isId(repeats, few))
    .sort((a, b) => idPoints(b.field) - idPoints(a.field) || a.repeats.other - b.repeats.other);
  if (best !== undefined) return chosenId([best.field.name], best.repeats);
  const together = chooseTogether(scalars, all);
  if (together !== null) return together;
  const key = keyField(all, taken);
  const repeats = key === null ? null : repeatsOf(all, ({ record }) => rawKey(record.key));
  if (key !== null && repeats !== null && isId(repeats, few)) return { ...chosenId([key[0]], repeats), added: key };
  const advice = "If a field does, or several do together, name them in eventId and set dedupWindow to 10_000";
  return offsetId(taken, `because no field tells events apart. A record that is sent twice counts twice. ${advice}`);
}

function chosenId(names: readonly [string, ...string[]], repeats: Repeats): Choice {
  const { elsewhere } = repeats;
  const [name, ...others] = names;
  const id = others.length === 0 ? name : `${names.join(" and ")} together`;
  const values = `${elsewhere.toLocaleString("en")} values of ${id}`;
  const split = `${values} occur in two partitions: duplicates are found within one, so these are counted twice`;
  const because = `event id: ${id}, ${repeatsText(repeats)}`;
  return { name, ...(others.length === 0 ? {} : { names }), because, warnings: elsewhere > 0 ? [split] : [] };
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
