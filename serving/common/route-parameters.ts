import type { WrongParameter } from "../../core/errors.ts";
import { QUERY_PARAMETERS } from "../../core/query/query.ts";

/** The parameters that choose the position of an answer. */
const POSITION = ["at", "min", "wait"] as const;
/** The parameters of a query. `where[dimension]` stands for a filter on any dimension, such as where[region]. */
const QUESTION = [...QUERY_PARAMETERS, "where[dimension]"] as const;
const OF_KEY = ["columns", "numbers", ...POSITION] as const;

/**
 * The parameters that each route accepts, by its pattern. Refusals and the OpenAPI document name them in this order. A
 * route that is not listed (pages, health, metrics) reads no parameters.
 */
export const ROUTE_PARAMETERS = {
  "/views": [],
  "/views/:name": [...QUESTION, ...POSITION, "format", "numbers"],
  "/views/:name/keys": ["dimension", "prefix", "from", "to", "where[dimension]", "limit", "numbers", ...POSITION],
  "/views/:name/live": [...QUESTION, "interval", "numbers"],
  "/proof/:view": [
    ...["from", "to", "every", "zone", "window", "by", "where[dimension]", "measures"],
    ...["at", "sample", "deep", "rows"],
  ],
  /** For a table: all of its rows are proven. */
  "/proof/:view of a table": ["at", "sample", "deep", "rows"],
  "/tables": [],
  "/tables/:name": ["key", "prefix", "where[column]", "order", "limit", "after", ...OF_KEY],
  "/tables/:name/*": OF_KEY,
  "/history/:table": ["key", "at", "limit"],
  "/replay/:table": ["key", "at"],
  "/streams": [],
  "/streams/:name/quality": ["every", "from", "to"],
  "/streams/:name/records": ["at", "last", "where", "limit"],
  "/dictionary": [],
  "/alerts": ["rule", "key", "severity", "state", "from", "to", "limit"],
  "/alerts/live": ["rule", "severity"],
} as const satisfies Readonly<Record<string, readonly string[]>>;

export type ParameterRoute = keyof typeof ROUTE_PARAMETERS;

/** Why a route refuses a parameter that other queries of a view accept. Other parameters are reported as unknown. */
const UNUSED: Partial<Record<ParameterRoute, string>> = {
  "/views/:name/keys": "is not used by keys",
  "/proof/:view": "is not used by proofs",
  "/proof/:view of a table": "means nothing for a table",
};

const WHERE = /^where\[.*\]$/s;

export function takesParameter(route: ParameterRoute, name: string): boolean {
  return ROUTE_PARAMETERS[route].some((own) => own === name || (WHERE.test(own) && WHERE.test(name)));
}

/** Returns the refusal of each of these parameters that the route does not accept. */
export function refusedParameters(route: ParameterRoute, names: readonly string[]): WrongParameter[] {
  const allowed = ROUTE_PARAMETERS[route].join(", ") || "none";
  return names
    .filter((name) => !takesParameter(route, name))
    .map((parameter) => {
      const isOfViews = takesParameter("/views/:name", parameter);
      return { parameter, problem: (isOfViews ? UNUSED[route] : undefined) ?? "no such parameter", allowed };
    });
}

/** Returns those of `known` that the route accepts, in the route's order. The first of a name counts. */
export function takenParameters<T extends { readonly name?: unknown }>(
  route: ParameterRoute,
  known: readonly T[],
): T[] {
  return ROUTE_PARAMETERS[route].flatMap((own) => {
    if (WHERE.test(own)) return known.filter(({ name }) => WHERE.test(String(name)));
    return known.filter(({ name }) => name === own).slice(0, 1);
  });
}
