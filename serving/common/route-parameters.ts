import type { WrongParameter } from "../../core/errors.ts";
import { QUERY_PARAMETERS } from "../../core/query/query.ts";

/** Where an answer is to stand. */
const POSITION = ["at", "min", "wait"] as const;
/** What is asked of a view. `where[dimension]` stands for one of any dimension, as where[region]. */
const QUESTION = [...QUERY_PARAMETERS, "where[dimension]"] as const;
const OF_KEY = ["columns", "numbers", ...POSITION] as const;

/**
 * The parameters that each route takes, by its pattern, in the order in which a refusal and the OpenAPI document name
 * them. Routes that are not here look at none: the pages, and what monitoring asks.
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
  /** All of its rows are proven. */
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

/** What is wrong with a parameter that a question to a view has, and this route does not. Else there is none such. */
const UNUSED: Partial<Record<ParameterRoute, string>> = {
  "/views/:name/keys": "is not used by keys",
  "/proof/:view": "is not used by proofs",
  "/proof/:view of a table": "means nothing for a table",
};

const WHERE = /^where\[.*\]$/s;

export function takesParameter(route: ParameterRoute, name: string): boolean {
  return ROUTE_PARAMETERS[route].some((own) => own === name || (WHERE.test(own) && WHERE.test(name)));
}

/** The refusal of each of these parameters that the route does not take. */
export function refusedParameters(route: ParameterRoute, names: readonly string[]): WrongParameter[] {
  const allowed = ROUTE_PARAMETERS[route].join(", ") || "none";
  return names
    .filter((name) => !takesParameter(route, name))
    .map((parameter) => {
      const isOfViews = takesParameter("/views/:name", parameter);
      return { parameter, problem: (isOfViews ? UNUSED[route] : undefined) ?? "no such parameter", allowed };
    });
}

/** Of what is known of parameters, that of those that the route takes, in its order. The first of a name counts. */
export function takenParameters<T extends { readonly name?: unknown }>(
  route: ParameterRoute,
  known: readonly T[],
): T[] {
  return ROUTE_PARAMETERS[route].flatMap((own) => {
    if (WHERE.test(own)) return known.filter(({ name }) => WHERE.test(String(name)));
    return known.filter(({ name }) => name === own).slice(0, 1);
  });
}
