import type { Joined } from "../../core/definition/joined.ts";
import type { View } from "../../core/definition/view.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { partialColumn } from "../../core/query/partial.ts";
import { DEFAULT_LIMIT, MAX_LIMIT, sortableColumns } from "../../core/query/query.ts";
import { formatDuration } from "../../core/time.ts";
import type { AccessPolicy } from "../access/route-access.ts";
import { ROUTE_PARAMETERS, takenParameters } from "../common/route-parameters.ts";
import type { ColumnTypes } from "../views/column-types.ts";
import type { DescribedView } from "../views/served-views.ts";
import { SECURITY_SCHEMES, withSecurity } from "./openapi-access.ts";
import { alertPaths, OWN_ALERTS } from "./openapi-alerts.ts";
import {
  CSV_SCHEMA,
  consistencyParameters,
  FORMAT_PARAMETER,
  keysOperation,
  liveOperation,
  NUMBERS_PARAMETER,
} from "./openapi-live.ts";
import { withPosted } from "./openapi-posted.ts";
import { proofOperation } from "./openapi-proof.ts";
import { recordsOperation } from "./openapi-records.ts";
import {
  ANSWER_HEADERS,
  answerSchema,
  DICTIONARY,
  type Json,
  jsonResponse,
  PROBLEMS,
  problemResponses,
  SCHEMAS,
  STREAM_QUALITY,
  STREAMS,
} from "./openapi-schemas.ts";
import { documentedJoin, documentedTable, tablePaths } from "./openapi-tables.ts";

/** The server that an OpenAPI document is of. */
export interface DescribedServer {
  /** None when absent. */
  readonly joined?: readonly Joined[];
  readonly version: string;
  readonly policy: AccessPolicy;
}

/** The OpenAPI 3.1 document: paths for every view and table, made of its definition. */
export function openApiDocument(
  all: readonly DescribedView[],
  { joined = [], version, policy }: DescribedServer,
): Json {
  const tables = all.filter(({ definition }) => definition.view.table !== null);
  const views = all.filter((one) => !tables.includes(one));
  const ofViews = views.flatMap(({ definition: { view }, types }) => {
    const path = `/views/${view.name}`;
    const query = viewParameters(view);
    const keyTypes = [...new Set(Object.keys(view.by).flatMap((name) => dimensionSchema(view, types, name)))];
    return [
      [path, { get: viewOperation(view, types) }],
      ...(keyTypes.length === 0 ? [] : [[`${path}/keys`, { get: keysOperation(view, query, keyTypes) }]]),
      [`${path}/live`, { get: liveOperation(view, query) }],
    ];
  });
  const paths = {
    "/views": { get: listOperation() },
    ...Object.fromEntries(ofViews),
    ...tablePaths([...tables.map(documentedTable), ...joined.map(documentedJoin)]),
    ...alertPaths(),
    ...operationPaths(),
  };
  return {
    openapi: "3.1.0",
    info: {
      title: "Tideline",
      version,
      description:
        "Numbers that are both fresh and exact. Every answer says at which position " +
        "of the log it stands, and how exact each field is.",
    },
    tags: [{ name: "views" }, { name: "tables" }, { name: "alerts" }, { name: "operations" }],
    paths: withPosted(withSecurity(paths, policy)),
    components: { schemas: SCHEMAS, securitySchemes: SECURITY_SCHEMES },
  };
}

function viewOperation(view: View, types: ColumnTypes): Json {
  const grain = formatDuration(view.grainMs);
  const { name } = view;
  return {
    tags: ["views"],
    operationId: `view-${name}`,
    summary: `${name}, from the stream ${view.stream.name}`,
    description: `Grain ${grain}. Without from and to: the last 24 hours of event time that the view holds.`,
    parameters: takenParameters("/views/:name", [
      ...[...viewParameters(view), ...consistencyParameters(view)],
      ...[FORMAT_PARAMETER, NUMBERS_PARAMETER],
    ]),
    responses: {
      200: {
        description: "Rows, and where they stand",
        headers: ANSWER_HEADERS,
        content: {
          "application/json": { schema: answerSchema(name, rowSchema(view, types)) },
          "text/csv": { schema: CSV_SCHEMA },
        },
      },
      304: { description: "Nothing has moved since the answer whose ETag is in If-None-Match" },
      ...problemResponses("400", "410", "429", "503", "504"),
    },
  };
}

function viewParameters(view: View): Json[] {
  const dimensions = Object.keys(view.by);
  const measures = Object.keys(view.measures);
  const list = { style: "form", explode: false };
  const time = { type: "string" };
  const some = (names: readonly string[]): Json => ({ type: "array", items: { type: "string", enum: names } });
  const columns = measures.flatMap((measure) => sortableColumns(view, measure));
  const sortable = ["bucket", ...dimensions, ...columns].flatMap((name) => [name, `-${name}`]);
  return [
    query("from", "Event time, inclusive: ISO 8601 (UTC when it names no zone) or epoch milliseconds", time, {
      examples: { time: { value: "2026-01-31T12:00:00Z" } },
    }),
    query("to", "Event time, exclusive: a date is its first moment, so that day is not in the answer", time, {
      examples: { time: { value: "2026-02-01T00:00:00Z" } },
    }),
    ...(view.sessions === null ? bucketParameters(view) : []),
    query("zone", "Time zone of bucket, and of days, weeks, months, quarters and years", {
      type: "string",
      default: "UTC",
      examples: ["Europe/Berlin"],
    }),
    ...(dimensions.length === 0
      ? []
      : [
          query("by", "Dimensions to group by; empty for totals, all by default", some(dimensions), {
            ...list,
            allowEmptyValue: true,
          }),
        ]),
    ...dimensions.map((name) =>
      query(
        `where[${name}]`,
        `Only these values of ${name}; repeat it for several. null means no ` +
          `value, and "null" with its quotes the text null`,
        { type: "array", items: { type: "string" } },
        { style: "form", explode: true },
      ),
    ),
    query("measures", "Measures to answer, all by default", some(measures), list),
    query("order", "Columns to sort by, - before a name for descending", some(sortable), {
      ...list,
      examples: { top: { value: [`-${measures[0] ?? "bucket"}`] } },
    }),
    query("limit", "The most rows to answer", {
      type: "integer",
      minimum: 1,
      maximum: MAX_LIMIT,
      default: DEFAULT_LIMIT,
    }),
  ];
}

const query = (name: string, description: string, schema: Json, extra: Json = {}): Json => ({
  name,
  in: "query",
  required: false,
  description,
  schema,
  ...extra,
});

/** How rows are cut out of time; rows of sessions are not. */
function bucketParameters({ grainMs, windowMs }: View): Json[] {
  const grain = formatDuration(grainMs);
  return [
    query(
      "every",
      `Width of the buckets: a multiple of ${grain}, 1d, 1w, 1mo, 1q, 1y of the ` +
        "zone's calendar, or all for one row for the whole range",
      { type: "string", default: grain },
      { examples: { hours: { value: formatDuration(Math.max(grainMs, 3_600_000)) } } },
    ),
    query("window", "How much time a row covers, up to the end of its bucket: a multiple of every", {
      type: "string",
      default: formatDuration(windowMs),
    }),
  ];
}

/** The types of a dimension's values in JSON. Exact numbers are text with numbers=text. */
function dimensionSchema(view: View, types: ColumnTypes, name: string): readonly string[] {
  if (dimensionScales(view).has(name)) return ["number", "string", "null"];
  const type = types.get(name) ?? "text";
  return type === "integer" ? ["integer", "string", "null"] : [type === "boolean" ? "boolean" : "string", "null"];
}

function rowSchema(view: View, types: ColumnTypes): Json {
  const dimensions = Object.keys(view.by).map((name) => [name, { type: dimensionSchema(view, types, name) }]);
  const measures = Object.entries(view.measures).map(([name, measure]) => [name, measureSchema(measure)]);
  const time = { type: "string", format: "date-time" };
  const ofSessions = view.sessions === null ? {} : { ended: time, duration_ms: { type: ["integer", "string"] } };
  const partial = { const: true, description: "from and to leave out a part of the bucket's time; else absent" };
  const ofBuckets = view.sessions === null ? { [partialColumn(view)]: partial } : {};
  return {
    type: "object",
    properties: { bucket: time, ...ofSessions, ...Object.fromEntries([...dimensions, ...measures]), ...ofBuckets },
    required: ["bucket"],
  };
}

function measureSchema({ kind, unit, accuracy, parts, values, scale }: Measure): Json {
  const value = { type: values === "double" ? ["number", "null"] : ["number", "string", "boolean", "null"] };
  const written = {
    integer: " Integers, text with numbers=text.",
    decimal: ` Exact decimals of ${scale} places, text with numbers=text.`,
    double: "",
    picked: "",
  }[values];
  const description = `${kind}, ${unit === "" ? "no unit" : unit}, ${accuracy.note}.${written}`;
  if (parts === undefined) return { ...value, description };
  if (parts === "list") return { type: "array", items: { type: "object", additionalProperties: value }, description };
  return { type: "object", properties: Object.fromEntries(parts.map((part) => [part, value])), description };
}

function listOperation(): Json {
  const views = {
    type: "object",
    properties: {
      views: { type: "array", items: { $ref: "#/components/schemas/ViewSummary" } },
      problems: PROBLEMS,
      alerts: OWN_ALERTS,
    },
    required: ["views"],
  };
  return {
    tags: ["views"],
    operationId: "views",
    summary: "What is measured, and where each view stands",
    responses: { 200: jsonResponse("All views", views), ...problemResponses("400", "429") },
  };
}

function operationPaths(): Json {
  const operation = (operationId: string, summary: string, responses: Json) => ({
    get: { tags: ["operations"], operationId, summary, responses },
  });
  const readiness = { $ref: "#/components/schemas/Readiness" };
  return {
    "/health": operation("health", "Whether the process is alive", {
      200: jsonResponse("It is", {
        type: "object",
        properties: { alive: { const: true }, problems: PROBLEMS, alerts: OWN_ALERTS },
        required: ["alive"],
      }),
    }),
    "/ready": operation("ready", "Whether Redis answers and every view has a version", {
      200: jsonResponse("Ready", readiness),
      503: jsonResponse("Not ready yet", readiness),
    }),
    "/streams": operation("streams", "Every stream, and how good its archived records are", {
      200: jsonResponse("All streams", STREAMS),
      ...problemResponses("400", "429", "503"),
    }),
    "/streams/{name}/quality": {
      get: {
        tags: ["operations"],
        operationId: "stream-quality",
        summary: "A stream's quality over record time; spans without records are left out",
        parameters: [
          { name: "name", in: "path", required: true, schema: { type: "string" } },
          ...ROUTE_PARAMETERS["/streams/:name/quality"].map((name) => ({
            name,
            in: "query",
            required: false,
            schema: { type: "string" },
          })),
        ],
        responses: { 200: jsonResponse("The spans", STREAM_QUALITY), ...problemResponses("400", "404", "429", "503") },
      },
    },
    "/streams/{name}/records": { get: recordsOperation() },
    "/dictionary": operation("dictionary", "What the streams, fields, views and measures are, and which reads which", {
      200: jsonResponse("The dictionary", DICTIONARY),
      ...problemResponses("400", "429"),
    }),
    "/proof/{view}": { get: proofOperation() },
    "/metrics": operation("metrics", "Metrics in Prometheus' text format", {
      200: { description: "Metrics", content: { "text/plain": { schema: { type: "string" } } } },
    }),
    "/openapi.json": operation("openapi", "This document", { 200: jsonResponse("OpenAPI 3.1", { type: "object" }) }),
  };
}
