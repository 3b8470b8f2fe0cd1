/**
 * What may import what: the table of ARCHITECTURE.md, as rules. A room's row lists the other rooms that it may import. `workflows` imports
 * activities as types only: the bundle that Temporal runs knows no Node modules, so that a value import fails its test.
 */
const rooms = {
  core: [],
  schemas: ["core"],
  views: ["core", "schemas"],
  store: ["core"],
  ingest: ["core", "schemas", "views", "store"],
  "speed-layer": ["core", "schemas", "views", "store"],
  "batch-layer": ["core", "schemas", "views", "store"],
  serving: ["core", "schemas", "views", "store"],
  workflows: ["core", "activities"],
  activities: ["batch-layer", "store", "core", "schemas", "views", "workflows"],
  cli: [
    "core",
    "schemas",
    "views",
    "store",
    "ingest",
    "speed-layer",
    "batch-layer",
    "serving",
    "workflows",
    "activities",
    "stack",
  ],
  stack: ["core"],
};

const everyRoom = `^(${[...Object.keys(rooms), "test", "bench", "faults"].join("|")})/`;

const roomRules = Object.entries(rooms).map(([room, allowed]) => ({
  name: `${room}-imports`,
  comment: `${room} may import ${allowed.length === 0 ? "no other room" : allowed.join(", ")}`,
  severity: "error",
  from: { path: `^${room}/` },
  to: {
    path: everyRoom,
    pathNot: `^(${[room, ...allowed].join("|")})/`,
  },
}));

/** The clients of servers and files live in `store`, one file each; the log's group membership is the speed layer's own. */
const clientRules = [
  { client: "ioredis", rooms: "store|stack|test|bench" },
  { client: "@platformatic/kafka", rooms: "store|stack|speed-layer/membership\\.ts|test|bench" },
].map(({ client, rooms: allowed }) => ({
  name: `${client}-in-store`,
  severity: "error",
  from: { pathNot: `^(${allowed})` },
  to: { path: `node_modules/${client}/` },
}));

export default {
  forbidden: [
    ...roomRules,
    ...clientRules,
    {
      name: "core-is-pure",
      comment: "no I/O, clock or environment in core",
      severity: "error",
      from: { path: "^core/" },
      to: { dependencyTypes: ["core"], pathNot: "^(node:)?crypto$" },
    },
    {
      name: "no-cycles",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
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
