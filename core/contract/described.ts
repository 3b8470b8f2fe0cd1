/**
 * The description of a definition, for people. It is in no stored document and in no hash, so it may change at any
 * time.
 */
export interface Described {
  /** A sentence that describes it. */
  readonly doc?: string | null;
  /** Of a field: a value. Of a stream: an event. Both as producers write them. Of a view or measure: a text. */
  readonly example?: unknown;
}

/** Returns the description among options. Throws RangeError for a `doc` that is not text. */
export function describedBy({ doc, example }: Described): Described {
  if (doc !== undefined && doc !== null && typeof doc !== "string")
    throw new RangeError(`doc is a text, not ${String(doc)}`);
  return { ...(doc === undefined ? {} : { doc }), ...(example === undefined ? {} : { example }) };
}
