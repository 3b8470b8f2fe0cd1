import { Kafka, logLevel } from "kafkajs";
import type { Deployment } from "../deployment/deployment.ts";
import type { Scenario } from "../deployment/scenario.ts";
import { ticks } from "../schemas/ticks.ts";

export const brokerKillLoop: Scenario = {
  name: "broker-kill-loop",
  what: "Kafka is killed again and again: everything waits for it, and nothing is skipped.",
  breaks: ["kafka"],
  recoveryLimitMs: 60_000,
  async run({ servers, fault, random, sleep }) {
    for (let round = 0; round < 2; round++) {
      fault("broker killed");
      await servers.kafka.kill("SIGKILL");
      await servers.kafka.start();
      await sleep(random(3_000));
    }
  },
};

export const transactions: Scenario = {
  name: "transactions",
  what:
    "Transactions are committed, aborted and left open, and markers end the log: only " +
    "what is committed counts, and nothing waits for a marker.",
  async run({ deployment, fault, random, recovered, sleep, wrong }) {
    const { source } = deployment;
    source.pause();
    for (const end of ["abort", "commit", "abort"] as const) {
      fault(`transaction: ${end} at the log's end`);
      await source.transaction(30 + random(60), end);
      await sleep(random(300));
    }
    if (!(await recovered())) wrong("a log that ends with markers is not read to its end");
    fault("transaction left open");
    source.resume();
    const open = await source.openTransaction(50);
    await sleep(2_500);
    await (random(2) === 0 ? open.commit() : open.abort());
  },
};

/** Most partitions that the stream is given in one run. */
const MOST_PARTITIONS = 6;

export const partitionsAdded: Scenario = {
  name: "partitions-added",
  what: "The topic gets one more partition: it is read from its beginning, archived and answered like the others.",
  async run({ deployment, fault, say }) {
    const topic = deployment.topic(ticks.name);
    const partitions = deployment.oracle.ends.size;
    if (partitions >= MOST_PARTITIONS) {
      say(`there are ${partitions} already`);
      return;
    }
    fault("partition added");
    await withAdmin(deployment, (admin) =>
      admin.createPartitions({ topicPartitions: [{ topic, count: partitions + 1 }] }),
    );
    await deployment.source.burst(500);
  },
};

type Admin = ReturnType<Kafka["admin"]>;

export async function withAdmin<T>({ brokers }: Deployment, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Kafka({ clientId: "faults", brokers: brokers.split(","), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}
