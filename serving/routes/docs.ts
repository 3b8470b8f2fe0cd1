import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import type { FastifyInstance } from "fastify";
import type { Json } from "../openapi-schemas.ts";

/** GET /openapi.json, the docs page at /docs, and / that leads there. */
export async function docsRoutes(app: FastifyInstance, document: Json): Promise<void> {
  await app.register(swagger, { mode: "static", specification: { document: document as never } });
  await app.register(swaggerUi, { routePrefix: "/docs", uiConfig: { tryItOutEnabled: true } });
  app.get("/openapi.json", () => document);
  app.get("/", (_request, reply) => reply.redirect("/docs"));
}
