import { pino } from "pino";
import { Membership } from "../../store/kafka/group/membership.ts";
import type { Scenario } from "../deployment/scenario.ts";
import { ticks } from "../schemas/ticks.ts";

/** A member without a heartbeat for this long has lost its partitions. */
const BEYOND_SESSION_MS = 9_000;

export const zombieConsumer: Scenario = {
  name: "zombie-consumer",
  what:
    "A speed process sleeps beyond its session with work in its hands, and " +
    "wakes: what it still applies is refused or harmless.",
  async run({ deployment, fault, pick, sleep }) {
    const role = deployment.fleet.role(pick(["speed-1", "speed-2"]));
    await deployment.source.burst(1_000);
    fault("speed asleep beyond its session");
    await role.kill("SIGSTOP");
    await sleep(BEYOND_SESSION_MS);
    await deployment.source.burst(1_000);
    await role.kill("SIGCONT");
  },
};

export const rebalanceStorm: Scenario = {
  name: "rebalance-storm",
  what: "Members join and leave the consumer group all the time: partitions change hands in the middle of batches.",
  async run({ deployment, fault, random, sleep }) {
    const { brokers, source } = deployment;
    const topic = deployment.topic(ticks.name);
    const groupId = `tideline-speed-${topic}-r${ticks.revision}`;
    for (let round = 0; round < 4; round++) {
      fault("rebalance");
      const logger = pino({ level: "silent" });
      const ignore = () => undefined;
      const guest = new Membership({ brokers, topic, groupId, logger, onChange: ignore, onHeartbeat: ignore });
      const joining = async () => {
        try {
          await guest.join(AbortSignal.timeout(60_000));
          await sleep(random(1_500));
        } finally {
          await guest.leave();
        }
      };
      await Promise.all([source.burst(500), joining()]);
      await sleep(random(500));
    }
    const role = deployment.fleet.role("speed-2");
    fault("rebalance");
    await role.stop();
    await role.start();
  },
};

export const slowConsumer: Scenario = {
  name: "slow-consumer",
  what:
    "Speed processes get next to no time while much is produced: fetches " +
    "wait, memory stays bounded, nothing is skipped.",
  async run({ deployment, fault, sleep }) {
    const roles = deployment.fleet.of("speed");
    fault("speed slowed down");
    const slow = async () => {
      for (let round = 0; round < 15; round++) {
        await Promise.all(roles.map((role) => role.kill("SIGSTOP")));
        await sleep(400);
        await Promise.all(roles.map((role) => role.kill("SIGCONT")));
        await sleep(80);
      }
    };
    await Promise.all([deployment.source.burst(6_000), slow()]);
  },
};
