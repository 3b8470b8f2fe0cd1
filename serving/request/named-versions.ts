import type { FastifyInstance } from "fastify";
import { type NamedVersion, namedVersions, withCuts } from "../../core/log/as-of.ts";
import type { Cut } from "../../core/log/position.ts";
import { mayBePosted } from "../access/route-access.ts";
import { remembered } from "../common/remembered.ts";
import { positionGone } from "../read/recomputations.ts";
import { generationGone, MOST_PIECES } from "./consistency.ts";
import type { Parameters } from "./parameters.ts";
import type { Serving } from "./serving.ts";

type Known = Pick<Serving, "views" | "statuses">;
type Resolve = (token: string) => Promise<string>;

/**
 * How to find the tokens in each parameter. `at` is a token, `min` has several tokens or names of records, and `after`
 * is a token followed by a key.
 */
const WITH_TOKENS: Readonly<Record<string, (text: string, resolve: Resolve) => Promise<string>>> = {
  at: (text, resolve) => resolve(text),
  min: async (text, resolve) => {
    // If there are too many, `piecesOf` refuses them later.
    const pieces = text.split(",", MOST_PIECES + 1).map((piece) => (piece.includes(":") ? piece : resolve(piece)));
    return (await Promise.all(pieces)).join(",");
  },
  after: async (text, resolve) => {
    const [token = "", ...key] = text.split(":");
    return [await resolve(token), ...key].join(":");
  },
};

/** Whether a route has parameters with tokens. */
const readsTokens = remembered((route) => mayBePosted(route) || route === "/proof/:view");

/** Replaces each token that names a version by one that has the version's cut, before a route reads it. */
export function resolveTokens(app: FastifyInstance, serving: Known): void {
  app.addHook("preValidation", async (request) => {
    if (request.is404 || !readsTokens(request.routeOptions.url ?? "")) return;
    const { values, problems } = request.query as Parameters;
    const resolved: Record<string, string> = {};
    for (const [name, resolve] of Object.entries(WITH_TOKENS)) {
      const value = values[name];
      if (typeof value === "string") resolved[name] = await resolve(value, (token) => resolvedToken(serving, token));
    }
    if (Object.keys(resolved).length > 0)
      request.query = { values: Object.assign(Object.create(null), values, resolved), problems };
  });
}

/**
 * Returns the same token with the cut of the version that it names. Text that is not a token is returned as it is.
 * Throws GENERATION_GONE for a version of a definition that is not served, POSITION_GONE for a version that is no
 * longer stored.
 */
export async function resolvedToken({ views, statuses }: Known, token: string): Promise<string> {
  const cuts = new Map<string, Cut>();
  const nameOf = ({ generation, version }: NamedVersion) => `${generation} ${version}`;
  for (const named of namedVersions(token)) {
    const served = [...views.values()].find(({ definition }) => definition.generation === named.generation);
    if (served === undefined) throw generationGone(named.generation.slice(0, named.generation.lastIndexOf(".")));
    const cut = await statuses.cutOf(served.definition, named.version);
    if (cut === null) throw versionGone(named);
    cuts.set(nameOf(named), cut);
  }
  return cuts.size === 0 ? token : withCuts(token, (named) => cuts.get(nameOf(named)) ?? null);
}

function versionGone({ version }: NamedVersion) {
  return positionGone(
    `the position is written as what lies beyond version ${version}, which is not kept any more: ask again without it`,
  );
}
