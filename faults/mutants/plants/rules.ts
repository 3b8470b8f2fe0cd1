// biome-ignore-all lint/suspicious/noTemplateCurlyInString: texts of the program

import type { Plant } from "./plant.ts";

/** Rules, their alerts and positions, and deliveries. */
export const rulePlants: readonly Plant[] = [
  {
    name: "alert-position-apart",
    what: "alerts are written without the position behind them",
    file: "rules/partition-writer.ts",
    find: "await this.#producer.commit([...records, position]);",
    replace: "await this.#producer.commit(records.length > 0 ? records : [position]);",
    necessary: true,
    scenarios: [],
  },
  {
    name: "alert-unaligned",
    what: "the quiet interval of an alert begins with its record, so that its id depends on what was read before",
    file: "core/alerts/alert.ts",
    find: "bucketOf(atMs, rule.quietMs)",
    replace: "atMs",
    necessary: true,
    scenarios: [],
  },
  {
    name: "alert-of-duplicate",
    what: "a duplicate opens an alert",
    file: "core/alerts/rule-sql.ts",
    find: "FROM ${events} WHERE ${VALID}",
    replace: "FROM ${events} WHERE _reject IS NULL",
    necessary: true,
    scenarios: [],
  },
  {
    name: "alert-remembered-early",
    what: "an alert counts as written before its transaction is committed",
    file: "rules/lane.ts",
    find: "    await Promise.all(batch.map((one) => this.#write(one, opened, [...tracks.values()])));",
    replace:
      "    memory.add(opened.map(({ id }) => id));\n    await Promise.all(batch.map((one) => this.#write(one, opened, [...tracks.values()])));",
    necessary: true,
    scenarios: [],
  },
  {
    name: "unknown-rule-forgotten",
    what: "a process removes the positions of rules that it does not know",
    file: "rules/partition-writer.ts",
    find: "const all = [...this.#held].map(",
    replace: "const all = [...this.#held].filter(([rule]) => moved.has(rule)).map(",
    necessary: true,
    scenarios: [],
  },
  {
    name: "rule-writers-unfenced",
    what: "each writer of a partition has a transactional id of its own, so that an older one goes on writing",
    file: "rules/partition-writer.ts",
    find: "const id = `tideline-rules-${name}-${partition}`;",
    replace: "const id = `tideline-rules-${name}-${partition}-${Math.random()}`;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "rule-skips-added-partition",
    what: "a rule begins at the end of a partition that was added after it had begun",
    file: "core/alerts/rule-positions.ts",
    find: "partition >= began || from",
    replace: "from",
    necessary: true,
    scenarios: [],
  },
  {
    name: "delivery-of-duplicate",
    what: "an alert that was written twice is handed over twice",
    file: "deliveries/lane.ts",
    find: "const event = valid.has(offset) ? alertEventFrom(records.value(index)) : null;",
    replace: "const event = valid.size > 0 ? alertEventFrom(records.value(index)) : null;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "undelivered-lost",
    what: "an alert that could not be handed over is passed by without a dead letter",
    file: "deliveries/lane.ts",
    find: ".commit([...letters, record]);",
    replace: ".commit(letters.length > 0 ? [record] : [record]);",
    necessary: true,
    scenarios: [],
  },
];
