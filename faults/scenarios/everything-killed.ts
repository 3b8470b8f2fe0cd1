import type { Scenario } from "../deployment/scenario.ts";

export const everythingKilled: Scenario = {
  name: "everything-killed",
  what: "All roles and servers are killed at once and started again in any order.",
  breaks: ["kafka", "redis", "temporal"],
  recoveryLimitMs: 90_000,
  async run({ deployment, servers, fault, random, sleep }) {
    const all = [...deployment.fleet.roles, servers.kafka, servers.redis, servers.temporal];
    fault("everything killed");
    await Promise.all(all.map((one) => one.kill("SIGKILL")));
    const starts: Promise<void>[] = [];
    while (all.length > 0) {
      const [next] = all.splice(random(all.length), 1);
      if (next !== undefined) starts.push(next.start());
      await sleep(random(1_000));
    }
    await Promise.all(starts);
  },
};
