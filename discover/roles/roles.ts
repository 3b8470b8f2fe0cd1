import type { FieldSpec } from "../../core/contract/field.ts";
import type { FoundField } from "../fields/layout.ts";
import type { ReadRecord } from "../sample/sample.ts";
import type { Choice } from "./choice.ts";
import { chooseId, offsetId } from "./event-id.ts";
import { chooseTime } from "./event-time.ts";
import { chooseKey } from "./key.ts";

/** The fields for event time, event id and key, and the reasons. */
export interface Roles {
  readonly eventTime: string;
  readonly eventId: string | readonly string[];
  readonly key: string;
  readonly dedupWindow: number;
  /** Fields that the roles need from other parts of the record than its value. */
  readonly added: readonly (readonly [name: string, spec: FieldSpec])[];
  /** Fields that records must have, even if some records of the sample do not. */
  readonly required: ReadonlySet<string>;
  /** A sentence for each role. */
  readonly because: readonly string[];
  readonly warnings: readonly string[];
}

const OF_ROWS =
  "because a row's id comes again with each change of it. A change that the connector sends again counts twice";

const DEDUP_WINDOW = 10_000;

/**
 * Chooses the roles among these fields. `all`: the records that were read. `isOfRows`: the records are changes of rows,
 * so ids are those of rows, and repeat with each change.
 */
export function chooseRoles(fields: readonly FoundField[], all: readonly ReadRecord[], isOfRows: boolean): Roles {
  const taken = new Set(fields.map(({ name }) => name));
  const time = chooseTime(fields, all, taken);
  const id = isOfRows ? offsetId(taken, OF_ROWS) : chooseId(fields, all, taken);
  const key = chooseKey(fields, all, id, taken);
  const chosen: readonly Choice[] = [time, id, key];
  return {
    ...{ eventTime: time.name, eventId: id.names ?? id.name, key: key.name },
    dedupWindow: id.added?.[1].type === "integer" ? 0 : DEDUP_WINDOW,
    added: chosen.flatMap(({ added }) => (added === undefined ? [] : [added])),
    required: new Set(chosen.flatMap(({ name, names = [name] }) => names)),
    because: chosen.map(({ because }) => because),
    warnings: chosen.flatMap(({ warnings = [] }) => warnings),
  };
}
