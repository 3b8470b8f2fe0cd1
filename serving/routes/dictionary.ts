import type { FastifyInstance } from "fastify";
import type { Dictionary } from "../../store/definitions/dictionary.ts";
import { isListed } from "../access/access.ts";
import type { Parameters } from "../request/parameters.ts";
import { readParameters } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

/** GET /dictionary. */
export function dictionaryRoutes(app: FastifyInstance, { dictionary }: Serving): void {
  // Definitions do not change while a server runs.
  let made: Promise<Dictionary> | null = null;
  app.get("/dictionary", async (request): Promise<Dictionary> => {
    readParameters("/dictionary", request.query as Parameters);
    made ??= dictionary();
    const { streams, views } = await made;
    return {
      streams: streams.filter(({ stream }) => isListed(request, { kind: "stream", stream })),
      views: views.filter(({ view, stream }) => isListed(request, { kind: "view", view, stream })),
    };
  });
}
