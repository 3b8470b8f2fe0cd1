import type { Scenario } from "../deployment/scenario.ts";
import { applyMarker } from "./apply-marker.ts";

const LOST = 6;

export const applyReplyLost: Scenario = {
  name: "apply-reply-lost",
  what: "Redis applies, and the connection breaks before its answer arrives: the resend finds that it was done.",
  async run({ deployment, program, fault, random, sleep }) {
    const marker = await applyMarker(program);
    for (let lost = 0; lost < LOST; lost++) {
      const cut = await deployment.proxy.catch(marker, "after");
      fault("reply of apply lost");
      cut();
      await sleep(random(700));
    }
  },
};
