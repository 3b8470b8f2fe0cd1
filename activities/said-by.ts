/** The message of a failure without its hint, and the hint. */
export interface Said {
  readonly message: string;
  readonly hint: string;
}

/**
 * Returns message and hint of an activity's failure. The failure has its hint twice: at the end of its message, and as
 * a detail.
 */
export function saidBy(
  { message, details }: { readonly message: string; readonly details?: readonly unknown[] | null | undefined },
  otherwise: string,
): Said {
  const [detail] = details ?? [];
  const hint = typeof detail === "object" && detail !== null && "hint" in detail ? String(detail.hint) : null;
  if (hint === null) return { message, hint: otherwise };
  // At the end of the message the hint is a sentence, and begins with a capital letter.
  const isAtEnd = message.toLowerCase().endsWith(`. ${hint}`.toLowerCase());
  return { message: isAtEnd ? message.slice(0, -hint.length - 2) : message, hint };
}
