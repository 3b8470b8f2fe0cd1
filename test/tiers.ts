/**
 * Which tier a test file belongs to. A file that is in no list needs the shared servers, and runs in the tier "servers".
 *
 * - unit: needs no server and takes at most about two seconds.
 * - servers: one module or protocol against real Kafka, Redis and Temporal.
 * - system: Tideline's own processes, as users start them.
 *
 * `npm run test:nightly` runs some of them with all their data, worlds and mutants.
 */

export const UNIT = [
  "test/backup.test.ts",
  "test/builder-arguments.test.ts",
  "test/compiled.test.ts",
  "test/contract-identity.test.ts",
  "test/definitions.test.ts",
  "test/fetch-size.test.ts",
  "test/helper.test.ts",
  "test/hosts.test.ts",
  "test/listeners.test.ts",
  "test/lost-reply.test.ts",
  "test/page.test.ts",
  "test/registry.test.ts",
  "test/report-budget.test.ts",
  "test/scratch.test.ts",
  "test/secrets.test.ts",
  "test/send-files.test.ts",
  "test/send-tables.test.ts",
  "test/stored-definitions.test.ts",
  "test/tiers.test.ts",
  "test/laws/answers.test.ts",
  "test/laws/avro.test.ts",
  "test/laws/calendar.test.ts",
  "test/laws/contracts.test.ts",
  "test/laws/csv.test.ts",
  "test/laws/decimals.test.ts",
  "test/laws/decode.test.ts",
  "test/laws/failures.test.ts",
  "test/laws/measures.test.ts",
  "test/laws/numbers.test.ts",
  "test/laws/scan.test.ts",
  "test/laws/spans.test.ts",
  "test/laws/stuck-lanes.test.ts",
];

export const SYSTEM = [
  "test/backfill.test.ts",
  "test/bad-input.test.ts",
  "test/cli.test.ts",
  "test/dead-letters.test.ts",
  "test/documents.test.ts",
  "test/faults.test.ts",
  "test/ingest.test.ts",
  "test/restore.test.ts",
  "test/stack.test.ts",
  "test/stuck.test.ts",
  "test/upgrade.test.ts",
  "test/end-to-end/*.test.ts",
];

/** Whether tests run with all their data, worlds and mutants instead of a minute's worth. */
export const nightly = process.env.TIDELINE_NIGHTLY === "1";
