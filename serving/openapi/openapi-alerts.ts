import { SEVERITIES } from "../../core/contract/alerts.ts";
import { ALERT_STATES } from "../../core/definition/shown-alert.ts";
import { ALERT_LIMIT, AlertsBody } from "../alerts/alert-schemas.ts";
import { takenParameters } from "../common/route-parameters.ts";
import {
  EVENT_STREAM,
  inQuery,
  type Json,
  jsonResponse,
  LAST_EVENT_ID,
  problemResponses,
  whole,
} from "./openapi-schemas.ts";

const RULE = inQuery("rule", "Only this rule's");
const SEVERITY = inQuery("severity", "Only these", { type: "string", enum: SEVERITIES });

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
          inQuery("key", "Only those about this"),
          SEVERITY,
          inQuery("state", "Only these", { type: "string", enum: ALERT_STATES }),
          inQuery("from", "Event time, inclusive"),
          inQuery("to", "Event time, exclusive"),
          inQuery("limit", "The most alerts to answer", whole(ALERT_LIMIT)),
        ]),
        responses: {
          200: jsonResponse("Alerts, and how many were found", AlertsBody),
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
        parameters: [...takenParameters("/alerts/live", [RULE, SEVERITY]), LAST_EVENT_ID],
        responses: { 200: EVENT_STREAM, ...problemResponses("400", "429", "503") },
      },
    },
  };
}
