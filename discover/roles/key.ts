import type { FoundField } from "../fields/layout.ts";
import { freeName } from "../fields/names.ts";
import { isObject, type ReadRecord } from "../sample/sample.ts";
import { idText, valueAt } from "../sample/values.ts";
import type { Choice } from "./choice.ts";

/** Returns the field that equals the records' keys; else the event id, or a field that is read from the key. */
export function chooseKey(
  fields: readonly FoundField[],
  all: readonly ReadRecord[],
  eventId: Choice,
  taken: Set<string>,
): Choice {
  const keys = all.map(({ record }) => keyText(record.key));
  if (keys.every((key) => key === null)) return { name: eventId.name, because: "key: the records have none" };
  const equal = fields.find(
    ({ isRequired, path, spec }) =>
      isRequired &&
      spec.type !== "list" &&
      all.every(({ object }, index) => keys[index] === null || keys[index] === idText(valueAt(object, path))),
  );
  if (equal !== undefined) return { name: equal.name, because: `key: ${equal.name}, which equals the records' keys` };
  if (eventId.added?.[1].type === "text") return { name: eventId.name, because: "key: the record's own" };
  const added = keyField(all, taken);
  if (added === null) return { name: eventId.name, because: "key: no field equals the records' keys" };
  return { name: added[0], added, because: "key: the record's own, which no field equals" };
}

/** Returns a field that is read from the records' keys; null if some records have no key, or one that is not text. */
export function keyField(all: readonly ReadRecord[], taken: ReadonlySet<string>): NonNullable<Choice["added"]> | null {
  let longest = 0;
  for (const { record } of all) {
    const key = rawKey(record.key);
    if (key === null) return null;
    longest = Math.max(longest, key.length);
  }
  return [freeName("record_key", new Set(taken)), { type: "text", max: Math.max(256, longest * 2), path: "key" }];
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns a key as text; null for no key, and for bytes that are not UTF-8. */
export function rawKey(key: Uint8Array | null): string | null {
  try {
    return key === null ? null : utf8.decode(key);
  } catch {
    return null;
  }
}

/**
 * Returns the text of a key. A key that is JSON may be a text, or an object with one value, as Kafka Connect writes
 * keys.
 */
function keyText(key: Uint8Array | null): string | null {
  const raw = rawKey(key);
  if (raw === null || !/^["{]/.test(raw)) return raw;
  try {
    const json: unknown = JSON.parse(raw);
    const object = isObject(json) && isObject(json.payload) ? json.payload : json;
    const [only, ...others] = isObject(object) ? Object.values(object) : [object];
    return others.length > 0 ? raw : (idText(only) ?? raw);
  } catch {
    return raw;
  }
}
