import Fastify from "fastify";
import { Redis } from "ioredis";

/** A program, the ceiling of keyed reads: Fastify and ioredis, one HGETALL a request, and its fields as JSON. */
export interface BareHttpOptions {
  readonly port: number;
  readonly redisUrl: string;
}

const { port, redisUrl } = JSON.parse(process.argv[2] ?? "{}") as BareHttpOptions;
process.on("disconnect", () => process.exit());
const redis = new Redis(redisUrl);
const app = Fastify({ logger: false });
app.get<{ Params: { key: string } }>("/read/:key", async (request) => redis.hgetall(`bench:${request.params.key}`));
await app.listen({ port, host: "127.0.0.1" });
process.send?.({ ready: true });
