import { once } from "node:events";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { mix, randomNumbers, seedState } from "../../core/numbers/random.ts";
import { HIGH_RULE, readings, wantedIds } from "../fixtures/events/heart-rate-readings.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";
import { nightlyOr } from "../tiers.ts";

/** How often the process that runs rules and deliveries is killed. */
const MOMENTS = nightlyOr(20, 2);
const seed = Number(process.env.TIDELINE_KILLS_SEED ?? 20_261_128);
const random = randomNumbers(mix(seedState(seed)), 1);
const brokers = () => inject("kafkaBrokers");

let tideline: Installation;
let folder: string;
let server: Server;

/** What the webhook has taken, in order; `kill` names what was taken last before the process was killed. */
interface Taken {
  readonly path: string;
  readonly id: string;
  readonly alerts: readonly string[];
}
const taken: Taken[] = [];
/** Ids that were taken last before a kill: nothing else may come twice. */
const last = new Set<string>();
/** The next moment: after this many calls, before or after the answer. */
let moment: { calls: number; readonly isAnswered: boolean; readonly reached: () => void } | null = null;

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const path = request.url ?? "";
    const { data } = JSON.parse(await text(request)) as { data: { id: string; alerts?: { id: string }[] } };
    const now = moment;
    if (now !== null && --now.calls === 0) {
      moment = null;
      if (!now.isAnswered) return now.reached();
      response.once("finish", now.reached);
    }
    taken.push({
      path,
      id: String(request.headers["webhook-id"]),
      alerts: (data.alerts ?? [data]).map(({ id }) => id),
    });
    response.writeHead(200).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = join(process.cwd(), ".tideline", `kills-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "definitions.ts"),
    `${HIGH_RULE}
     import { delivery, webhook } from "../../core/definition/builders.ts";
     export const each = delivery("each", { to: webhook({ url: "${url}/each" }), from: "start" });
     export const groups = delivery("groups", {
       to: webhook({ url: "${url}/groups" }), group: { within: "1 second" }, from: "start",
     });`,
  );
  tideline = await Installation.open("kills", {
    TIDELINE_SYSTEM: join(process.cwd(), "systems/patients"),
    TIDELINE_RULES: folder,
    TIDELINE_DELIVERIES: folder,
  });
  await tideline.run("init");
});

afterAll(async () => {
  await tideline?.close();
  await rm(folder, { recursive: true });
  server.closeAllConnections();
  server.close();
});

/** The ids of alerts that the log of readings asks for, as another client reads it. */
async function wanted(): Promise<Set<string>> {
  const log = await readLog(brokers(), tideline.topic("heart-rates"));
  return wantedIds([...log.values()].flat().map(({ value }) => value));
}

/** The alerts that other clients see: each once, because a repeat is a duplicate. */
async function writtenIds(): Promise<Set<string>> {
  const records = [...(await readLog(brokers(), tideline.topic("alerts"))).values()].flat();
  return new Set(records.map(({ key }) => String(key)));
}

const alertsAt = (path: string) => taken.filter((one) => one.path === path).flatMap(({ alerts }) => alerts);
const sorted = (ids: Iterable<string>) => [...new Set(ids)].sort();

test(`alerts are those of a plain fold and each is handed over once, whenever the process is killed (seed ${seed})`, async () => {
  for (let round = 0; round < MOMENTS; round++) {
    const reached = new Promise<void>((done) => {
      moment = { calls: 1 + Math.floor(random() * 10), isAnswered: random() < 0.7, reached: done };
    });
    await produce(brokers(), tideline.topic("heart-rates"), readings(round, random));
    if (round === 0) await tideline.start("speed");
    else await tideline.restart("speed");
    await reached;
    await tideline.kill("speed");
    for (const path of ["/each", "/groups"]) {
      const id = taken.findLast((one) => one.path === path)?.id;
      if (id !== undefined) last.add(id);
    }
    if (random() < 0.5) await tideline.emptyRedis();
  }
  await produce(brokers(), tideline.topic("heart-rates"), readings(MOMENTS, random));
  await tideline.restart("speed");
  const all = await wanted();
  for (const path of ["/each", "/groups"])
    await until(
      `all alerts at ${path}`,
      async () => new Set(alertsAt(path)).size,
      (count) => count >= all.size,
    );
  expect(sorted(await writtenIds())).toEqual(sorted(all));
  for (const path of ["/each", "/groups"]) {
    const here = taken.filter((one) => one.path === path);
    expect(sorted(alertsAt(path))).toEqual(sorted(all));
    // A message comes twice only where it was taken last before a kill, and then it is the same message.
    const byId = new Map(here.map((one) => [one.id, one]));
    const again = here.filter((one, index) => here.findIndex(({ id }) => id === one.id) !== index);
    expect(again.filter(({ id }) => !last.has(id))).toEqual([]);
    for (const one of again) expect(one.alerts).toEqual(byId.get(one.id)?.alerts);
    // And no alert is in two messages.
    expect([...byId.values()].flatMap(({ alerts }) => alerts)).toHaveLength(all.size);
  }
}, 1_200_000);
