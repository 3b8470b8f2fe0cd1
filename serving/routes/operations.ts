import type { FastifyInstance } from "fastify";
import { type Failure, failureKey } from "../../core/failures.ts";
import { troubleOf } from "../common/trouble.ts";
import type { Health, Readiness } from "../operations/operation-schemas.ts";
import { type ViewOverview, viewOverviews } from "../operations/overview.ts";
import { RefreshWatch } from "../operations/problems.ts";
import { type RedisGate, RedisSilent } from "../read/live/redis-gate.ts";
import type { Serving } from "../request/serving.ts";

const REDIS_PROBE_MS = 1_000;
/** How often views are checked for missing refreshes. */
const LOOK_EVERY_MS = 30_000;
/** Requests of monitoring do not count towards the rate limit. */
const unlimited = { config: { rateLimit: false } } as const;

/** GET /health, /ready and /metrics. */
export function operationRoutes(app: FastifyInstance, serving: Serving): void {
  const { statuses, changes, gate, views, metrics, problems, ownAlerts } = serving;
  const all = async () => {
    const found = await viewOverviews(
      statuses,
      [...views.values()].map(({ definition }) => definition),
    );
    problems.observe(found);
    return found;
  };

  // Views are checked in the background, so that /health answers at once.
  const watch = new RefreshWatch();
  let late: readonly Failure[] = [];
  const lookingAgain = setInterval(() => {
    all().then(
      (found) => {
        const nowMs = Date.now();
        late = watch.observe(found, nowMs);
        for (const view of found) changes.observe(view, nowMs);
      },
      // A view that cannot be read is checked again, and /ready reports it.
      () => {},
    );
  }, LOOK_EVERY_MS).unref();
  app.addHook("onClose", async () => clearInterval(lookingAgain));

  app.get("/health", unlimited, async (): Promise<Health> => {
    const found = [...problems.all(), ...late];
    const own = ownAlerts.open(new Set(found.map(failureKey)));
    return {
      alive: true,
      ...(found.length === 0 ? {} : { problems: found.map(troubleOf) }),
      ...(own.length === 0 ? {} : { alerts: own }),
    };
  });

  app.get("/ready", unlimited, async (_request, reply) => {
    const [answers, found] = await Promise.all([redisAnswers(gate), all()]);
    const failing = problems.all();
    // A damaged view is reported by name and does not make this server unready: it can answer for the other views.
    const ready = answers && found.every(({ status, damage }) => status !== null || damage !== undefined);
    const body: Readiness = {
      ready,
      redis: answers ? "answers" : "silent",
      views: found.map(readiness),
      ...(failing.length === 0 ? {} : { problems: failing.map(troubleOf) }),
    };
    return reply.status(ready ? 200 : 503).send(body);
  });

  app.get("/metrics", unlimited, async (_request, reply) => {
    for (const { definition, status } of await all()) metrics.setView(definition.view.name, status);
    return reply.type(metrics.registry.contentType).send(await metrics.registry.metrics());
  });
}

async function redisAnswers(gate: RedisGate): Promise<boolean> {
  try {
    return (await gate.ask(REDIS_PROBE_MS, () => gate.redis.ping())) === "PONG";
  } catch (error) {
    if (error instanceof RedisSilent) return false;
    throw error;
  }
}

function readiness({ definition, status }: ViewOverview): Readiness["views"][number] {
  return {
    view: definition.view.name,
    ready: status !== null,
    version: status?.manifest.version ?? null,
    complete: status !== null && status.missing === null,
  };
}
