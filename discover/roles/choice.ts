import type { FieldSpec } from "../../core/contract/field.ts";
import type { FoundField } from "../fields/layout.ts";

/** A field for a role, and a sentence that says why. */
export interface Choice {
  readonly name: string;
  /** Of an event id that several fields make: all of them, `name` first. */
  readonly names?: readonly string[];
  readonly because: string;
  /** A field of another part of the record than its value, which is added for it. */
  readonly added?: readonly [name: string, spec: FieldSpec];
  readonly warnings?: readonly string[];
}

/** A role's field may be missing in this many records: they are refused then. */
const LEAST_PRESENCE = 0.95;

/** Those that every record has; without any, those that nearly every one has. */
export function inNearlyAll(fields: readonly FoundField[], records: number): readonly FoundField[] {
  const required = fields.filter(({ isRequired }) => isRequired);
  return required.length > 0 ? required : fields.filter(({ present }) => present >= records * LEAST_PRESENCE);
}
