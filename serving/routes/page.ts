import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { FastifyInstance } from "fastify";

const inPage = (name: string) => fileURLToPath(new URL(`../page/${name}`, import.meta.url));
const echarts = fileURLToPath(import.meta.resolve("echarts/dist/echarts.min.js"));

const FILES: readonly [url: string, file: string, type: string][] = [
  ["/", inPage("index.html"), "text/html; charset=utf-8"],
  ["/lookup", inPage("lookup.html"), "text/html; charset=utf-8"],
  ["/assets/lookup.js", inPage("lookup.js"), "text/javascript; charset=utf-8"],
  ["/assets/page.css", inPage("page.css"), "text/css; charset=utf-8"],
  ["/assets/page.js", inPage("page.js"), "text/javascript; charset=utf-8"],
  ["/assets/alerts.js", inPage("alerts.js"), "text/javascript; charset=utf-8"],
  ["/assets/elements.js", inPage("elements.js"), "text/javascript; charset=utf-8"],
  ["/assets/server.js", inPage("server.js"), "text/javascript; charset=utf-8"],
  ["/assets/choose.js", inPage("choose.js"), "text/javascript; charset=utf-8"],
  ["/assets/echarts.js", echarts, "text/javascript; charset=utf-8"],
];

/**
 * GET /, the page that shows the views changing, and GET /lookup, the page that shows rows of tables, with their files.
 * They have no build step, and load nothing from other servers.
 */
export async function pageRoutes(app: FastifyInstance): Promise<void> {
  for (const [url, file, type] of FILES) {
    const body = await readFile(file);
    const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 27)}"`;
    app.get(url, (request, reply) => {
      void reply.headers({ "cache-control": "no-cache", etag });
      if (request.headers["if-none-match"] === etag) return reply.status(304).send();
      return reply.type(type).send(body);
    });
  }
}
