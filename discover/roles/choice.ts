import type { FieldSpec } from "../../core/contract/field.ts";
import type { FoundField } from "../fields/layout.ts";

/** A field for a role, and a sentence that says why. */
export interface Choice {
  readonly name: string;
  /** If several fields make the event id: all of them, `name` first. */
  readonly names?: readonly string[];
  readonly because: string;
  /** A field that is added for the role, from another part of the record than its value. */
  readonly added?: readonly [name: string, spec: FieldSpec];
  readonly warnings?: readonly string[];
}

/** A field for a role must be present in at least this share of the records. Records without it are refused. */
const LEAST_PRESENCE = 0.95;

/** Returns the fields that every record has. If there are none, returns those that nearly every record has. */
export function inNearlyAll(fields: readonly FoundField[], records: number): readonly FoundField[] {
  const required = fields.filter(({ isRequired }) => isRequired);
  return required.length > 0 ? required : fields.filter(({ present }) => present >= records * LEAST_PRESENCE);
}
