import { ALERT_STATES } from "../../core/alerts/alert-states.ts";
import { SEVERITIES } from "../../core/contract/alerts.ts";
import { takenParameters } from "../common/route-parameters.ts";
import { type Json, jsonResponse, problemResponses } from "./openapi-schemas.ts";

/** What the OpenAPI document says of alerts. */

const text = { type: "string" } as const;
const time = { type: "string", format: "date-time" } as const;
const orNull = (schema: Json): Json => ({ anyOf: [schema, { type: "null" }] });

function object(properties: Json, required = Object.keys(properties)): Json {
  return { type: "object", properties, required };
}

const alert = object({
  id: { ...text, description: "follows from the rule, its key and the interval: the same records give the same id" },
  rule: text,
  severity: orNull({ type: "string", enum: SEVERITIES }),
  state: { type: "string", enum: ALERT_STATES },
  key: orNull(text),
  says: orNull(text),
  at: { ...time, description: "event time of the record that opened it" },
  openedAt: { ...time, description: "when the alert was written" },
  quiet: orNull(object({ from: time, to: time })),
  source: orNull(object({ stream: text, partition: { type: "integer" }, offset: { type: "integer" }, eventId: text })),
  condition: orNull(text),
  acknowledged: orNull(object({ at: time, by: orNull(text) })),
  clearedAt: orNull({ ...time, description: "when the problem of one of Tideline's own alerts was over" }),
  silencedUntil: orNull(time),
});

/** Tideline's own alerts whose problem lasts, beside `problems`. */
export const OWN_ALERTS: Json = {
  type: "array",
  items: alert,
  description: "Tideline's own alerts that are not over, beside what `problems` names; absent when there are none",
};

const inQuery = (name: string, description: string, schema: Json): Json => ({
  name,
  in: "query",
  required: false,
  description,
  schema,
});

const RULE = inQuery("rule", "Only this rule's", text);
const SEVERITY = inQuery("severity", "Only these", { type: "string", enum: SEVERITIES });

/** How many alerts an answer has. */
export const ALERT_LIMIT = { most: 10_000, byDefault: 100 } as const;

/** The paths of alerts. */
export function alertPaths(): Json {
  return {
    "/alerts": {
      get: {
        tags: ["alerts"],
        operationId: "alerts",
        summary: "What the rules have found and what is wrong with the installation, the newest event first",
        description:
          "The newest 20,000 alerts are remembered; a view over the stream `alerts` counts all. Tideline's own " +
          "alerts have the rule `tideline`; asked for by that rule they are answered also while Kafka is away.",
        parameters: takenParameters("/alerts", [
          RULE,
          inQuery("key", "Only those about this", text),
          SEVERITY,
          inQuery("state", "Only these", { type: "string", enum: ALERT_STATES }),
          inQuery("from", "Event time, inclusive", text),
          inQuery("to", "Event time, exclusive", text),
          inQuery("limit", "The most alerts to answer", {
            type: "integer",
            minimum: 1,
            maximum: ALERT_LIMIT.most,
            default: ALERT_LIMIT.byDefault,
          }),
        ]),
        responses: {
          200: jsonResponse(
            "Alerts, and how many were found",
            object({ alerts: { type: "array", items: alert }, found: { type: "integer" } }),
          ),
          ...problemResponses("400", "429", "503"),
        },
      },
    },
    "/alerts/live": {
      get: {
        tags: ["alerts"],
        operationId: "alerts-live",
        summary: "Alerts as they come: server-sent events",
        description:
          "`alert` has one alert as data, when it was opened (then the event has an id: the alert's, and " +
          "how far each partition was sent), acknowledged or cleared. Tideline's own alerts come from its " +
          "journal, without an id; with `rule=tideline` also while Kafka is away. A client that comes back " +
          "with Last-Event-ID is sent what it has missed; an own alert may come again then. A comment " +
          "every 15 seconds keeps the connection.",
        parameters: [
          ...takenParameters("/alerts/live", [RULE, SEVERITY]),
          {
            name: "Last-Event-ID",
            in: "header",
            required: false,
            description: "The id of the last event that the client has; an EventSource sends it by itself",
            schema: text,
          },
        ],
        responses: {
          200: { description: "The stream", content: { "text/event-stream": { schema: text } } },
          ...problemResponses("400", "429", "503"),
        },
      },
    },
  };
}
