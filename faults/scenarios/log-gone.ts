import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import type { Deployment } from "../deployment/deployment.ts";
import type { Scenario, World } from "../deployment/scenario.ts";
import { positionsOf } from "../model/judge.ts";
import type { Positions } from "../model/view-fold.ts";
import { ticks } from "../schemas/ticks.ts";
import { Source } from "../traffic/source.ts";
import { withAdmin } from "./kafka.ts";

/** How long it is watched that a stopped view stays where it is. */
const WATCHED_MS = 6_000;

/** Why each view is stopped, as the speed layer says it: view -> error code, or its phase. */
async function stopped(deployment: Deployment): Promise<Map<string, string>> {
  const response = await fetch(`${deployment.fleet.role("speed-1").url}/health`);
  const { views } = (await response.json()) as { views: { view: string; phase: string; code: string | null }[] };
  return new Map(views.map(({ view, phase, code }) => [view, code ?? phase]));
}

/**
 * Waits until all views are stopped with `code`, and sees that no answer goes beyond `most`, then and for some time.
 */
export async function mustStop(world: World, deployment: Deployment, code: string, most: Positions): Promise<void> {
  let seen = new Map<string, string>();
  await world
    .until(`all views stopped with ${code}`, async () => {
      seen = await stopped(deployment);
      return [...seen.values()].every((found) => found === code);
    })
    .catch(() => world.wrong(`views are not stopped with ${code}: ${JSON.stringify([...seen])}`));
  await world.sleep(WATCHED_MS);
  for (const view of deployment.oracle.views) {
    const applied = positionsOf(deployment.latest(view)?.position.applied ?? {});
    const beyond = [...applied].filter(([partition, position]) => position > (most.get(partition) ?? 0n));
    if (beyond.length > 0) world.wrong(`${view} went on to ${beyond.join(" ")}, beyond a log that is gone`);
  }
}

/** Lets events in that the speed layer does not see: where the log ended when it was killed, and where it ends now. */
async function unseen(
  { sleep }: World,
  { fleet, source, oracle }: Deployment,
): Promise<{ from: Positions; to: Positions }> {
  source.pause();
  await fleet.role("speed-1").kill();
  await sleep(1_000);
  const from = oracle.ends;
  await source.burst(500);
  await sleep(1_000);
  return { from, to: oracle.ends };
}

async function deleteBelow(deployment: Deployment, ends: Positions): Promise<void> {
  const topic = deployment.topic(ticks.name);
  const partitions = [...ends].map(([partition, offset]) => ({ partition, offset: offset.toString() }));
  await withAdmin(deployment, async (admin) => {
    await admin.fetchTopicOffsets(topic); // the client learns the leaders of the partitions
    await admin.deleteTopicRecords({ topic, partitions });
  });
}

export const retentionArchived: Scenario = {
  name: "retention-archived",
  what:
    "Kafka deletes what the speed layer has not read, and the archive has it: the view " +
    "stops, a refresh moves the cut past it, and it continues exactly.",
  async run(world) {
    const deployment = await world.aside("archived");
    if (!(await world.recovered(deployment))) world.wrong("it did not begin");
    await deployment.refresher.pause();
    const { to } = await unseen(world, deployment);
    await deployment.refresher.run("archiveStream", "archive", ticks.name, { stream: ticks.name });
    await deleteBelow(deployment, to);
    world.fault("log deleted that the archive has", { deployment });
    await deployment.fleet.role("speed-1").start();
    deployment.source.resume();
    deployment.refresher.resume();
    if (!(await world.recovered(deployment, 90_000))) world.wrong("it does not continue from the archive");
  },
};

export const retentionLost: Scenario = {
  name: "retention-lost",
  what:
    "Kafka deletes what nobody has read: the view stops with LOG_LOST, " +
    "and no answer claims to know what came after.",
  async run(world) {
    const deployment = await world.aside("lost");
    if (!(await world.recovered(deployment))) world.wrong("it did not begin");
    await deployment.refresher.pause();
    await deployment.fleet.role("worker-1").kill();
    const { from, to } = await unseen(world, deployment);
    await deleteBelow(deployment, to);
    world.say("log deleted that nobody has read");
    deployment.source.resume();
    await deployment.fleet.start();
    deployment.refresher.resume();
    await mustStop(world, deployment, "LOG_LOST", from);
  },
};

export const topicRecreated: Scenario = {
  name: "topic-recreated",
  what:
    "The topic is deleted and made again, longer than before: its positions mean " +
    "something else, so the view stops with TOPIC_RECREATED.",
  async run(world) {
    const deployment = await world.aside("recreated");
    if (!(await world.recovered(deployment))) world.wrong("it did not begin");
    const topic = deployment.topic(ticks.name);
    await deployment.refresher.pause();
    await deployment.source.close();
    await world.recovered(deployment);
    const ends = deployment.oracle.ends;
    const before = deployment.oracle.read;
    await deployment.oracle.close();
    await deployment.fleet.role("speed-1").kill();
    await withAdmin(deployment, async (admin) => {
      await admin.deleteTopics({ topics: [topic] });
      await world.until("the topic is gone", async () => !(await admin.listTopics()).includes(topic));
    });
    await ensureTopics(deployment.brokers, [{ name: topic, partitions: ticks.partitions }]);
    world.say("topic made again");
    const seed = world.random(1_000_000);
    const source = world.keep(new Source({ brokers: deployment.brokers, topic, seed, rate: 0 }));
    source.pause();
    await source.burst(before + 2_000);
    await deployment.fleet.start();
    deployment.refresher.resume();
    await mustStop(world, deployment, "TOPIC_RECREATED", ends);
  },
};
