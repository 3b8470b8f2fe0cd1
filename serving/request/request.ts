import type { WrongParameter } from "../../core/errors.ts";
import type { Fail } from "../../core/query/parameters.ts";
import { isQueryParameter, planQuery, type Query } from "../../core/query/query.ts";
import { planWholeTable } from "../../core/query/tables/table-query.ts";
import { NUMBERS, type Numbers } from "../common/numbers.ts";
import { badRequest, tableNotView, viewUnknown } from "../common/refusals.ts";
import { type ParameterRoute, refusedParameters, takesParameter } from "../common/route-parameters.ts";
import type { DescribedView } from "../views/served-views.ts";
import type { Parameters } from "./parameters.ts";

/** Returns the only value of a parameter; undefined if the parameter was not given. */
export type One = (name: string) => string | undefined;

export interface ViewRequest<T> {
  readonly described: DescribedView;
  readonly query: Query;
  /** The values that the route reads beside the query. */
  readonly options: T;
}

/** The route of a request, and its parameters. */
interface Asked {
  readonly route: ParameterRoute;
  readonly parameters: Parameters;
  /** Parameters of the query that this route uses for something else; absent: none. */
  readonly own?: readonly string[];
  /** The kinds of view that the route accepts; absent: a view. */
  readonly of?: "view" | "view or table";
}

/**
 * Reads a request to the view called `name`: the query's parameters, and the route's own, which `read` reads. Throws
 * VIEW_UNKNOWN, and BAD_REQUEST with all problems.
 */
export function readRequest<T>(
  views: ReadonlyMap<string, DescribedView>,
  name: string,
  { route, parameters, own = [], of = "view" }: Asked,
  read: (one: One, fail: Fail, described: DescribedView) => T,
): ViewRequest<T> {
  const described = views.get(name);
  if (described === undefined || (described.definition.view.table !== null && of === "view"))
    throw described === undefined
      ? viewUnknown(name, of === "view" ? viewNames(views) : [...views.keys()])
      : tableNotView(name);
  const { one, fail, problems } = readingOf(route, parameters);
  const isOfQuery = (key: string) => isQueryParameter(key) && takesParameter(route, key) && !own.includes(key);
  const values = Object.fromEntries(Object.entries(parameters.values).filter(([key]) => isOfQuery(key)));
  const { view } = described.definition;
  const plan = view.table === null ? planQuery(view, values) : planWholeTable(view, values);
  const options = read(one, fail, described);
  if (!plan.ok) problems.push(...plan.problems);
  if (!plan.ok || problems.length > 0) throw badRequest(problems);
  return { described, query: plan.query, options };
}

/** Reads single parameters, and collects their problems. */
export interface ParameterReading {
  readonly one: One;
  readonly fail: Fail;
  readonly problems: WrongParameter[];
}

/**
 * Begins to read the parameters of a route. The problems already include those of malformed parameters, and of
 * parameters that the route does not accept. The latter are not read.
 */
export function readingOf(route: ParameterRoute, { values, problems: malformed }: Parameters): ParameterReading {
  const problems: WrongParameter[] = [...malformed, ...refusedParameters(route, Object.keys(values))];
  const fail: Fail = (parameter, problem, allowed) => problems.push({ parameter, problem, allowed });
  const one: One = (parameter) => {
    const value = values[parameter];
    if (value === undefined || !takesParameter(route, parameter)) return undefined;
    if (typeof value === "string") return value;
    fail(parameter, "given more than once", `${parameter} once`);
    return undefined;
  };
  return { one, fail, problems };
}

/**
 * Returns the values for a route that accepts each parameter once. Throws BAD_REQUEST for parameters that it does not
 * accept.
 */
export function readParameters(route: ParameterRoute, parameters: Parameters): Map<string, string> {
  const { one, problems } = readingOf(route, parameters);
  const values = new Map<string, string>();
  for (const name of Object.keys(parameters.values)) {
    const value = one(name);
    if (value !== undefined) values.set(name, value);
  }
  if (problems.length > 0) throw badRequest(problems);
  return values;
}

function viewNames(views: ReadonlyMap<string, DescribedView>): string[] {
  return [...views].flatMap(([name, { definition }]) => (definition.view.table === null ? [name] : []));
}

/** Reads `numbers`: how to write exact numbers. */
export function readNumbers(one: One, fail: Fail): Numbers {
  const text = one("numbers") ?? "number";
  if (Object.hasOwn(NUMBERS, text)) return text as Numbers;
  fail("numbers", `"${text.slice(0, 60)}" is neither`, Object.keys(NUMBERS).join(", "));
  return "number";
}
