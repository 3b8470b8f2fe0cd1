import { setTimeout as delay } from "node:timers/promises";
import type { WorkflowHandle } from "@temporalio/client";
import type { Deployment } from "../deployment/deployment.ts";
import { type Point, signalAt } from "../deployment/injection.ts";
import { brokenVersions } from "../deployment/published.ts";
import type { Scenario, World } from "../deployment/scenario.ts";
import { ticks } from "../schemas/ticks.ts";

/** Some work of the batch layer, with the steps at which its worker is ended. */
interface Work {
  readonly steps: readonly [string, ...string[]];
  /** Starts it; null when it continues by itself all the time. */
  readonly start: ((deployment: Deployment) => Promise<WorkflowHandle>) | null;
  /** What its result must be like. */
  readonly holds?: (result: Readonly<Record<string, unknown>>) => boolean;
}

const DAY = "2026-01-05";

const WORKS = {
  settlement: {
    steps: ["planSettlement", "archiveChunks", "entries", "settleViews", "manifests"],
    start: null,
  },
  // Of state files, beside the settlements that continue; the point at which it publishes is met with theirs.
  merges: {
    steps: ["compact"],
    start: ({ refresher, oracle }) =>
      refresher.start("compactViews", "compact", ticks.name, {
        stream: ticks.name,
        views: oracle.views.map((view) => ({ view, generation: view })),
      }),
  },
  compaction: {
    steps: ["planCompaction", "mergeEntries", "merged"],
    start: ({ refresher }) => refresher.start("compactArchive", "compact-archive", ticks.name, { stream: ticks.name }),
  },
  rebuild: {
    steps: ["planRebuild", "rebuildPart", "finishRebuild", "clearRebuilds"],
    start: ({ refresher }) => refresher.start("rebuildView", "rebuild", "everything", { view: "everything" }),
    holds: ({ equal }) => equal === true,
  },
  "rebuild of a table": {
    steps: ["rebuildPart", "finishRebuild"],
    start: ({ refresher }) => refresher.start("rebuildView", "rebuild", "things", { view: "things" }),
    holds: ({ equal }) => equal === true,
  },
  backfill: {
    steps: ["planBackfill", "backfillDay", "finishBackfill", "clearBackfill"],
    start: ({ refresher }) =>
      refresher.start("backfillView", "backfill", `lines/${DAY}..${DAY}`, { view: "lines", from: DAY, to: DAY }),
    // Nothing differs from what the refreshes have added up.
    holds: ({ version }) => version === null,
  },
  retention: {
    steps: ["checkRetention"],
    start: ({ refresher }) => refresher.start("guardRetention", "retention", ticks.name, { stream: ticks.name }),
  },
  retire: {
    steps: ["retireGenerations"],
    start: ({ refresher }) => refresher.start("retireGenerations", "retire", "generations", undefined),
  },
} as const satisfies Record<string, Work>;

type OtherWork = Exclude<keyof typeof WORKS, "settlement">;

/** A settlement is what runs all the time, so it is what is met most. */
const STEPS_OF_A_SETTLEMENT = 2;
const WORK_LIMIT_MS = 90_000;

export const workerKillEachStep: Scenario = {
  name: "worker-kill-each-step",
  what:
    "Workers are killed just before and after chosen steps of each workflow: " +
    "the next attempt continues, and nothing counts twice.",
  recoveryLimitMs: 75_000,
  async run(world) {
    for (let round = 0; round < STEPS_OF_A_SETTLEMENT; round++) await killAt(world, dealt(world, "settlement"));
    const others = Object.keys(WORKS).filter((name): name is OtherWork => name !== "settlement");
    await killDuring(world, world.pick(others as [OtherWork, ...OtherWork[]]));
  },
};

/** Points that have not been met since all of a workflow's were: a long run comes to each of them. */
const decks = new Map<keyof typeof WORKS, Point[]>();

function dealt({ random }: World, name: keyof typeof WORKS): Point {
  let deck = decks.get(name) ?? [];
  if (deck.length === 0) deck = WORKS[name].steps.flatMap((step): Point[] => [`${step} before`, `${step} after`]);
  decks.set(name, deck);
  const [point] = deck.splice(random(deck.length), 1);
  if (point === undefined) throw new Error(`${name} has no steps`);
  return point;
}

async function killAt(world: World, point: Point): Promise<void> {
  const role = await signalAt(world, point, "SIGKILL");
  world.fault("worker killed at a step", { by: "cut" });
  world.say(`${role.name} killed: ${point}`);
  await role.start();
}

async function killDuring(world: World, name: OtherWork): Promise<void> {
  const { deployment, wrong } = world;
  const work: Work = WORKS[name];
  const begin = async () => work.start?.(deployment);
  const [handle] = await Promise.all([begin(), killAt(world, dealt(world, name))]);
  // A timer that is left over must not keep Node running.
  const late = delay(WORK_LIMIT_MS, undefined, { ref: false });
  const result = (await Promise.race([handle?.result(), late])) as Record<string, unknown> | undefined;
  if (result === undefined) wrong(`${name} did not end within ${WORK_LIMIT_MS / 1_000} s`);
  else if (work.holds !== undefined && !work.holds(result)) wrong(`${name} found ${JSON.stringify(result)}`);
}

/** Steps in which a worker sleeps with work left that another worker does in the meantime. */
const SLEEPS: readonly [Point, ...Point[]] = [
  "planSettlement before",
  "planSettlement after",
  "archiveChunks before",
  "entries before",
  "settleViews before",
  "manifests before",
];

export const zombieActivity: Scenario = {
  name: "zombie-activity",
  what:
    "A worker sleeps in the middle of a step until another one has done it and " +
    "published more, then continues and publishes late: nothing changes.",
  recoveryLimitMs: 75_000,
  async run(world) {
    const { deployment, fault, pick, say, until, sleep, wrong } = world;
    const point = pick(SLEEPS);
    const role = await signalAt(world, point, "SIGSTOP");
    fault("worker asleep in a step", { by: "cut" });
    say(`${role.name} asleep: ${point}`);
    try {
      const since = new Map(deployment.oracle.views.map((view) => [view, versionOf(deployment, view)]));
      // Two versions later even the grace of files and segments is over.
      const ahead = pick([1, 2]);
      await until(
        "every view gets newer versions while a worker sleeps",
        () => [...since].every(([view, version]) => versionOf(deployment, view) >= version + ahead),
        75_000,
      );
    } finally {
      await role.kill("SIGCONT");
    }
    fault("worker awake too late", { by: "cut" });
    await sleep(3_000);
    for (const view of deployment.oracle.views)
      for (const problem of await brokenVersions(deployment, view)) wrong(problem);
  },
};

function versionOf(deployment: Deployment, view: string): number {
  return deployment.latest(view)?.position.version ?? 0;
}
