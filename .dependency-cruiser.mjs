import { readdirSync } from "node:fs";

/**
 * What may import what: the tables of ARCHITECTURE.md and docs/internals/rooms.md, as rules. A room's row lists the
 * other rooms that it may import. `workflows` imports activities as types only: the bundle that Temporal runs has no
 * Node modules, so a value import fails its test.
 */
const rooms = {
  core: [],
  schemas: ["core"],
  store: ["core"],
  discover: ["core"],
  ingest: ["core", "store"],
  "speed-layer": ["core", "store"],
  rules: ["core", "store"],
  deliveries: ["core", "store"],
  monitor: ["core", "store", "deliveries"],
  "batch-layer": ["core", "store"],
  serving: ["core", "store"],
  workflows: ["core", "activities"],
  activities: ["batch-layer", "store", "core", "workflows"],
  cli: [
    "core",
    "store",
    "discover",
    "ingest",
    "speed-layer",
    "rules",
    "deliveries",
    "monitor",
    "batch-layer",
    "serving",
    "workflows",
    "activities",
    "stack",
  ],
  stack: ["core"],
  systems: ["core", "schemas", "store", "batch-layer", "cli"],
  bench: ["core", "schemas", "systems", "store", "ingest", "batch-layer", "workflows", "cli", "stack"],
  faults: ["core", "store", "ingest", "speed-layer", "workflows", "cli", "stack"],
};

/** The folders of `serving` that its routes join. */
const servingParts = [
  "common",
  "access",
  "alerts",
  "read/live",
  "read",
  "operations",
  "records",
  "views",
  "openapi",
  "answer",
  "proof",
  "request",
  "tables",
];

/** The folders that a system may have: definitions and simulators import its contracts, `system.ts` simulators. */
const usualFolders = Object.fromEntries(
  readdirSync("systems", { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name !== "shop")
    .flatMap(({ name }) => [
      [`${name}/schemas`, []],
      ...["views", "tables", "rules", "deliveries", "simulators"].map((part) => [
        `${name}/${part}`,
        [`${name}/schemas`],
      ]),
      [name, [`${name}/simulators`]],
    ]),
);

/**
 * Inside a room: each folder with the folders of its room that its files may import. "." is the room's own files. A
 * folder below another one is a folder of its own. Every folder with source files has a row, and no folder imports one
 * that comes after it.
 */
const folders = {
  core: {
    log: [],
    ".": ["log"],
    access: [],
    "contract/record": [],
    contract: [".", "contract/record"],
    codec: [],
    "codec/text": ["contract"],
    "codec/json": [".", "contract/record", "contract", "codec/text"],
    "codec/decode": ["contract/record", "contract", "codec/text", "codec/json"],
    "codec/avro": [".", "contract", "codec", "codec/text", "codec/decode"],
    numbers: [],
    measures: ["contract", "numbers"],
    "measures/kinds": ["contract", "numbers", "measures"],
    definition: [".", "contract/record", "contract", "measures", "measures/kinds"],
    state: ["log", ".", "contract", "numbers", "measures", "definition"],
    query: ["contract", "log", ".", "measures", "definition", "state"],
    "query/tables": [".", "contract", "measures", "definition", "state", "query"],
    proof: ["log", ".", "contract", "numbers", "measures", "definition", "state", "query"],
    alerts: ["log", ".", "contract", "definition", "state"],
  },
  store: {
    ".": [],
    files: [],
    "api-keys": ["files"],
    duckdb: ["files"],
    "kafka/client": [],
    "kafka/cluster": ["kafka/client"],
    "kafka/produce": ["kafka/client", "kafka/cluster"],
    "kafka/read": ["kafka/client", "kafka/cluster"],
    "kafka/group": ["kafka/client", "kafka/cluster"],
    redis: ["kafka/read"],
    archive: ["files", "duckdb", "kafka/cluster", "kafka/read"],
    backup: ["files", "archive"],
    registry: ["files"],
    decode: ["files", "duckdb", "kafka/cluster", "kafka/read", "archive", "registry"],
    "dead-letters": ["kafka/cluster", "kafka/produce", "kafka/read", "decode"],
    definitions: ["files", "duckdb", "decode"],
    records: [".", "duckdb", "kafka/cluster", "kafka/read", "registry", "decode", "definitions"],
    alerts: ["files", "duckdb", "kafka/cluster", "kafka/produce", "kafka/read", "decode", "definitions"],
    check: ["duckdb", "kafka/cluster", "kafka/read", "decode", "definitions", "records"],
  },
  "speed-layer": { states: [], ".": ["states"] },
  rules: { ".": [] },
  deliveries: { ".": [] },
  monitor: { ".": [] },
  discover: {
    sample: [],
    text: [],
    fields: ["sample"],
    roles: ["sample", "fields"],
    view: ["sample", "text", "fields"],
    ".": ["sample", "text", "fields", "roles", "view"],
  },
  ingest: {
    read: [],
    send: ["read"],
    simulate: [],
  },
  "batch-layer": {
    ".": [],
    archive: ["."],
    versions: ["."],
    refresh: [".", "archive", "versions"],
    settlement: [".", "archive", "versions", "refresh"],
    recompute: [".", "archive", "versions", "refresh"],
    report: [".", "archive"],
  },
  serving: {
    common: [],
    access: ["common"],
    page: [],
    "read/cells": [],
    "read/batch": ["common", "read/cells"],
    "read/live": ["common", "read/cells"],
    read: ["common", "read/cells", "read/batch", "read/live"],
    records: ["common"],
    views: ["common", "read/cells", "read/batch"],
    alerts: ["common"],
    answer: ["common", "read/live", "read", "views"],
    operations: ["common", "read/batch", "read/live", "alerts", "answer"],
    proof: ["common", "read/live", "read", "answer"],
    request: ["common", "access", "alerts", "read/live", "read", "operations", "records", "views", "answer", "proof"],
    tables: ["common", "read/live", "read", "views", "answer", "proof", "request"],
    openapi: ["common", "access", "alerts", "records", "views", "answer", "operations", "tables"],
    routes: servingParts,
    ".": [...servingParts.filter((name) => name !== "tables"), "read/batch", "routes"],
  },
  workflows: { shared: [], ".": ["shared"] },
  activities: { ".": [], worker: ["."] },
  cli: {
    setup: [],
    terminal: [],
    alerts: ["setup", "terminal"],
    "dead-letters": ["setup", "terminal"],
    operations: ["setup", "terminal"],
    query: ["setup", "terminal"],
    runs: ["setup", "terminal"],
    send: ["setup", "terminal", "query"],
    tail: ["setup", "terminal"],
    discover: ["setup", "terminal"],
    check: ["setup", "terminal"],
    dictionary: ["setup", "terminal"],
    keys: ["setup", "terminal"],
    status: ["setup", "terminal", "operations"],
    doctor: ["setup", "terminal", "operations", "status"],
    demo: ["setup"],
    commands: [
      ...[
        "setup",
        "terminal",
        "alerts",
        "dead-letters",
        "operations",
        "query",
        "runs",
        "send",
        "tail",
        "check",
        "dictionary",
        "keys",
        "discover",
        "status",
        "doctor",
        "demo",
      ],
    ],
    ".": ["setup", "commands", "terminal"],
  },
  stack: {
    process: [],
    programs: ["process"],
    servers: ["process", "programs"],
    ".": ["process", "servers"],
  },
  systems: {
    "shop/views": [],
    "shop/simulator": [],
    "shop/orders": ["shop/simulator"],
    "shop/flights": [],
    "shop/report": [],
    "shop/commands": ["shop/simulator", "shop/orders", "shop/flights"],
    shop: ["shop/commands", "shop/report"],
    ...usualFolders,
    orders: ["shop/commands"],
  },
  bench: {
    definitions: [],
    "definitions/schemas": [],
    "definitions/views": ["definitions", "definitions/schemas"],
    "definitions/found/schemas": [],
    "definitions/found/views": ["definitions/found/schemas"],
    "definitions/nested/schemas": [],
    "definitions/nested/views": ["definitions", "definitions/nested/schemas"],
    "definitions/partitions/schemas": [],
    "definitions/partitions/views": ["definitions/partitions/schemas"],
    setup: [],
    load: ["setup"],
    measurements: [
      "definitions/schemas",
      "definitions/views",
      "definitions/found/schemas",
      "definitions/found/views",
      "definitions/nested/schemas",
      "definitions/nested/views",
      "definitions/partitions/schemas",
      "definitions/partitions/views",
      "setup",
      "load",
    ],
    ".": ["setup", "measurements"],
  },
  faults: {
    schemas: [],
    views: ["schemas"],
    model: [],
    "mutants/protocol": [],
    mutants: ["mutants/protocol"],
    traffic: ["schemas", "model"],
    "deployment/preload": [],
    deployment: ["schemas", "model", "traffic"],
    scenarios: ["schemas", "model", "traffic", "deployment"],
    ".": ["model", "mutants/protocol", "mutants", "traffic", "deployment", "scenarios"],
  },
};

const everyRoom = `^(${[...Object.keys(rooms), "test"].join("|")})/`;

/**
 * Fixtures of tests that the fault harness uses, too. Tests import the harness and its mutants; the harness imports
 * nothing else of `test`, and these files nothing of either.
 */
const TEST_TOOLS = "^test/fixtures/(events/flip-bit|events/odd-keys|oracles/oracle|servers/patiently)\\.ts$";

/** What a folder of tests may import of `test`: itself, fixtures, the files at the root of `test`, and its corpus. */
const testRules = [
  { from: "fixtures/events", to: ["fixtures/events"] },
  { from: "fixtures/servers", to: ["fixtures/events", "fixtures/servers"] },
  { from: "fixtures/oracles", to: ["fixtures/events", "fixtures/servers", "fixtures/oracles"] },
  { from: "end-to-end", to: ["bad-input", "end-to-end", "fixtures/[^/]+", "releases"] },
  { from: "(?!fixtures|end-to-end)([^/]+)", to: ["$1", "fixtures/[^/]+"] },
].map(({ from, to }) => ({
  name: `test/${from}-imports`,
  comment: "tests import fixtures and files of their own folder",
  severity: "error",
  from: { path: `^test/${from}/` },
  to: { path: "^test/", pathNot: ["^test/[^/]+$", ...to.map((folder) => `^test/${folder}/`)] },
}));

const roomRules = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports`,
  comment: `${room} may import ${allowed.length === 0 ? "no other room" : allowed.join(", ")}`,
  severity: "error",
  from: { path: `^${room}/` },
  to: {
    path: everyRoom,
    pathNot: [`^(${[room, ...allowed].join("|")})/`, ...(room === "faults" ? [TEST_TOOLS] : [])],
  },
}));

/** The files of one folder, without those below it. */
const filesOf = (room, folder) => `^${room}/${folder === "." ? "" : `${folder}/`}[^/]+$`;

const folderRules = Object.entries(folders).flatMap(([room, rows]) => [
  ...Object.entries(rows).map(([folder, allowed]) => ({
    name: `${room}/${folder}-imports`,
    comment: `${room}/${folder} may import ${allowed.length === 0 ? `nothing else of ${room}` : allowed.join(", ")}`,
    severity: "error",
    from: { path: filesOf(room, folder) },
    to: { path: `^${room}/`, pathNot: [folder, ...allowed].map((name) => filesOf(room, name)) },
  })),
  {
    name: `${room}-has-a-row-for-every-folder`,
    severity: "error",
    from: { path: `^${room}/`, pathNot: Object.keys(rows).map((folder) => filesOf(room, folder)) },
    to: {},
  },
]);

for (const [room, rows] of Object.entries(folders)) {
  const names = Object.keys(rows);
  for (const [at, [folder, allowed]] of Object.entries(rows).entries())
    for (const other of allowed)
      if (!names.slice(0, at).includes(other))
        throw new Error(`${room}/${folder} imports ${other}, which comes after it`);
}

/** The clients of servers live in a folder of `store` each. */
const clientRules = [
  { client: "ioredis", folders: "store/redis|stack|test|bench|faults" },
  {
    client: "@platformatic/kafka",
    folders: "store/kafka/client|stack|test|bench",
  },
].map(({ client, folders: allowed }) => ({
  name: `${client}-in-store`,
  severity: "error",
  from: { pathNot: `^(${allowed})` },
  to: { path: `node_modules/${client}/`, dependencyTypesNot: ["type-only"] },
}));

export default {
  forbidden: [
    ...roomRules,
    ...folderRules,
    ...clientRules,
    ...testRules,
    {
      name: "core-is-pure",
      comment: "no I/O, clock or environment in core",
      severity: "error",
      from: { path: "^core/" },
      to: { dependencyTypes: ["core"], pathNot: "^(node:)?crypto$" },
    },
    {
      name: "systems-and-faults-use-the-settings-and-terminal-of-cli",
      severity: "error",
      from: { path: "^(systems|faults)/" },
      to: { path: "^cli/", pathNot: "^cli/(setup|terminal)/" },
    },
    {
      name: "http-statuses-at-the-edge",
      comment: "what answers throws errors with codes; routes and server make HTTP of them",
      severity: "error",
      from: { path: "^serving/(access|alerts|answer|operations|proof|read|records|request|tables|views)/" },
      to: { path: "^serving/common/problem\\.ts$" },
    },
    {
      name: "bench-is-imported-by-none",
      severity: "error",
      from: { pathNot: "^bench/" },
      to: { path: "^bench/" },
    },
    {
      name: "tools-of-test-import-nothing-of-it",
      severity: "error",
      from: { path: TEST_TOOLS },
      to: { path: "^(test|faults|bench)/" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    {
      name: "resolvable",
      comment: "what definitions import as tideline is found by cli/own-modules.js",
      severity: "error",
      from: {},
      to: { couldNotResolve: true, pathNot: ["^tideline$", "^tideline/schemas/"] },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(\\.tideline|node_modules/.*/node_modules)" },
    parser: "swc",
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "require", "node", "default"],
      extensions: [".ts", ".js", ".mjs", ".json"],
    },
  },
};
