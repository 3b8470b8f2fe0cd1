/** The information of a writer's schema about the value at a path, beyond what its JSON shows. */
export interface SchemaHint {
  readonly type: string;
  /** In Avro's words. */
  readonly logicalType?: string;
  readonly scale?: number;
  /** For a decimal: whether records have its units as base64. */
  readonly isBase64?: boolean;
  /** The symbols of an enum. */
  readonly symbols?: readonly string[];
  /** Whether null is allowed, even if the sample has none. */
  readonly isNullable: boolean;
}
