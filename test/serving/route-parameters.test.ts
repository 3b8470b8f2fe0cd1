import { beforeAll, describe, expect, it } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { joined } from "../../core/definition/joined.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { type ParameterRoute, ROUTE_PARAMETERS, takesParameter } from "../../serving/common/route-parameters.ts";
import { sales, takings } from "../fixtures/events/takings.ts";
import { type Place, place, useServers } from "./place.ts";

useServers();

const shops = table("shops", { stream: sales, key: { shop: sql`shop` }, measures: { sold: count() } });
const sold = joined("sold", { tables: { shops }, columns: { sold: sql`shops.sold` } });

/** Addresses of each route; of a table and of a joined one. */
const PATHS: Readonly<Record<ParameterRoute, readonly string[]>> = {
  "/views": ["/views"],
  "/views/:name": ["/views/takings"],
  "/views/:name/keys": ["/views/takings/keys"],
  "/views/:name/live": ["/views/takings/live"],
  "/proof/:view": ["/proof/takings"],
  "/proof/:view of a table": ["/proof/shops", "/proof/sold"],
  "/tables": ["/tables"],
  "/tables/:name": ["/tables/shops", "/tables/sold"],
  "/tables/:name/*": ["/tables/shops/north", "/tables/sold/north"],
  "/history/:table": ["/history/shops", "/history/sold"],
  "/replay/:table": ["/replay/shops", "/replay/sold"],
  "/streams": ["/streams"],
  "/streams/:name/quality": ["/streams/sales/quality"],
  "/streams/:name/records": ["/streams/sales/records"],
  "/dictionary": ["/dictionary"],
  "/alerts": ["/alerts"],
  "/alerts/live": ["/alerts/live"],
};
const routes = Object.keys(ROUTE_PARAMETERS) as ParameterRoute[];
const cases = routes.flatMap((route) => PATHS[route].map((path) => [path, route] as const));

/** Routes that look at no parameter: their files, and what monitoring asks. */
const WITHOUT = ["/health", "/ready", "/metrics", "/openapi.json"];

/** A name in a URL: where[shop] where any dimension may stand. */
const written = (name: string) => name.replace(/^where\[.+\]$/, "where[shop]");

let at: Place;
beforeAll(async () => {
  const views = [takings, shops].map((one) => [
    one.name,
    { view: one, generation: generationOf(one), file: "test" },
  ]) as never;
  const streams = new Map([[sales.name, sales]]);
  at = await place({ definitions: { views: new Map(views), streams, joined: new Map([[sold.name, sold]]) } });
});

const errorsOf = async (path: string, names: readonly string[]) => {
  const query = names.map((name) => `${encodeURIComponent(written(name))}=1`).join("&");
  const { status, text } = await at.ask(`${path}?${query}`);
  const { code, errors = [] } = JSON.parse(text) as Problem;
  return { status, code, errors };
};

describe("a parameter that a route does not take", () => {
  it.each(cases)("%s is refused, and what is allowed is said", async (path, route) => {
    const own: readonly string[] = ROUTE_PARAMETERS[route];
    const ofOthers = new Set(routes.flatMap((other): readonly string[] => ROUTE_PARAMETERS[other]));
    const refused = [...ofOthers, "unheard", "where[", "__proto__"].filter((name) => !takesParameter(route, name));
    const { status, code, errors } = await errorsOf(path, refused);
    expect([status, code]).toEqual([400, "BAD_REQUEST"]);
    for (const name of refused) {
      const told = errors.filter(({ parameter }) => parameter === written(name));
      expect(told.map(({ problem, allowed }) => [problem !== "", allowed])).toEqual([[true, own.join(", ") || "none"]]);
    }
    // Alone each of them is enough for a refusal.
    for (const name of refused) expect((await errorsOf(path, [name])).status, name).toBe(400);
  });

  it.each(cases)("%s takes its own", async (path, route) => {
    const own: readonly string[] = ROUTE_PARAMETERS[route];
    if (own.length === 0) return;
    const { errors } = await errorsOf(path, [...own, "unheard"]);
    for (const { parameter, allowed } of errors)
      if (parameter !== "unheard") expect(allowed, parameter).not.toBe(own.join(", "));
  });
});

it("the OpenAPI document has exactly the parameters that the routes take", async () => {
  const { paths } = JSON.parse((await at.ask("/openapi.json")).text) as {
    paths: Record<string, { get: { parameters?: { name: string; in: string }[] } }>;
  };
  const filled = new Map(cases.map(([path, route]) => [path.replace("/north", "/{key}"), route]));
  const ofDocument = (path: string) =>
    path.replace("{view}", "takings").replace("/streams/{name}", "/streams/sales").replace("{table}", "shops");
  const documented = Object.keys(paths).filter((path) => !WITHOUT.includes(path));
  expect(documented.map((path) => filled.get(ofDocument(path)) ?? path).sort()).toEqual(
    cases.flatMap(([path, route]) => (path.startsWith("/proof/s") ? [] : [route])).sort(),
  );
  for (const path of documented) {
    const inQuery = (paths[path]?.get.parameters ?? []).filter((one) => one.in === "query").map(({ name }) => name);
    const names = inQuery.map((name) => name.replace(/^where\[.*/, "where[]"));
    const route = filled.get(ofDocument(path)) as ParameterRoute;
    const own = ROUTE_PARAMETERS[route].map((name) => name.replace(/^where\[.*/, "where[]"));
    expect([...new Set(names)], path).toEqual(own);
  }
});
