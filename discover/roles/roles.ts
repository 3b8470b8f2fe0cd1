import type { FieldSpec } from "../../core/contract/field.ts";
import type { FoundField } from "../fields/layout.ts";
import type { ReadRecord } from "../sample/sample.ts";
import type { Choice } from "./choice.ts";
import { chooseId, offsetId } from "./event-id.ts";
import { chooseTime } from "./event-time.ts";
import { chooseKey } from "./key.ts";

/** Which fields are the event time, the event id and the key, and why. */
export interface Roles {
  readonly eventTime: string;
  readonly eventId: string | readonly string[];
  readonly key: string;
  readonly dedupWindow: number;
  /** Fields of other parts of the record than its value, which the roles need. */
  readonly added: readonly (readonly [name: string, spec: FieldSpec])[];
  /** Fields that records must have, also those that some of the sample do not have. */
  readonly required: ReadonlySet<string>;
  /** A sentence for each role. */
  readonly because: readonly string[];
  readonly warnings: readonly string[];
}

const OF_ROWS =
  "because a row's id comes again with each change of it. A change that the connector sends again counts twice";

const DEDUP_WINDOW = 10_000;

/**
 * Chooses the roles among these fields. `all` are the records that were read. `isOfRows`: they are changes of rows,
 * whose ids are those of rows and come again with each change.
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
