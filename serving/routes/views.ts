import type { FastifyInstance } from "fastify";
import { planQuery, type QueryProblem } from "../../core/query.ts";
import { answerBody, viewSummary } from "../answer.ts";
import { viewStandings } from "../overview.ts";
import type { Parameters } from "../parameters.ts";
import { badRequest, viewUnknown } from "../problem.ts";
import type { Serving } from "../serving.ts";

/** GET /views and GET /views/:name. */
export function viewRoutes(app: FastifyInstance, { reader, standings, views }: Serving): void {
  app.get("/views", async (request) => {
    const { values, problems } = request.query as Parameters;
    refuse([
      ...problems,
      ...Object.keys(values).map((parameter) => ({ parameter, problem: "no such parameter", allowed: "none" })),
    ]);
    const all = await viewStandings(
      standings,
      [...views.values()].map(({ definition }) => definition),
    );
    return {
      views: all.map(({ definition, standing }) =>
        viewSummary(definition, views.get(definition.view.name)?.types ?? new Map(), standing),
      ),
    };
  });

  app.get<{ Params: { name: string } }>("/views/:name", async (request) => {
    const { name } = request.params;
    const found = views.get(name);
    if (found === undefined) throw viewUnknown(name, [...views.keys()]);
    const { values, problems } = request.query as Parameters;
    const plan = planQuery(found.definition.view, values);
    if (!plan.ok || problems.length > 0) throw badRequest([...problems, ...(plan.ok ? [] : plan.problems)]);
    return answerBody(found.definition, found.types, plan.query, await reader.answer(found.definition, plan.query));
  });
}

function refuse(problems: readonly QueryProblem[]): void {
  if (problems.length > 0) throw badRequest(problems);
}
