import type { FastifyInstance, FastifyRequest } from "fastify";
import { subjectOf } from "../../core/access/permissions.ts";
import { type Failure, failureKey } from "../../core/failures.ts";
import { isListed } from "../access/access.ts";
import { viewSummary } from "../answer/answer.ts";
import { type Trouble, troubleOf } from "../common/trouble.ts";
import type { ViewsBody } from "../operations/operation-schemas.ts";
import { viewOverviews } from "../operations/overview.ts";
import type { Parameters } from "../request/parameters.ts";
import { readParameters } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

/** GET /views. */
export function viewListRoutes(app: FastifyInstance, serving: Serving): void {
  app.get("/views", (request) => listViews(serving, request));
}

/** Returns the views that the caller may read, each with its status, and the problems of the installation. */
async function listViews(serving: Serving, request: FastifyRequest): Promise<ViewsBody> {
  const { statuses, changes, views, problems, ownAlerts } = serving;
  readParameters("/views", request.query as Parameters);
  const listed = [...views.values()].filter(
    ({ definition: { view } }) => view.table === null && isListed(request, subjectOf(view)),
  );
  const all = await viewOverviews(
    statuses,
    listed.map(({ definition }) => definition),
  );
  problems.observe(all);
  const nowMs = Date.now();
  const failing = problems.all();
  const own = ownAlerts.open(new Set(failing.map(failureKey)));
  return {
    views: all.map((view) => {
      const { definition, status } = view;
      const changedAtMs = changes.observe(view, nowMs);
      const changedMs = changedAtMs === null ? null : Math.max(0, nowMs - changedAtMs);
      return viewSummary(definition, views.get(definition.view.name)?.types ?? new Map(), status, changedMs);
    }),
    ...shownProblems(failing),
    ...(own.length === 0 ? {} : { alerts: own }),
  };
}

/** The problems of the whole installation; no field if there are none. */
function shownProblems(failures: readonly Failure[]): { problems?: Trouble[] } {
  return failures.length === 0 ? {} : { problems: failures.map(troubleOf) };
}
