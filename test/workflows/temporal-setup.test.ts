import { pino } from "pino";
import { expect, inject, test } from "vitest";
import { prepareTemporal } from "../../activities/worker/temporal-setup.ts";

test("a namespace that Temporal does not have is a clear error at once", async () => {
  const setup = {
    temporalAddress: inject("temporalAddress"),
    temporalNamespace: "no-such-namespace",
    taskQueue: "tideline",
    searchAttributes: ["TidelineView"],
    schedules: [],
    logger: pino({ level: "silent" }),
  };
  await expect(prepareTemporal(setup)).rejects.toMatchObject({
    code: "NOT_READY",
    message: expect.stringMatching(/no-such-namespace.*not found/i),
    hint: expect.stringContaining("TEMPORAL_NAMESPACE"),
  });
});
