/** What a writer's schema says of the value at a path, beyond what its JSON shows. */
export interface SchemaHint {
  readonly type: string;
  /** As Avro calls it. */
  readonly logicalType?: string;
  readonly scale?: number;
  /** Of a decimal: whether records have its units as base64. */
  readonly isBase64?: boolean;
  /** Of an enum. */
  readonly symbols?: readonly string[];
  /** Whether null is allowed, whether or not the sample has one. */
  readonly isNullable: boolean;
}
