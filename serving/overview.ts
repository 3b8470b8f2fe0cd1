import { isTidelineError } from "../core/errors.ts";
import type { Definition } from "../store/definitions.ts";
import type { Reader, Standing } from "./reader.ts";

export interface ViewStanding {
  readonly definition: Definition;
  /** Null when nothing is published yet. */
  readonly standing: Standing | null;
}

/** Where every view stands; null for one of which nothing is published yet. */
export function standings(reader: Reader, definitions: Iterable<Definition>): Promise<ViewStanding[]> {
  return Promise.all(
    [...definitions].map(async (definition) => {
      const standing = await reader.standing(definition).catch((error: unknown) => {
        if (isTidelineError(error, "NOT_READY")) return null;
        throw error;
      });
      return { definition, standing };
    }),
  );
}
