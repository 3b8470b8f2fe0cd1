import type { Plant } from "./plant.ts";

/** Mutants of `send`. */
export const sendingPlants: readonly Plant[] = [
  {
    name: "send-quotes-doubled",
    what: "send keeps both of two quotes that stand for one",
    file: "ingest/read/csv.ts",
    find: "return text.includes('\"') ? text.replaceAll('\"\"', '\"') : text;",
    replace: "return text;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "send-bounds-passed",
    what: "send's quick way takes a number that the contract's bounds exclude",
    file: "ingest/send/column-writers.ts",
    find: "return value >= min && value <= max && !Object.is(value, -0) ? text : null;",
    replace: "return !Object.is(value, -0) ? text : null;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "send-digits-lost",
    what: "send takes a number that a reader of JSON rounds",
    file: "ingest/send/table-values.ts",
    find: "return exact !== null && kept !== null && kept.over * exact.under === exact.over * kept.under;",
    replace: "return exact !== null && kept !== null;",
    necessary: true,
    scenarios: [],
  },
  {
    name: "send-rounds-twice",
    what: "send rounds the double of a decimal, and not its digits",
    file: "ingest/send/table-values.ts",
    find: "decimalUnits(plainText(exact), scale, round)",
    replace: "decimalUnits(String(Number(text)), scale, round)",
    necessary: true,
    scenarios: [],
  },
  {
    name: "send-position-early",
    what: "send --wait waits for the record before the last one",
    file: "ingest/send/send-events.ts",
    find: "const behind = position(offset + 1n);",
    replace: "const behind = position(offset);",
    necessary: true,
    scenarios: [],
  },
];
