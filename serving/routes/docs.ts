import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance } from "fastify";
import type { Json } from "../openapi/openapi-schemas.ts";

/** GET /openapi.json, and the docs page at /docs. */
export async function docsRoutes(app: FastifyInstance, document: Json): Promise<void> {
  await app.register(swagger, { mode: "static", specification: { document: document as never } });
  await app.register(swaggerUi, { routePrefix: "/docs", uiConfig: { tryItOutEnabled: true } });
  app.get("/openapi.json", () => document);
}
