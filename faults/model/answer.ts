/** One answer of `GET /views/:name` or `GET /tables/:name`, as far as it is judged. */
export interface Answer {
  readonly rows: readonly Readonly<Record<string, string | number | boolean | null>>[];
  readonly truncated: boolean;
  readonly asOf: string;
  readonly position: {
    readonly generation: string;
    readonly version: number;
    readonly cut: Readonly<Record<string, string>>;
    readonly applied: Readonly<Record<string, string>>;
  };
  readonly complete: boolean;
  readonly missing?: { readonly code: string; readonly message: string };
}

/** Of what was asked, and where the answer has to stand. */
export interface Asked {
  /** The name of the view; a table is one too. */
  readonly view: string;
  /**
   * The position that was asked for: the token of an earlier answer, and what that answer stated, if it stated
   * anything.
   */
  readonly at?: { readonly token: string; readonly applied: Answer["position"]["applied"] | null };
  /** A record that the answer must include. */
  readonly min?: { readonly partition: number; readonly offset: bigint };
}
