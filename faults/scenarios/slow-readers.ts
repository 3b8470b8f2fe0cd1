import type { Scenario } from "../deployment/scenario.ts";

const ROUNDS = 8;

export const readsDuringPublishAndTrim: Scenario = {
  name: "reads-during-publish-and-trim",
  what:
    "API processes stand still for moments while versions are published and " +
    "segments trimmed: an answer that began before ends exactly.",
  async run({ deployment, fault, pick, random, sleep }) {
    const roles = deployment.fleet.of("serve");
    fault("reads stand still");
    for (let round = 0; round < ROUNDS; round++) {
      const role = pick(roles as [(typeof roles)[0], ...typeof roles]);
      await role.kill("SIGSTOP");
      // Refreshes come every few seconds: the longest pauses span two publishes, after which files and segments are
      // gone.
      await sleep(pick([50, 300, 1_000, 5_000]) + random(300));
      await role.kill("SIGCONT");
      await sleep(random(400));
    }
  },
};
