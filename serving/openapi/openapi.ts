import { z } from "zod";
import type { Joined } from "../../core/definition/joined.ts";
import type { View } from "../../core/definition/view.ts";
import { DEFAULT_LIMIT, MAX_LIMIT, sortableColumns } from "../../core/query/query.ts";
import { formatDuration } from "../../core/time.ts";
import { Dictionary } from "../../store/definitions/dictionary.ts";
import type { AccessPolicy } from "../access/route-access.ts";
import { answerOf } from "../answer/answer-schemas.ts";
import { ROUTE_PARAMETERS, takenParameters } from "../common/route-parameters.ts";
import { Health, Readiness, ViewsBody } from "../operations/operation-schemas.ts";
import { StreamQualityBody, StreamsBody } from "../operations/stream-quality.ts";
import type { ColumnTypes } from "../views/column-types.ts";
import type { DescribedView } from "../views/served-views.ts";
import { SECURITY_SCHEMES, withSecurity } from "./openapi-access.ts";
import { alertPaths } from "./openapi-alerts.ts";
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
  inPath,
  inQuery,
  type Json,
  jsonContent,
  jsonResponse,
  problemResponses,
  SCHEMAS,
  text,
  whole,
} from "./openapi-schemas.ts";
import { documentedJoin, documentedTable, tablePaths } from "./openapi-tables.ts";

/** The server that an OpenAPI document describes. */
export interface DescribedServer {
  /** Absent: no joined tables. */
  readonly joined?: readonly Joined[];
  readonly version: string;
  readonly policy: AccessPolicy;
}

/** Returns the OpenAPI 3.1 document, with paths for every view and table, made from their definitions. */
export function openApiDocument(
  all: readonly DescribedView[],
  { joined = [], version, policy }: DescribedServer,
): Json {
  const tables = all.filter(({ definition }) => definition.view.table !== null);
  const views = all.filter((one) => !tables.includes(one));
  const ofViews = views.flatMap(({ definition: { view }, types }) => {
    const path = `/views/${view.name}`;
    const query = viewParameters(view);
    const hasDimensions = Object.keys(view.by).length > 0;
    return [
      [path, { get: viewOperation(view, types) }],
      ...(hasDimensions ? [[`${path}/keys`, { get: keysOperation(view, types, query) }]] : []),
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
        content: { ...jsonContent(answerOf(view, types)), "text/csv": { schema: CSV_SCHEMA } },
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
  const some = (names: readonly string[]): Json => ({ type: "array", items: { type: "string", enum: names } });
  const columns = measures.flatMap((measure) => sortableColumns(view, measure));
  const sortable = ["bucket", ...dimensions, ...columns].flatMap((name) => [name, `-${name}`]);
  return [
    inQuery("from", "Event time, inclusive: ISO 8601 (UTC when it names no zone) or epoch milliseconds", text, {
      examples: { time: { value: "2026-01-31T12:00:00Z" } },
    }),
    inQuery("to", "Event time, exclusive: a date is its first moment, so that day is not in the answer", text, {
      examples: { time: { value: "2026-02-01T00:00:00Z" } },
    }),
    ...(view.sessions === null ? bucketParameters(view) : []),
    inQuery("zone", "Time zone of bucket, and of days, weeks, months, quarters and years", {
      type: "string",
      default: "UTC",
      examples: ["Europe/Berlin"],
    }),
    ...(dimensions.length === 0
      ? []
      : [
          inQuery("by", "Dimensions to group by; empty for totals, all by default", some(dimensions), {
            ...list,
            allowEmptyValue: true,
          }),
        ]),
    ...dimensions.map((name) =>
      inQuery(
        `where[${name}]`,
        `Only these values of ${name}; repeat it for several. null means no ` +
          `value, and "null" with its quotes the text null`,
        { type: "array", items: { type: "string" } },
        { style: "form", explode: true },
      ),
    ),
    inQuery("measures", "Measures to answer, all by default", some(measures), list),
    inQuery("order", "Columns to sort by, - before a name for descending", some(sortable), {
      ...list,
      examples: { top: { value: [`-${measures[0] ?? "bucket"}`] } },
    }),
    inQuery("limit", "The most rows to answer", whole({ most: MAX_LIMIT, byDefault: DEFAULT_LIMIT })),
  ];
}

/** The parameters that cut time into buckets. A view of sessions has none. */
function bucketParameters({ grainMs, windowMs }: View): Json[] {
  const grain = formatDuration(grainMs);
  return [
    inQuery(
      "every",
      `Width of the buckets: a multiple of ${grain}, 1d, 1w, 1mo, 1q, 1y of the ` +
        "zone's calendar, or all for one row for the whole range",
      { type: "string", default: grain },
      { examples: { hours: { value: formatDuration(Math.max(grainMs, 3_600_000)) } } },
    ),
    inQuery("window", "How much time a row covers, up to the end of its bucket: a multiple of every", {
      type: "string",
      default: formatDuration(windowMs),
    }),
  ];
}

function listOperation(): Json {
  return {
    tags: ["views"],
    operationId: "views",
    summary: "What is measured, and where each view stands",
    responses: { 200: jsonResponse("All views", ViewsBody), ...problemResponses("400", "429") },
  };
}

function operationPaths(): Json {
  const operation = (operationId: string, summary: string, responses: Json) => ({
    get: { tags: ["operations"], operationId, summary, responses },
  });
  return {
    "/health": operation("health", "Whether the process is alive", { 200: jsonResponse("It is", Health) }),
    "/ready": operation("ready", "Whether Redis answers and every view has a version", {
      200: jsonResponse("Ready", Readiness),
      503: jsonResponse("Not ready yet", Readiness),
    }),
    "/streams": operation("streams", "Every stream, and how good its archived records are", {
      200: jsonResponse("All streams", StreamsBody),
      ...problemResponses("400", "429", "503"),
    }),
    "/streams/{name}/quality": {
      get: {
        tags: ["operations"],
        operationId: "stream-quality",
        summary: "A stream's quality over record time; spans without records are left out",
        parameters: [
          inPath("name"),
          ...ROUTE_PARAMETERS["/streams/:name/quality"].map((name) => ({
            name,
            in: "query",
            required: false,
            schema: { type: "string" },
          })),
        ],
        responses: {
          200: jsonResponse("The spans", StreamQualityBody),
          ...problemResponses("400", "404", "429", "503"),
        },
      },
    },
    "/streams/{name}/records": { get: recordsOperation() },
    "/dictionary": operation("dictionary", "What the streams, fields, views and measures are, and which reads which", {
      200: jsonResponse("The dictionary", Dictionary),
      ...problemResponses("400", "429"),
    }),
    "/proof/{view}": { get: proofOperation() },
    "/metrics": operation("metrics", "Metrics in Prometheus' text format", {
      200: { description: "Metrics", content: { "text/plain": { schema: { type: "string" } } } },
    }),
    "/openapi.json": operation("openapi", "This document", {
      200: jsonResponse("OpenAPI 3.1", z.record(z.string(), z.unknown())),
    }),
  };
}
