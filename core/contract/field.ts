import type { z } from "zod";
import type { Described } from "./described.ts";
import type { WrittenAs } from "./record/record-time.ts";
import type { NumberText, Rounding } from "./record/record-value.ts";

/** The types that a scalar column can have. Money and counts are integers; there are no doubles (invariant 6). */
export type ScalarType = "VARCHAR" | "BIGINT" | "BOOLEAN";

/** The types that a column of decoded events can have. */
export type ColumnType = ScalarType | `STRUCT(${string})[]` | `${ScalarType}[]`;

/**
 * `path`: the place of the value in a record (core/contract/record/wire-path.ts, or a part of the record:
 * record-part.ts), if it is not under the field's own name.
 */
interface Placed {
  readonly path?: string;
}

/** The arguments that a field was made with, as plain JSON. `fieldFrom` makes the field again. */
export type FieldSpec =
  | ({ readonly type: "integer"; readonly min: number; readonly max: number } & Placed & AsNumber)
  | ({ readonly type: "instant"; readonly from: string; readonly to: string } & Placed & Written)
  | ({ readonly type: "decimal"; readonly scale: number; readonly min: number; readonly max: number } & Placed &
      AsNumber &
      Rounded)
  | ({ readonly type: "text"; readonly max: number; readonly as?: "uuid" | "scalar" } & Placed)
  | ({ readonly type: "oneOf"; readonly values: readonly string[]; readonly as?: "any-case" } & Placed)
  | ({ readonly type: "flag" } & Placed & AsText)
  | ({ readonly type: "list"; readonly of: Readonly<Record<string, FieldSpec>>; readonly max: number } & Placed)
  /** A list of values. `of` describes each value. */
  | ({ readonly type: "values"; readonly of: FieldSpec; readonly max: number } & Placed)
  /** An object with free names. `of` describes each value. */
  | ({ readonly type: "map"; readonly of: FieldSpec; readonly max: number } & Placed)
  /** An object with free names whose values are objects. `of` are the fields of each value. */
  | ({ readonly type: "entries"; readonly of: Readonly<Record<string, FieldSpec>>; readonly max: number } & Placed)
  | { readonly type: "optional"; readonly of: FieldSpec }
  | { readonly type: "default"; readonly of: FieldSpec; readonly value: DefaultValue };

/** `as`: whether records may also write it as a text (core/contract/record/record-value.ts). */
interface AsText {
  readonly as?: "text";
}

/**
 * `as`: whether records may also write the number as a text, or its units as base64
 * (core/contract/record/record-value.ts).
 */
interface AsNumber {
  readonly as?: NumberText;
}

/** How more decimal places are rounded. Absent: the record is refused. */
interface Rounded {
  readonly round?: Rounding;
}

/** How records write an instant; absent: as a JSON number of epoch milliseconds. */
interface Written {
  readonly as?: WrittenAs;
  /** For `iso`: the offset, or the name of the zone, for texts without an offset. */
  readonly zone?: string;
}

/** The values that `withDefault` may use for an absent value. For a list or a map only the empty list. */
export type DefaultValue = string | number | boolean | readonly never[];

/** The types that json_transform reads a value as. JSON: as its text. */
export type JsonStructure =
  | ScalarType
  | "JSON"
  | readonly [Readonly<Record<string, JsonStructure>> | ScalarType | "JSON"];

/**
 * One field of an event: the values that producers may send (zod), its column, and its vectorised decode.
 * core/codec/decode/scan.ts recognises the usual forms by `spec`. `read` and `value` must be right for JSON.stringify
 * of every value that zod accepts, and for the lists that the scanner recognises.
 */
export interface Field<T = unknown> extends Described {
  readonly spec: FieldSpec;
  readonly column: ColumnType;
  /** Whether a record may have null, or not have the field. Both are stored as NULL. */
  readonly optional: boolean;
  /** Whether a record may not have the field. Null is refused. */
  readonly hasDefault: boolean;
  readonly zod: z.ZodType<T>;
  readonly read: JsonStructure;
  /** SQL: the column's value, from the value as read. */
  readonly value: (read: string) => string;
  /** SQL: whether a column's value that is not NULL keeps the contract. The results of upcasts are checked with it. */
  readonly fits: (column: string) => string;
  /** SQL: the column's value for a value of the contract. */
  readonly literal: (value: unknown) => string;
  /** Of a list: the descriptions of its elements' fields. */
  readonly elements?: Readonly<Record<string, Described>>;
  /** The problem with the arguments that the field was made with. Absent if there is none. */
  readonly problem?: string;
}
