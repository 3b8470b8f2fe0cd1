/**
 * Which tier a test file belongs to. A file that is in no list needs the shared servers, and runs in the tier
 * "servers".
 *
 * - unit: needs no server. All of it takes at most 15 seconds on two cores.
 * - modules: needs no server, but takes seconds: generated data, mutants, builds of the program.
 * - servers: one module or protocol against real Kafka, Redis and Temporal.
 * - system: Tideline's own processes, as users start them.
 *
 * `npm run test:nightly` runs some of them with all their data, worlds and mutants.
 */

export const UNIT = [
  "test/access-limits.test.ts",
  "test/api-keys.test.ts",
  "test/damaged-documents.test.ts",
  "test/definitions.test.ts",
  "test/dictionary.test.ts",
  "test/duck-errors.test.ts",
  "test/fetch-size.test.ts",
  "test/given-up.test.ts",
  "test/hosts.test.ts",
  "test/kafka-client.test.ts",
  "test/left-requests.test.ts",
  "test/listeners.test.ts",
  "test/merge-overflow.test.ts",
  "test/opened.test.ts",
  "test/own-alert-journal.test.ts",
  "test/lost-reply.test.ts",
  "test/page.test.ts",
  "test/report-budget.test.ts",
  "test/run-failed.test.ts",
  "test/scratch.test.ts",
  "test/secrets.test.ts",
  "test/settlement-turn.test.ts",
  "test/settling.test.ts",
  "test/simulator-steps.test.ts",
  "test/turns.test.ts",
  "test/send/columns.test.ts",
  "test/send/decimal-comma.test.ts",
  "test/send/delimited.test.ts",
  "test/send/json.test.ts",
  "test/send/rounded.test.ts",
  "test/send/values.test.ts",
  "test/tiers.test.ts",
  "test/laws/alert-lag.test.ts",
  "test/laws/answers.test.ts",
  "test/laws/calendar.test.ts",
  "test/laws/csv.test.ts",
  "test/laws/decimals.test.ts",
  "test/laws/failures.test.ts",
  "test/laws/measures.test.ts",
  "test/laws/numbers.test.ts",
  "test/laws/old-acknowledgements.test.ts",
  "test/laws/proof-of-tables.test.ts",
  "test/laws/group-keys.test.ts",
  "test/laws/ids-of-fields.test.ts",
  "test/laws/quick-json.test.ts",
  "test/laws/joined-failure.test.ts",
  "test/laws/joined-history.test.ts",
  "test/laws/joined-rows.test.ts",
  "test/laws/spans.test.ts",
  "test/laws/stuck-lanes.test.ts",
  "test/laws/tombstone-keys.test.ts",
  "test/laws/tombstones.test.ts",
];

/** The longest first. */
export const MODULES = [
  "test/laws/avro-columns.test.ts",
  "test/laws/kept-statements.test.ts",
  "test/archive-compaction.test.ts",
  "test/laws/decode.test.ts",
  "test/laws/avro.test.ts",
  "test/laws/contracts.test.ts",
  "test/laws/scan.test.ts",
  "test/laws/top.test.ts",
  "test/laws/names.test.ts",
  "test/laws/send-files.test.ts",
  "test/laws/sessions.test.ts",
  "test/laws/windows.test.ts",
  "test/laws/wire.test.ts",
  "test/laws/record-parts.test.ts",
  "test/send/sources.test.ts",
  "test/backup/backup.test.ts",
  "test/backup/restore.test.ts",
  "test/laws/conversions.test.ts",
  "test/laws/table-of-conversions.test.ts",
  "test/laws/rules.test.ts",
  "test/laws/deliveries.test.ts",
  "test/laws/own-alerts.test.ts",
  "test/laws/delivery-routes.test.ts",
  "test/laws/single-events.test.ts",
  "test/builder-arguments.test.ts",
  "test/send-tables.test.ts",
  "test/registry.test.ts",
  "test/helper.test.ts",
  "test/background-process.test.ts",
  "test/contract-identity.test.ts",
  "test/stored-definitions.test.ts",
  "test/batch-layer/plans.test.ts",
  "test/laws/originals.test.ts",
  "test/laws/seen-filter.test.ts",
  "test/laws/value-lists.test.ts",
  "test/laws/maps.test.ts",
  "test/laws/object-maps.test.ts",
  "test/discover-together.test.ts",
  "test/discover-changes.test.ts",
  "test/real-records.test.ts",
  "test/discover.test.ts",
  "test/compiled.test.ts",
  "test/system.test.ts",
  "test/histories.test.ts",
  "test/deployment.test.ts",
  "test/prometheus-rules.test.ts",
  "test/send-wait.test.ts",
  "test/ingest/shop.test.ts",
];

/** The longest first. */
export const SYSTEM = [
  "test/restore.test.ts",
  "test/faults.test.ts",
  "test/end-to-end/other-release.test.ts",
  "test/backfill.test.ts",
  "test/cli.test.ts",
  "test/upgrade.test.ts",
  "test/documents.test.ts",
  "test/bad-input.test.ts",
  "test/end-to-end/shop.test.ts",
  "test/stuck.test.ts",
  "test/dead-letters.test.ts",
  "test/end-to-end/orders.test.ts",
  "test/end-to-end/live-reset.test.ts",
  "test/end-to-end/flights.test.ts",
  "test/end-to-end/living.test.ts",
  "test/ingest/commands.test.ts",
  "test/ingest/producer.test.ts",
  "test/ingest/replay.test.ts",
  "test/stack.test.ts",
  "test/end-to-end/room.test.ts",
  "test/end-to-end/stopped.test.ts",
  "test/end-to-end/sharing.test.ts",
  "test/topics.test.ts",
  "test/discover-command.test.ts",
  "test/end-to-end/*.test.ts",
];

/** Of the tier "servers", those that take longest, in this order; the others come after them. */
export const LONG = [
  "test/laws/plants.test.ts",
  "test/workflows.test.ts",
  "test/settle.test.ts",
  "test/http-fuzz.test.ts",
  "test/laws/protocol.test.ts",
  // Needs no server, but measuring the coverage of changed copies of the program would take a minute.
  "test/laws/proof-finds.test.ts",
  "test/report.test.ts",
  "test/proof.test.ts",
  "test/batch-layer/archive.test.ts",
  "test/log-reader.test.ts",
  "test/laws/merge.test.ts",
];

/** Whether tests run with all their data, worlds and mutants instead of a minute's worth. */
export const nightly = process.env.TIDELINE_NIGHTLY === "1";

/** `all` in `npm run test:nightly`, and `some` in `npm test`: runs of a property, requests, days. */
export const nightlyOr = (all: number, some: number): number => (nightly ? all : some);
