import { isTidelineError } from "../core/errors.ts";
import type { Definition } from "../store/definitions.ts";
import type { Standing, Standings } from "./standings.ts";

export interface ViewStanding {
  readonly definition: Definition;
  /** Null when nothing is published yet. */
  readonly standing: Standing | null;
}

/** Where every view stands. */
export function viewStandings(standings: Standings, definitions: Iterable<Definition>): Promise<ViewStanding[]> {
  return Promise.all(
    [...definitions].map(async (definition) => {
      const standing = await standings.find(definition).catch((error: unknown) => {
        if (isTidelineError(error, "NOT_READY")) return null;
        throw error;
      });
      return { definition, standing };
    }),
  );
}
