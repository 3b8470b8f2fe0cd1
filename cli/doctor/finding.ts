/** The severity of a finding. A warning works now, but may not tomorrow; a problem does not work. */
export type Level = "ok" | "warning" | "problem";

/** The result of one check. */
export interface Finding {
  /** Stable, for programs: `redis.memory-policy`. */
  readonly check: string;
  readonly level: Level;
  /** The state that was found, and its meaning. */
  readonly message: string;
  /** The action to take; absent if all is well. */
  readonly todo?: string;
}

export function ok(check: string, message: string): Finding {
  return { check, level: "ok", message };
}

export function warning(check: string, message: string, todo: string): Finding {
  return { check, level: "warning", message, todo };
}

export function problem(check: string, message: string, todo: string): Finding {
  return { check, level: "problem", message, todo };
}

/** Returns an "ok" finding if all is well, else the given one. */
export function judged(
  fine: boolean,
  check: string,
  message: string,
  otherwise: { readonly level: "warning" | "problem"; readonly message: string; readonly todo: string },
): Finding {
  return fine ? ok(check, message) : { check, ...otherwise };
}

/** Compares versions by their numbers: "7.0.15" is at least "6.2". */
export function isAtLeast(version: string, least: string): boolean {
  const numbers = (text: string) =>
    text
      .replace(/^v/, "")
      .split(".")
      .map((part) => Number.parseInt(part, 10) || 0);
  const [found, wanted] = [numbers(version), numbers(least)];
  for (const [index, part] of wanted.entries()) {
    const difference = (found[index] ?? 0) - part;
    if (difference !== 0) return difference > 0;
  }
  return true;
}
