import type { z } from "zod";
import type { Described } from "./described.ts";
import type { WrittenAs } from "./record/record-time.ts";
import type { NumberText, Rounding } from "./record/record-value.ts";

/** The types that a scalar column can have. Money and counts are integers; there are no doubles (invariant 6). */
export type ScalarType = "VARCHAR" | "BIGINT" | "BOOLEAN";

/** The types that a column of decoded events can have. */
export type ColumnType = ScalarType | `STRUCT(${string})[]` | `${ScalarType}[]`;

/**
 * `path`: where a record has the value (core/contract/record/wire-path.ts, or a part of the record: record-part.ts), if
 * not under the field's own name.
 */
interface Placed {
  readonly path?: string;
}

/** How a field was made, as plain JSON; `fieldFrom` makes it again. */
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
  /** A list of values: `of` is what each of them is. */
  | ({ readonly type: "values"; readonly of: FieldSpec; readonly max: number } & Placed)
  /** An object with free names: `of` is what each value is. */
  | ({ readonly type: "map"; readonly of: FieldSpec; readonly max: number } & Placed)
  /** An object with free names whose values are objects: `of` are the fields of each of them. */
  | ({ readonly type: "entries"; readonly of: Readonly<Record<string, FieldSpec>>; readonly max: number } & Placed)
  | { readonly type: "optional"; readonly of: FieldSpec }
  | { readonly type: "default"; readonly of: FieldSpec; readonly value: DefaultValue };

/** `as`: whether records may write it as a text, too (core/contract/record/record-value.ts). */
interface AsText {
  readonly as?: "text";
}

/**
 * `as`: whether records may write a number as a text, too, or its units as base64
 * (core/contract/record/record-value.ts).
 */
interface AsNumber {
  readonly as?: NumberText;
}

/** What becomes of more decimal places; absent: the record is refused. */
interface Rounded {
  readonly round?: Rounding;
}

/** How records write an instant; absent: as a JSON number of epoch milliseconds. */
interface Written {
  readonly as?: WrittenAs;
  /** Of `iso`: the offset, or the name of the zone, of texts that name no offset. */
  readonly zone?: string;
}

/** What `withDefault` may put in the place of an absent value; of a list or a map only the empty list. */
export type DefaultValue = string | number | boolean | readonly never[];

/** What json_transform reads a value as; JSON: as its text. */
export type JsonStructure =
  | ScalarType
  | "JSON"
  | readonly [Readonly<Record<string, JsonStructure>> | ScalarType | "JSON"];

/**
 * One field of an event: what producers may send (zod), the column it becomes, and its vectorised decode.
 *
 * core/codec/decode/scan.ts recognises what most producers write, by `spec`. `read` and `value` must be right for
 * JSON.stringify of every value that zod accepts, and for the lists that the scanner recognises.
 */
export interface Field<T = unknown> extends Described {
  readonly spec: FieldSpec;
  readonly column: ColumnType;
  /** Whether null or absent is allowed; both are stored as NULL. */
  readonly optional: boolean;
  /** Whether absent, but not null, is allowed. */
  readonly hasDefault: boolean;
  readonly zod: z.ZodType<T>;
  readonly read: JsonStructure;
  /** SQL: the column's value of the value as read. */
  readonly value: (read: string) => string;
  /** SQL: whether a column's value that is not NULL keeps the contract. What an upcast gives is held to it. */
  readonly fits: (column: string) => string;
  /** SQL: the column's value for a value of the contract. */
  readonly literal: (value: unknown) => string;
  /** Of a list: what its elements' fields say about themselves. */
  readonly elements?: Readonly<Record<string, Described>>;
  /** What is wrong with the arguments that it was made of; absent: nothing. */
  readonly problem?: string;
}
