import type { FastifyInstance } from "fastify";
import type { Dictionary } from "../../store/definitions/dictionary.ts";
import { badRequest } from "../common/problem.ts";
import type { Parameters } from "../request/parameters.ts";
import type { Serving } from "../request/serving.ts";

/** GET /dictionary. */
export function dictionaryRoutes(app: FastifyInstance, { dictionary }: Serving): void {
  // Definitions do not change while a server runs.
  let made: Promise<Dictionary> | null = null;
  app.get("/dictionary", async (request) => {
    const { values, problems } = request.query as Parameters;
    const unknown = Object.keys(values).map((parameter) => ({
      ...{ parameter, problem: "no such parameter", allowed: "none" },
    }));
    if (problems.length + unknown.length > 0) throw badRequest([...problems, ...unknown]);
    made ??= dictionary();
    return made;
  });
}
