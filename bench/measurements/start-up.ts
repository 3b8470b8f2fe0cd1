import { setTimeout as delay } from "node:timers/promises";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { type Figure, limit } from "../setup/figure.ts";
import { type Installation, type RoleName, withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareOrders } from "../setup/prepared-batches.ts";

const EVENTS = 300_000;
const ROUNDS = 3;
const GIVE_UP_MS = 120_000;
const LOOK_EVERY_MS = 20;

/**
 * How long roles take from their start to healthy, and how long answers take to be complete and fresh again: after the
 * speed layer was killed while events come in, and after Redis was emptied, with all events to be read again.
 */
export async function benchStartUp(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({ temporal: true }, async (installation) => {
    const started = await startUp(installation, report);
    const serve = installation.role("serve", "--rate-limit", "0");
    await serve.start();
    const recovered = await recovery(installation, report);
    return [...started, ...recovered];
  });
}

async function startUp(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  const figures: Figure[] = [];
  const names: readonly RoleName[] = ["speed", "serve", "worker"];
  for (const name of names) {
    const role = installation.role(name);
    const rounds: number[] = [];
    for (let round = 1; round <= ROUNDS; round++) {
      rounds.push(await seconds(() => role.start()));
      await role.stop();
    }
    figures.push(limit(`start of ${name} to healthy`, "s", null, rounds));
    report(`${name} starts in ${rounds.map((each) => each.toFixed(1)).join(", ")} s`);
  }
  return figures;
}

async function recovery(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  const speed = installation.role("speed");
  await speed.start();
  let sent = 0;
  const send = async (count: number) => {
    const sender = await BatchSender.open(installation.brokers, orderCompleted.name);
    const options = { count, size: 500, partitions: orderCompleted.partitions, startMs: Date.now(), everyMs: 0.2 };
    for (const batch of prepareOrders({ ...options, seed: ++seed })) await sender.send(batch);
    sent += count;
    await sender.close();
  };
  let seed = 0;
  await send(EVENTS);
  await untilFresh(installation, sent);
  const kills: number[] = [];
  const losses: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await speed.kill("SIGKILL");
    await send(10_000);
    kills.push(
      await seconds(async () => {
        await speed.start();
        await untilFresh(installation, sent);
      }),
    );
    losses.push(
      await seconds(async () => {
        await installation.redis.flushall();
        await untilFresh(installation, sent);
      }),
    );
    report(
      `round ${round} of ${ROUNDS}: fresh ${kills.at(-1)?.toFixed(1)} s after a kill, ` +
        `${losses.at(-1)?.toFixed(1)} s after Redis was emptied`,
    );
  }
  return [
    limit("speed layer killed, started again, to fresh answers with 10,000 events waiting", "s", null, kills),
    limit(
      `Redis emptied, to complete answers with ${EVENTS.toLocaleString("en-US")} events to read again`,
      "s",
      null,
      losses,
    ),
  ];
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1_000;
}

/** Waits until the answer is complete and counts this many records. */
async function untilFresh({ ports }: Installation, records: number): Promise<void> {
  const deadlineMs = performance.now() + GIVE_UP_MS;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${ports.api}/views/revenue?measures=orders&by=&every=1h`);
    if (response.ok) {
      const { complete, position } = (await response.json()) as {
        complete: boolean;
        position: { applied: Readonly<Record<string, string>> };
      };
      const applied = Object.values(position.applied).reduce((sum, offset) => sum + Number(offset), 0);
      if (complete && applied >= records) return;
    } else await response.body?.cancel();
    if (performance.now() > deadlineMs) throw new Error(`no fresh answer within ${GIVE_UP_MS / 1_000} s`);
    await delay(LOOK_EVERY_MS);
  }
}
